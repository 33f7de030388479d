"""The models that this process was asked to teach: start, look at, cancel. Safe from any thread.

Training takes all that the machine has, so nothing is measured meanwhile: the machine's lock is
held from reading the pictures to the last epoch. What comes out is an upload like any other.
"""

import json
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from quantcore.cache import locks
from quantcore.engine import MACHINE_LOCK
from quantcore.errors import CancelledError, ChildDiedError, QuantcoreError, RequestError
from quantcore.fine_tuning.training import (
    WEIGHTS,
    Point,
    Trained,
    TransferSpec,
    check_backbone,
    point_in,
)
from quantcore.models import ModelInfo, catalogue, torchvision, weights_files
from quantcore.sandbox import Progress, discard, not_an_answer, outbox, sandboxed
from quantcore.schema import file_digest
from quantcore.settings import Settings
from quantcore.untrusted import check
from quantcore.uploads import Upload, UploadedModel, Uploads, title, use_call

ID_BYTES = 12
MAX_REMEMBERED = 100
# A lesson looks ten times a second whether it is still wanted, but not while weights are fetched.
END_S = 10.0
PRELOADED_MODULES = ("quantcore.engine.preload", "quantcore.fine_tuning.training")
WAITS = "waits until the measurement that runs is done"
IN_LINE = "waits until another model is taught"
STARTING = "starting torch, which takes a few seconds"
SAVING = "writing the model down"
# Before this share is done, the time left is a guess that only worries.
TELLING_SHARE = 0.12
TransferState = Literal["waiting", "running", "done", "failed", "cancelled"]
_TRAINED = TypeAdapter(Trained)


@dataclass(frozen=True)
class TransferView:
    """How far the teaching of a model is.

    Attributes:
        stage: what it is at, in plain words.
        spec: what is taught to which model.
        share: of the work that is done, 0 to 1.
        seconds_left: about, once that can be said.
        curve: a point for each epoch so far.
        upload: the model, once it is there.
        problem: why there is none.
    """

    state: TransferState
    stage: str
    spec: TransferSpec
    share: float = 0.0
    seconds_left: float | None = None
    curve: tuple[Point, ...] = ()
    upload: Upload | None = None
    problem: QuantcoreError | None = None

    @property
    def is_open(self) -> bool:
        """Return whether it still goes on."""
        return self.state in ("waiting", "running")


class Transfers:
    """The lessons of one process."""

    def __init__(self, settings: Settings, uploads: Uploads, lock: Path = MACHINE_LOCK) -> None:
        """Make it; nothing starts before the first lesson. `lock` is what measurements hold."""
        self._settings = settings
        self._uploads = uploads
        self._lock = lock
        self._records: dict[str, _Record] = {}
        self._mutex = threading.Lock()
        # One model is taught at a time.
        self._turn = threading.Lock()
        self._closed = False

    def start(self, spec: TransferSpec, owner: str = "") -> str:
        """Begin to teach a model for its owner; return the lesson's id at once.

        Raises:
            RequestError: the model cannot be taught, or the pictures are not the owner's own or
                do not say what they show.
        """
        info = check_backbone(spec.backbone)
        pictures = self._uploads.get(spec.images.rpartition("/")[2], owner)
        if pictures.images is None or len(pictures.images.classes) < 2:
            raise RequestError(
                f"{pictures.filename} does not hold pictures of two classes or more.",
                "Bring a zip with one folder of pictures for each class.",
            )
        if self._closed:
            raise RequestError("The server is ending.", "Try again in a moment.")
        record = _Record(TransferView("waiting", IN_LINE, spec))
        lesson = _Lesson(spec, info, pictures)
        with self._mutex:
            transfer_id = secrets.token_urlsafe(ID_BYTES)
            self._records[transfer_id] = record
            self._forget_the_oldest()
        threading.Thread(
            target=self._run, args=(record, lesson), name="quantcore-transfer", daemon=True
        ).start()
        return transfer_id

    def view(self, transfer_id: str) -> TransferView | None:
        """Return how far a lesson is; None where it is not remembered."""
        record = self._record(transfer_id)
        return record.view if record else None

    def wait(self, transfer_id: str, timeout_s: float | None = None) -> None:
        """Return when a lesson is over, or the time is."""
        record = self._record(transfer_id)
        if record is not None:
            record.over.wait(timeout_s)

    def cancel(self, transfer_id: str) -> None:
        """Stop a lesson; nothing is kept of it."""
        record = self._record(transfer_id)
        if record is not None:
            record.cancelled = True

    def forget(self, images: str) -> None:
        """Stop every lesson with pictures that are gone."""
        with self._mutex:
            for record in self._records.values():
                if record.view.spec.images == images:
                    record.cancelled = True

    def close(self) -> None:
        """Stop every lesson, and return when none is left, or one does not listen."""
        self._closed = True
        for record in list(self._records.values()):
            record.cancelled = True
        for record in list(self._records.values()):
            record.over.wait(END_S)

    def _record(self, transfer_id: str) -> "_Record | None":
        with self._mutex:
            return self._records.get(transfer_id)

    def _forget_the_oldest(self) -> None:
        over = [key for key, record in self._records.items() if record.over.is_set()]
        for key in over[: max(0, len(self._records) - MAX_REMEMBERED)]:
            del self._records[key]

    def _run(self, record: "_Record", lesson: "_Lesson") -> None:
        """Teach one model. The one place where any failure becomes a view of it."""
        try:
            with self._turn:
                record.stop_if_asked()
                record.tell(WAITS, "waiting")
                upload = self._taught(record, lesson)
        except CancelledError as error:
            record.end("cancelled", problem=error)
        except ChildDiedError as error:
            what = f"The process that trains ended. {error.reason}"
            remedy = "Take a smaller model or fewer pictures, or try it again."
            record.end("failed", problem=ChildDiedError(what, remedy))
        except QuantcoreError as error:
            record.end("failed", problem=error)
        except Exception as error:
            what = f"The model could not be taught: {type(error).__name__}: {error}"
            record.end("failed", problem=QuantcoreError(what, "Try it again, or another model."))
        else:
            record.end("done", upload=upload)

    def _taught(self, record: "_Record", lesson: "_Lesson") -> Upload:
        with tempfile.TemporaryDirectory(prefix="quantcore-transfer-") as name:
            # One of its own in it, which goes however deep a hostile child has nested it.
            folder = Path(name) / "outbox"
            folder.mkdir()
            try:
                return self._taught_in(record, lesson, folder)
            finally:
                discard(folder)

    def _taught_in(self, record: "_Record", lesson: "_Lesson", folder: Path) -> Upload:
        with locks.exclusive(self._lock, record.stop_if_asked):
            record.tell(STARTING)
            trained = self._trained(record, lesson, folder)
        record.tell(SAVING)
        return self._kept(lesson, trained, folder / WEIGHTS)

    def _trained(self, record: "_Record", lesson: "_Lesson", folder: Path) -> Trained:
        spec = lesson.spec
        if spec.backbone.source == "torchvision":
            # Here, where there may be a network: in the child there is none.
            torchvision.weights_path(lesson.info)
        reads = (self._uploads.folder(lesson.pictures.token), *weights_files(spec.backbone))
        with (
            sandboxed.start(
                self._settings, PRELOADED_MODULES, [use_call(self._settings.data)]
            ).pool as pool,
            pool.spawn(
                "quantcore.fine_tuning.training:run_transfer_child",
                spec,
                folder,
                reads=reads,
                writes=(folder,),
            ) as child,
        ):
            stops = outbox.within_quota(folder, lambda: record.cancelled)
            answer = child.receive(record.watch, stops)
        try:
            trained = _TRAINED.validate_python(answer)
        except ValueError as error:
            raise not_an_answer() from error
        if len(trained.curve) != spec.epochs + 1:
            raise not_an_answer()
        record.learnt(trained.curve)
        return trained

    def _kept(self, lesson: "_Lesson", trained: Trained, weights: Path) -> Upload:
        """Return the record of a new upload with the weights, which are looked at first."""
        if not outbox.is_plain(weights):
            raise not_an_answer()
        check(weights)
        model = lesson.described(trained, file_digest(weights))
        story = {"taught": asdict(lesson.spec), "curve": [asdict(each) for each in trained.curve]}
        upload = self._uploads.receive(
            lesson.filename, [json.dumps(story, indent=1).encode()], lesson.pictures.owner
        )
        try:
            # Another disk than that of the folder, it may be; never whole in this process's memory.
            shutil.copyfile(weights, self._uploads.folder(upload.token) / WEIGHTS)
            return self._uploads.describe(upload.token, model=model)
        except BaseException:
            self._uploads.delete(upload.token)
            raise


@dataclass(frozen=True)
class _Lesson:
    """What is asked for, looked up."""

    spec: TransferSpec
    info: ModelInfo
    pictures: Upload

    @property
    def filename(self) -> str:
        """Return what the model is called: `pets on ResNet-18.safetensors`."""
        return f"{title(self.pictures)} on {self.info.title}.safetensors".replace("/", " ")

    def described(self, trained: Trained, weights: str) -> UploadedModel:
        """Return the record of the model; all but its numbers is known without the child's word."""
        info, images = self.info, self.pictures.images
        assert images is not None, "pictures without a record are refused at the start"
        labels = tuple(sorted(name for name, _ in images.classes))
        plain = catalogue()[f"torchvision/{info.architecture}"]
        return UploadedModel(
            form="state_dict",
            architecture=plain.name,
            classes=len(labels),
            labels=labels,
            image_size=info.image_size,
            resize_size=info.resize_size,
            mean=info.mean,
            std=info.std,
            parameters=trained.parameters,
            weights=weights,
            channels=info.channels,
            interpolation=info.interpolation,
            dynamic_layers=tuple(sorted(plain.dynamic_layers.items())),
            float_attention=plain.float_attention,
            notes=(
                f"Taught from {info.title} with {trained.trained_on:,} pictures of "
                f"{self.pictures.filename}. On these pictures it is judged by others that it never "
                "saw, as long as their split keeps its seed.",
            ),
        )


@dataclass
class _Record:
    """One lesson under way, or over."""

    view: TransferView
    cancelled: bool = False
    began_s: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, stage: str, state: TransferState = "running") -> None:
        """Take note of what it is at."""
        with self.mutex:
            self.view = replace(self.view, stage=stage, state=state, seconds_left=None)

    def watch(self, progress: Progress) -> None:
        """Take note of what the child says of itself."""
        with self.mutex:
            self.began_s = self.began_s or time.monotonic()
            share = max(self.view.share, progress.share)
            point = point_in(progress.stage)
            curve = self.view.curve
            if point is not None and (not curve or point.epoch > curve[-1].epoch):
                curve = (*curve, point)
            self.view = replace(
                self.view,
                stage=progress.stage,
                share=share,
                seconds_left=self._seconds_left(share),
                curve=curve,
            )

    def _seconds_left(self, share: float) -> float | None:
        if share < TELLING_SHARE:
            return None
        return (time.monotonic() - self.began_s) * (1 - share) / share

    def learnt(self, curve: tuple[Point, ...]) -> None:
        """Take note of the whole curve: of what is told fast, some is not heard."""
        with self.mutex:
            self.view = replace(self.view, curve=curve, share=1.0, seconds_left=None)

    def end(
        self,
        state: TransferState,
        *,
        upload: Upload | None = None,
        problem: QuantcoreError | None = None,
    ) -> None:
        """Take note of how it ended."""
        with self.mutex:
            self.view = replace(
                self.view,
                state=state,
                stage="",
                seconds_left=None,
                upload=upload,
                problem=problem,
            )
        self.over.set()

    def stop_if_asked(self) -> None:
        """Raise `CancelledError` if nobody wants the model any more."""
        if self.cancelled:
            raise CancelledError("The training was cancelled.", "Start it again when you like.")
