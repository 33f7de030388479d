"""Context of one cell: request, settings, store, process pool, progress callback."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from quantcore import uploads
from quantcore.cache import Store
from quantcore.errors import (
    CancelledError,
    UnsupportedError,
)
from quantcore.models import find, weights_files
from quantcore.sandbox import (
    Child,
    ProcessPool,
    Progress,
    ShouldStop,
    not_an_answer,
    outbox,
    sandboxed,
)
from quantcore.schema import (
    CompareRequest,
)
from quantcore.settings import Settings

NOT_LOCKED = "An uploaded program is only run in the sandboxed worker, and this is another."

T = TypeVar("T")
ReportStage = Callable[[str, float], None]


@dataclass(frozen=True)
class CellContext:
    """Context of one cell. `refusal` is the reason why this machine runs no uploaded program."""

    request: CompareRequest
    settings: Settings
    store: Store
    pool: ProcessPool
    report: ReportStage
    should_stop: ShouldStop
    refusal: str = ""

    def run(
        self,
        kind: type[T],
        function: str,
        *arguments: Any,
        files: Callable[[T], Iterable[str | None]],
        share: tuple[float, float],
        reads: Sequence[Path] = (),
    ) -> T:
        """Return the answer of a new child process, its files moved to the store.

        The function is called with `arguments` and an outbox, whose files are taken from it when
        the child has ended. The child may read `reads` and what the request names.

        Raises:
            ChildDiedError: the answer is another than `kind`, or speaks of files (whose digests
                `files` gives) that were not in the outbox.
        """
        with self.store.outbox() as folder:
            with self.spawn(function, *arguments, folder, reads=reads, writes=(folder,)) as child:
                answer = self.receive(kind, child, share, folder)
            taken = outbox.take(folder, self.store)
        if not set(filter(None, files(answer))) <= set(taken):
            raise not_an_answer()
        return answer

    def spawn(
        self, function: str, *arguments: Any, reads: Sequence[Path], writes: Sequence[Path] = ()
    ) -> Child:
        """Start a child that may read what the request names, and `reads`.

        Raises:
            UnsupportedError: it would run somebody's program, and nothing locks it in here.
        """
        self.require_lock()
        named = files_of(self.request)
        return self.pool.spawn(function, *arguments, reads=(*reads, *named), writes=writes)

    def require_lock(self) -> None:
        """Refuse to run an uploaded program outside the sandbox.

        Raises:
            UnsupportedError: that is so here.
        """
        if find(self.request.model).is_program and not self.pool.locked:
            raise UnsupportedError(self.refusal or NOT_LOCKED, sandboxed.REMEDY)

    def receive(
        self, kind: type[T], child: Child, share: tuple[float, float], folder: Path | None = None
    ) -> T:
        """Return a child's next answer, its progress placed between two shares of the cell.

        Raises:
            ChildDiedError: it answers another thing, or fills the folder that it may write in.
        """
        stop = self.should_stop if folder is None else outbox.within_quota(folder, self.should_stop)
        answer = child.receive(self.watch(*share), stop)
        try:
            return TypeAdapter(kind).validate_python(answer)
        except ValueError as error:
            raise not_an_answer() from error

    def watch(self, start: float, end: float, prefix: str = "") -> Callable[[Progress], None]:
        """Return a listener that places a step's progress between two shares of the cell."""

        def listen(progress: Progress) -> None:
            share = min(1.0, max(0.0, progress.share))
            self.report(prefix + progress.stage, start + (end - start) * share)

        return listen


def source_uploads(request: CompareRequest) -> tuple[str, ...]:
    """Return the names of the uploads that a request's model and pictures come from."""
    return tuple(
        name
        for name in (request.model.name, request.images.source)
        if name and uploads.is_named(name)
    )


def files_of(request: CompareRequest) -> tuple[Path, ...]:
    """Return the files and folders that a request's model and pictures are read from."""
    source = request.images.source
    own = () if source is None or uploads.is_named(source) else (Path(source).expanduser(),)
    return (*map(uploads.folder, source_uploads(request)), *own, *weights_files(request.model))


def is_locked(request: CompareRequest) -> bool:
    """Return whether a request runs an uploaded program or reads uploaded pictures."""
    return uploads.is_named(request.images.source) or find(request.model).is_program


def raise_if_cancelled(context: CellContext) -> None:
    """Raise `CancelledError` if the cell was cancelled."""
    if context.should_stop():
        raise CancelledError("The work was cancelled.", "Start it again when you like.")
