"""Files that visitors bring, looked at one by one in the locked-in worker.

One object for a process: it starts a look, tells how far it is, and writes down what was found.
"""

import threading
from base64 import b64decode
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from quantcore.errors import CancelledError, QuantcoreError, RequestError
from quantcore.jobs import IdleEnd
from quantcore.models import catalogue
from quantcore.models import uploads as model_uploads
from quantcore.sandbox import Progress, Worker, discard, not_an_answer, outbox, sandboxed
from quantcore.schema import file_digest
from quantcore.settings import Settings
from quantcore.untrusted.checks import check
from quantcore.untrusted.examined import Examined
from quantcore.untrusted.look import Found
from quantcore.uploads import Upload, UploadedModel, Uploads, placeholders, use_call

MAX_REMEMBERED = 100
SCRATCH = "scratch"
# Times the size of an upload: half precision doubles, and a program is written once more.
MAX_WRITTEN = 3.0
TOO_MUCH = RequestError(
    "What the file makes of itself is many times as large as an upload may be.",
    "Bring another file.",
)
# Seconds after the last file until the worker is let go.
IDLE_S = 600.0
# A large file is read in seconds; a program that never ends is not waited for.
LOOK_TIMEOUT_S = 300.0
PRELOADED_MODULES = ("quantcore.engine.preload", "quantcore.untrusted.look")
IN_LINE = "waits until another file is looked at"
STARTING = "starting the locked-in worker, which takes a few seconds the first time"
READING = "reading the file"
CHANNELS = 3
# As for every model: see `ImageSpec`.
LARGEST_PX = 1_024
# ImageNet's largest edition has 21,841; a program may claim any number, and each gets a name.
MIN_CLASSES, MAX_CLASSES = 2, 25_000
MAX_PX = 10_000
MAX_NUMBERS = 10**12
MAX_NOTES = 100
LONGEST_TEXT = 5_000
# How torchvision prepares pictures for most of its models, which is supposed of a program.
LIKE = "torchvision/resnet18"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
USUAL_RESIZE = 256 / 224
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
    """The looks of one process at what its visitors bring. Safe from any thread."""

    def __init__(self, settings: Settings, uploads: Uploads) -> None:
        """Make it; nothing starts before the first file."""
        self._settings = settings
        self._uploads = uploads
        self._records: dict[str, _Record] = {}
        self._mutex = threading.Lock()
        # One file is looked at a time: two large ones would need the memory of both.
        self._turn = threading.Lock()
        self._worker: Worker | None = None
        self._idle = IdleEnd(self._turn, self._end_worker)
        self._closed = False

    def start(self, upload: Upload) -> None:
        """Begin to look at a file that was received; `view` tells how far it is.

        One that is being looked at, or was taken, is not looked at again: its file has moved.
        """
        record = _Record(IntakeView("waiting", IN_LINE, 0.0, upload))
        with self._mutex:
            known = self._records.get(upload.token)
            if known is not None and known.view.state in ("waiting", "running", "done"):
                return
            self._records[upload.token] = record
            self._forget_the_oldest()
        threading.Thread(
            target=self._run, args=(record,), name="quantcore-intake", daemon=True
        ).start()

    def view(self, token: str) -> IntakeView | None:
        """Return how far the look at an upload is; None where this process did not look."""
        record = self._record(token)
        return record.view if record else None

    def wait(self, token: str, timeout_s: float | None = None) -> IntakeView:
        """Return the view once the look is over, or the time is.

        Raises:
            RequestError: this process did not look at it.
        """
        record = self._record(token)
        if record is None:
            raise RequestError("This file is not being looked at.", "Bring it again.")
        record.over.wait(timeout_s)
        return record.view

    def cancel(self, token: str) -> None:
        """Stop a look, and remove the file."""
        record = self._record(token)
        if record is not None:
            record.cancelled = True

    def forget(self, token: str) -> None:
        """Stop a look, and keep nothing of what it found: its pictures are gone."""
        self.cancel(token)
        with self._mutex:
            self._records.pop(token, None)

    def programs_refused(self) -> str:
        """Return why TorchScript and exported programs are not taken here; empty where they are.

        Before the first file, the answer is what shows without starting anything.
        """
        worker = self._worker
        return worker.refusal if worker else sandboxed.cannot()

    def close(self) -> None:
        """Leave no process behind."""
        self._closed = True
        for record in list(self._records.values()):
            record.cancelled = True
        self._idle.cancel()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.pool.close()

    def _record(self, token: str) -> "_Record | None":
        with self._mutex:
            return self._records.get(token)

    def _forget_the_oldest(self) -> None:
        over = [key for key, record in self._records.items() if record.over.is_set()]
        for key in over[: max(0, len(self._records) - MAX_REMEMBERED)]:
            del self._records[key]

    def _run(self, record: "_Record") -> None:
        """Look at one file. The one place where any failure becomes a view of it."""
        try:
            with self._turn:
                record.stop_if_asked()
                self._look(record)
        except CancelledError as error:
            self._refuse(record, "cancelled", error)
        except QuantcoreError as error:
            self._refuse(record, "failed", error)
        except Exception as error:
            what = f"The file could not be looked at: {type(error).__name__}: {error}"
            problem = QuantcoreError(what, "Bring it again, or another file.")
            self._refuse(record, "failed", problem)
        else:
            record.end("done")

    def _refuse(self, record: "_Record", state: IntakeState, problem: QuantcoreError) -> None:
        """Take note of a problem; what is not taken is not kept."""
        self._uploads.delete(record.view.upload.token)
        record.end(state, problem)

    def _look(self, record: "_Record") -> None:
        upload = record.view.upload
        record.tell(STARTING if self._worker is None else READING, 0.0)
        worker = self._started()
        place = self._uploads.folder(upload.token)
        folder = place / SCRATCH
        # Whoever looked before may have been killed in the middle of it.
        discard(folder)
        folder.mkdir()
        content = self._uploads.content(upload.token)
        try:
            found = self._asked(record, worker, content, folder)
            record.tell("keeping what was found", 0.95)
            self._keep(record, found, place, folder)
        finally:
            discard(folder)
            self._idle.in_seconds(IDLE_S)

    def _asked(self, record: "_Record", worker: Worker, content: Path, folder: Path) -> Found:
        function = "quantcore.untrusted.look:run_look_child"
        most_bytes = MAX_WRITTEN * self._settings.upload_mb * 1e6
        stops = outbox.within_quota(folder, lambda: record.cancelled, most_bytes, TOO_MUCH)
        with worker.pool.spawn(
            function, content, folder, worker.refusal, reads=(content,), writes=(folder,)
        ) as child:
            answer = child.receive(record.watch, stops, LOOK_TIMEOUT_S)
        try:
            return _FOUND.validate_python(answer)
        except ValueError as error:
            raise not_an_answer() from error

    def _keep(self, record: "_Record", found: Found, place: Path, folder: Path) -> None:
        upload = record.view.upload
        if found.model is not None:
            model, candidates = kept_model(found.model, folder, place)
            self._uploads.content(upload.token).unlink()
            record.found(self._uploads.describe(upload.token, model=model), candidates=candidates)
        elif found.images is not None:
            images = found.images
            record.found(
                self._uploads.describe(upload.token, images=images.images),
                thumbnails=tuple((name, b64decode(text)) for name, text in images.thumbnails),
            )

    def _started(self) -> Worker:
        if self._closed:
            raise RequestError("The server is ending.", "Try again in a moment.")
        if self._worker is not None and not self._worker.is_to_be_kept:
            self._end_worker()
        if self._worker is None:
            self._worker = sandboxed.start(
                self._settings, PRELOADED_MODULES, [use_call(self._settings.data)]
            )
        return self._worker

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._worker.pool.close()
            self._worker = None


@dataclass
class _Record:
    """One look under way, or over."""

    view: IntakeView
    cancelled: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, stage: str, share: float, state: IntakeState = "running") -> None:
        """Take note of what it is at."""
        with self.mutex:
            self.view = replace(self.view, stage=stage, share=share, state=state)

    def watch(self, progress: Progress) -> None:
        """Take note of what the child says of itself."""
        self.tell(progress.stage, progress.share)

    def found(
        self,
        upload: Upload,
        candidates: tuple[str, ...] = (),
        thumbnails: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        """Take note of what the file is."""
        with self.mutex:
            self.view = replace(
                self.view, upload=upload, candidates=candidates, thumbnails=thumbnails
            )

    def end(self, state: IntakeState, problem: QuantcoreError | None = None) -> None:
        """Take note of how it ended."""
        with self.mutex:
            share = 1.0 if state == "done" else self.view.share
            self.view = replace(self.view, state=state, stage="", share=share, problem=problem)
        self.over.set()

    def stop_if_asked(self) -> None:
        """Raise `CancelledError` if nobody wants the file looked at any more."""
        if self.cancelled:
            raise CancelledError("The upload was cancelled.", "Bring the file when you like.")


def kept_model(found: Examined, folder: Path, place: Path) -> tuple[UploadedModel, tuple[str, ...]]:
    """Move what a child wrote to the upload's folder; return the record and the architectures.

    Raises:
        RequestError: the model cannot be compared here.
        ChildDiedError: what the child wrote is not what it said.
    """
    file = folder / found.file
    if found.file not in (model_uploads.WEIGHTS, model_uploads.PROGRAM) or not outbox.is_plain(
        file
    ):
        raise not_an_answer()
    if found.outputs > MAX_CLASSES:
        raise RequestError(
            f"This model tells {found.outputs:,} classes apart, and {MAX_CLASSES:,} is the most "
            "that is compared here.",
            "Bring a classifier of fewer classes.",
        )
    if not _is_within_measure(found):
        raise not_an_answer()
    if found.kind == "state_dict":
        # Written by the child, which a hostile file may have taken over: held against its own head.
        check(file)
        model = _of_weights(found, file)
    else:
        model = _of_program(found, file)
    file.replace(place / found.file)
    return model, tuple(f"torchvision/{each.architecture}" for each in found.candidates)


def _is_within_measure(found: Examined) -> bool:
    """Return whether a child's figures and texts are such as any model's: it chooses what it says.

    They are written down and drawn on every page that shows the model.
    """
    texts = (*found.labels, *found.notes, *found.dynamic_layers)
    figures = found.parameters, *found.dynamic_layers.values()
    return (
        found.outputs >= MIN_CLASSES
        and 1 <= found.image_size <= MAX_PX
        and all(0 <= each <= MAX_NUMBERS for each in figures)
        and len(found.labels) <= MAX_CLASSES
        and len(found.notes) <= MAX_NOTES
        and len(found.dynamic_layers) <= MAX_NOTES
        and all(len(each) <= LONGEST_TEXT for each in texts)
    )


def _of_weights(found: Examined, file: Path) -> UploadedModel:
    best = found.candidates[0]
    info = catalogue().get(f"torchvision/{best.architecture}")
    if info is None or found.outputs != best.classes:
        raise not_an_answer()
    size = best.image_size
    return UploadedModel(
        form="state_dict",
        architecture=info.name,
        classes=found.outputs,
        labels=_labels(found),
        image_size=size,
        resize_size=round(info.resize_size * size / info.image_size),
        mean=info.mean,
        std=info.std,
        parameters=found.parameters,
        weights=file_digest(file),
        interpolation=info.interpolation,
        dynamic_layers=tuple(sorted(info.dynamic_layers.items())),
        float_attention=info.float_attention,
        notes=found.notes,
    )


def _of_program(found: Examined, file: Path) -> UploadedModel:
    if found.channels != CHANNELS:
        raise RequestError(
            f"This model takes pictures of {found.channels} channel, and here pictures have "
            f"{CHANNELS}.",
            "Wrap it in a module that takes three channels and hands on their mean; then trace it.",
        )
    if not found.any_batch:
        raise RequestError(
            "This model takes one picture at a time, and here it is asked several at once.",
            "Trace it with two pictures as the example, or export it with a dynamic batch.",
        )
    if found.image_size > LARGEST_PX:
        raise RequestError(
            f"This model takes pictures of {found.image_size:,} px, and {LARGEST_PX:,} is the most "
            "here.",
            "Export it for smaller pictures.",
        )
    size = found.image_size
    return UploadedModel(
        form="exported_program" if found.kind == "exported_program" else "torchscript",
        architecture=None,
        classes=found.outputs,
        labels=_labels(found),
        image_size=size,
        resize_size=round(size * USUAL_RESIZE),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        parameters=found.parameters,
        weights=file_digest(file),
        dynamic_layers=tuple(sorted(found.dynamic_layers.items())),
        notes=found.notes,
    )


def _labels(found: Examined) -> tuple[str, ...]:
    """Return the file's own class names, ImageNet's for a thousand classes, or numbers."""
    if len(found.labels) == found.outputs:
        return found.labels
    published = catalogue()[LIKE].labels
    if found.outputs == len(published):
        return published
    return placeholders(found.outputs)


_FOUND = TypeAdapter(Found)
