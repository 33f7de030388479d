"""Files that visitors upload, inspected one by one in the sandboxed worker."""

from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from quantcore.errors import QuantcoreError, RequestError
from quantcore.jobs import BackgroundTasks, Limits, Task, TaskView
from quantcore.sandbox import KeptWorker, Progress, SandboxedPool, discard, not_an_answer, outbox
from quantcore.settings import Settings
from quantcore.untrusted.kept import keep_model
from quantcore.untrusted.look import Inspected
from quantcore.uploads import Upload, Uploads, use_call

# Two large files would need the memory of both, so they are read one after the other. Reading one
# takes seconds; a program that never ends is not waited for.
LIMITS = Limits("files are being inspected", timeout_s=300.0, idle_s=600.0)
SCRATCH = "scratch"
# Times the size of an upload: half precision doubles, and a program is written once more.
MAX_WRITTEN = 3.0
PRELOADED_MODULES = ("quantcore.engine.preload", "quantcore.untrusted.look")
IN_LINE = "waits until another file is inspected"
STARTING = "starting the sandboxed worker, which takes a few seconds the first time"
READING = "reading the file"


@dataclass(frozen=True)
class InspectionView(TaskView):
    """How far the inspection of an upload is.

    Attributes:
        upload: its record, which says what it is once the inspection is done.
        candidates: for numbers alone: the architectures that fit equally well, best first, as the
            catalogue lists them; the first is what the record has.
        thumbnails: for pictures: class name (or nothing) and a small PNG of some of them.
    """

    upload: Upload
    candidates: tuple[str, ...] = ()
    thumbnails: tuple[tuple[str, bytes], ...] = ()


class Inspections(BackgroundTasks[str, InspectionView]):
    """The inspections of one process, each known by the token of its upload."""

    def __init__(self, settings: Settings, uploads: Uploads) -> None:
        """Create the queue; its child process starts with the first file."""
        super().__init__(LIMITS)
        self._settings = settings
        self._uploads = uploads
        self._worker = KeptWorker(settings, PRELOADED_MODULES, [use_call(settings.data)])

    def start(self, upload: Upload) -> None:
        """Begin to inspect a file that was received; `view` tells how far it is.

        One that is being inspected, or was taken, is not inspected again: its file has moved.

        Raises:
            RequestError: as `submit`.
        """
        with self._changed:
            view = self.view(upload.token)
            if view is None or view.state in ("failed", "cancelled"):
                first = InspectionView(upload, stage=IN_LINE)
                self.submit(upload.token, first, upload.owner, upload.token)

    def programs_refused(self) -> str:
        """Return why TorchScript and exported programs are not taken here; empty where they are.

        Before the first file, the answer is what shows without starting anything.
        """
        return self._worker.refusal

    def work(self, task: Task[str, InspectionView]) -> None:
        """Let a locked child look at the file, and keep what it made of it."""
        task.update(state="running", stage=READING if self._worker.worker else STARTING)
        worker = self._worker.started()
        folder = self._uploads.folder(task.spec) / SCRATCH
        # An earlier inspection may have been killed in the middle of it.
        discard(folder)
        folder.mkdir()
        try:
            inspected = self._inspect(task, worker, folder)
            task.progress("keeping what was found", 0.95)
            self._keep(task, inspected, folder)
        finally:
            discard(folder)

    def ended(self, view: InspectionView) -> None:
        """Remove what is not taken."""
        if view.state != "done":
            self._uploads.delete(view.upload.token)

    def release(self) -> None:
        """End the worker."""
        self._worker.close()

    def _inspect(
        self, task: Task[str, InspectionView], worker: SandboxedPool, folder: Path
    ) -> Inspected:
        def watch(progress: Progress) -> None:
            task.progress(progress.stage, progress.share)

        content = self._uploads.content(task.spec)
        max_bytes = MAX_WRITTEN * self._settings.upload_mb * 1e6
        should_stop = outbox.within_quota(folder, task.should_stop, max_bytes, _too_much)
        task.progress(READING, 0.0)
        with worker.pool.spawn(
            "quantcore.untrusted.look:run_look_child",
            *(content, folder, worker.refusal),
            reads=(content,),
            writes=(folder,),
        ) as child:
            answer = child.receive(watch, should_stop)
        try:
            return _INSPECTED.validate_python(answer)
        except ValueError as error:
            raise not_an_answer() from error

    def _keep(self, task: Task[str, InspectionView], inspected: Inspected, folder: Path) -> None:
        token, uploads = task.spec, self._uploads
        if inspected.model is not None:
            model, candidates = keep_model(inspected.model, folder, uploads.folder(token))
            uploads.content(token).unlink()
            task.update(upload=uploads.describe(token, model=model), candidates=candidates)
        elif inspected.images is not None:
            thumbnails = ((name, b64decode(text)) for name, text in inspected.images.thumbnails)
            upload = uploads.describe(token, images=inspected.images.images)
            task.update(upload=upload, thumbnails=tuple(thumbnails))


def _too_much() -> QuantcoreError:
    return RequestError(
        "What the file makes of itself is many times as large as an upload may be.",
        "Upload another file.",
    )


_INSPECTED = TypeAdapter(Inspected)
