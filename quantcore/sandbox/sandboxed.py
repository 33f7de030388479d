"""A process pool whose children are locked in, for untrusted files; it proves its lock first.

Where the kernel cannot lock children in, programs are refused with the sentence that is found here,
and numbers and pictures are read by ordinary children, which have limits of memory and time.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from quantcore.sandbox import lockdown
from quantcore.sandbox.process_pool import Call, ProcessPool
from quantcore.settings import Settings

REMEDY = "Upload the weights as a state dict or safetensors."


@dataclass(frozen=True)
class Worker:
    """A process pool for uploads.

    Attributes:
        pool: whose children read them.
        refusal: why programs are not run here; empty where the lock holds.
    """

    pool: ProcessPool
    refusal: str

    @property
    def is_to_be_kept(self) -> bool:
        """Return whether it lives, and a new one would not be locked in where this one is not."""
        return self.pool.is_alive and (not self.refusal or bool(cannot()))


def start(settings: Settings, modules: Sequence[str], calls: Sequence[Call]) -> Worker:
    """Start the worker and let it try what it must not be able to do.

    Args:
        settings: what its children may use.
        modules: imported once, for every child.
        calls: done once, after the imports, for every child.
    """
    limits = settings.memory_limit_bytes, settings.timeout_s
    refusal = cannot() or _sentence(_proven())
    pool = ProcessPool(modules, *limits, calls=calls, locked=not refusal)
    return Worker(pool, refusal)


def _sentence(proof: lockdown.Proof) -> str:
    return "" if proof.holds else proof.sentence


def cannot() -> str:
    """Return why nothing can be locked in here, as far as that shows without trying."""
    return lockdown.why_unavailable() or ""


def _proven() -> lockdown.Proof:
    """Return what came of trying to get out, which is tried no more once the lock has held.

    It may also not hold because the machine is swamped, and that passes.
    """
    with _PROVING:
        if not _held:
            proof = lockdown.prove()
            if not proof.holds:
                return proof
            _held.append(proof)
        return _held[0]


_PROVING = threading.Lock()
_held: list[lockdown.Proof] = []
