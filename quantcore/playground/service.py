"""Pictures that visitors of this process try on every variant.

Readers keep files loaded between pictures, so that the second picture is answered at once. They
never run beside a measurement: the machine's lock is held from reading a picture to the last
answer, and some time after the last picture the readers end. Nothing is written down, and pictures
that people upload never reach the disk.
"""

from collections.abc import Sequence
from pathlib import Path

from quantcore.cache import Store, locks
from quantcore.engine import MACHINE_LOCK
from quantcore.errors import ChildDiedError, QuantcoreError
from quantcore.jobs import BackgroundTasks, Limits, Task
from quantcore.playground.decoders import Decoders
from quantcore.playground.picture import Prepared
from quantcore.playground.readers import Readers
from quantcore.playground.spec import PlaygroundSpec, PlaygroundView, check
from quantcore.schema import ImageSpec, VariantResult
from quantcore.settings import Settings

LIMITS = Limits("pictures are being tried", in_all=100, idle_s=180.0)
WAITS = "waits until the measurement that runs is done"
IN_LINE = "waits until another picture is answered"
STARTING = "starting torch, which takes a few seconds the first time"
READING = "reading the picture"


class Playground(BackgroundTasks[PlaygroundSpec, PlaygroundView]):
    """The playground runs of one process, and the readers that answer them."""

    def __init__(self, settings: Settings, store: Store, lock: Path = MACHINE_LOCK) -> None:
        """Create the queue; processes start with the first picture. Measurements hold `lock`."""
        super().__init__(LIMITS)
        self._settings = settings
        self._store = store
        self._lock = lock
        self.decoders = Decoders(settings, lambda: self.is_closed)
        self.readers = Readers(settings, store, lambda: self.is_closed)

    def start(self, spec: PlaygroundSpec, owner: str = "") -> str:
        """Start a run of every variant on a picture, and return its id at once.

        Raises:
            RequestError: what was uploaded is empty or too large; or as `submit`.
        """
        check(spec.picture)
        return self.submit(spec, PlaygroundView(len(spec.rows), stage=IN_LINE), owner)

    def work(self, task: Task[PlaygroundSpec, PlaygroundView]) -> None:
        """Read the picture and run one variant after the other on it."""
        spec = task.spec
        task.update(stage=WAITS)
        with locks.exclusive(self._lock, task.raise_if_cancelled):
            stage = READING if self.readers.is_started else STARTING
            task.update(state="running", stage=stage)
            prepared = self._prepared(spec)
            task.update(seen=prepared.seen, stage=f"asking {len(spec.rows)} variants")
            for row in spec.rows:
                task.raise_if_cancelled()
                answer = self.readers.answer(row, prepared, spec.images.source)
                task.update(answers=(*task.view.answers, answer))

    def release(self) -> None:
        """End the readers and the decoders."""
        self.readers.close()
        self.decoders.close()

    def are_here(self, rows: tuple[VariantResult, ...]) -> bool:
        """Return whether the file of any variant is on this machine."""
        # A file that is not here may be in remote storage; the run looks there.
        return self._settings.artifacts is not None or any(map(self._is_here, rows))

    def thumbnails(
        self, images: ImageSpec, model: str, indices: Sequence[int], side: int
    ) -> tuple[bytes, ...]:
        """Return uploaded pictures as small PNG files, decoded by a locked child.

        Raises:
            QuantcoreError: they are gone, or one of them cannot be read.
        """
        self.require_open()
        self.keep_loaded()
        return self.decoders.thumbnails(images, model, indices, side)

    def _prepared(self, spec: PlaygroundSpec) -> Prepared:
        try:
            return (self.decoders if spec.is_untrusted else self.readers).prepared(spec)
        except ChildDiedError as error:
            raise ChildDiedError(
                f"The process that reads the picture ended. {error.reason}",
                "Try it again, or a smaller picture.",
            ) from error

    def _is_here(self, row: VariantResult) -> bool:
        try:
            self._store.path(row.artifact.sha256)
        except QuantcoreError:
            return False
        return True
