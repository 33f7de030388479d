"""The locked-in worker: a nursery for what strangers bring, which proves itself before it works.

Where the kernel cannot lock children in, programs are refused with the sentence that is found here,
and numbers and pictures are read by ordinary children, which have limits of memory and time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from quantcore import lockdown
from quantcore.children import Nursery
from quantcore.errors import ChildDiedError, UnsupportedError
from quantcore.settings import Settings

REMEDY = "Upload the weights as a state dict or safetensors."
_PROOF_TIMEOUT_S = 120.0
_ATTEMPTS = TypeAdapter(tuple[lockdown.Attempt, ...])


@dataclass(frozen=True)
class Worker:
    """A nursery for uploads.

    Attributes:
        nursery: whose children read them.
        refusal: why programs are not run here; empty where the lock holds.
    """

    nursery: Nursery
    refusal: str

    def require(self) -> None:
        """Refuse to run a program where nothing locks it in.

        Raises:
            UnsupportedError: the sentence says why.
        """
        if self.refusal:
            raise UnsupportedError(self.refusal, REMEDY)


def start(settings: Settings, modules: Sequence[str]) -> Worker:
    """Start the worker and let it try what it must not be able to do."""
    limits = settings.memory_limit_bytes, settings.timeout_s
    refusal = cannot()
    if not refusal:
        nursery = Nursery(modules, *limits, data=settings.data, locked=True)
        refusal = _proven(nursery)
        if not refusal:
            return Worker(nursery, "")
        nursery.close()
    return Worker(Nursery(modules, *limits, data=settings.data), refusal)


@cache
def cannot() -> str:
    """Return why nothing can be locked in here, as far as that shows without trying."""
    return lockdown.missing()


def _proven(nursery: Nursery) -> str:
    """Return what came through the lock, in a sentence; empty where nothing did."""
    function = "quantcore.lockdown:run_attempts_child"
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with nursery.spawn(function, folder, writes=(folder,)) as child:
                found = _ATTEMPTS.validate_python(child.receive(timeout_s=_PROOF_TIMEOUT_S))
        except (ChildDiedError, ValueError) as error:
            return f"The lock for uploaded programs could not be tried here ({error})."
    return lockdown.Proof(found).sentence
