"""Files that visitors bring, looked at one by one in the locked-in worker.

One object for a process: it starts a look, tells how far it is, and writes down what was found.
"""

from dataclasses import dataclass
from typing import Literal

from quantcore.errors import QuantcoreError
from quantcore.settings import Settings
from quantcore.uploads import Upload, Uploads

IntakeState = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class IntakeView:
    """How far the look at an upload is.

    Attributes:
        stage: what it is at, in plain words.
        share: of the work that is done, 0 to 1.
        upload: its record, which says what it is once the look is done.
        candidates: for numbers alone: the architectures that fit equally well, best first, as the
            catalogue lists them; the first is what the record has.
        thumbnails: for pictures: class name (or nothing) and a small PNG of some of them.
        problem: why it is refused.
    """

    state: IntakeState
    stage: str
    share: float
    upload: Upload
    candidates: tuple[str, ...] = ()
    thumbnails: tuple[tuple[str, bytes], ...] = ()
    problem: QuantcoreError | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the look still goes on."""
        return self.state in ("waiting", "running")


class Intakes:
    """The looks of one process at what its visitors bring."""

    def __init__(self, settings: Settings, uploads: Uploads) -> None:
        self._settings = settings
        self._uploads = uploads

    def start(self, upload: Upload) -> None:
        """Begin to look at a file that was received; `view` tells how far it is."""
        raise NotImplementedError

    def view(self, token: str) -> IntakeView | None:
        """Return how far the look at an upload is; None where this process did not look."""
        raise NotImplementedError

    def cancel(self, token: str) -> None:
        """Stop a look, and remove the file."""
        raise NotImplementedError

    def programs_refused(self) -> str:
        """Return why TorchScript and exported programs are not taken here; empty where they are."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave no process behind."""
