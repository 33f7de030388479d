"""The models that this process fine-tunes for its visitors.

Training takes all that the machine has, so nothing is measured meanwhile: the machine's lock is
held from reading the pictures to the last epoch. What comes out is an upload like any other.
"""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from quantcore.cache import locks
from quantcore.engine import MACHINE_LOCK
from quantcore.errors import ChildDiedError, RequestError
from quantcore.fine_tuning.spec import FineTuningSpec, Point, check_backbone, point_in
from quantcore.fine_tuning.training import WEIGHTS, Trained
from quantcore.jobs import BackgroundTasks, Limits, Task, TaskView
from quantcore.models import ModelInfo, catalogue, find, torchvision, weights_files
from quantcore.sandbox import Progress, discard, not_an_answer, outbox, sandboxed
from quantcore.schema import file_digest
from quantcore.settings import Settings
from quantcore.untrusted import check
from quantcore.uploads import Upload, UploadedModel, Uploads, title, token_of, use_call

LIMITS = Limits("models are being fine-tuned", per_owner=5, in_all=20)
PRELOADED_MODULES = ("quantcore.engine.preload", "quantcore.fine_tuning.training")
WAITS = "waits until the measurement that runs is done"
IN_LINE = "waits until another fine-tuning run is done"
STARTING = "starting torch, which takes a few seconds"
SAVING = "writing the model down"
_TRAINED = TypeAdapter(Trained)


@dataclass(frozen=True)
class FineTuningView(TaskView):
    """How far a fine-tuning run is.

    Attributes:
        spec: which model is fine-tuned on which pictures.
        curve: a point for each epoch so far.
        upload: the model, once it is there.
    """

    spec: FineTuningSpec
    curve: tuple[Point, ...] = ()
    upload: Upload | None = None


FineTuningTask = Task[FineTuningSpec, FineTuningView]


class FineTuning(BackgroundTasks[FineTuningSpec, FineTuningView]):
    """The fine-tuning runs of one process."""

    def __init__(self, settings: Settings, uploads: Uploads, lock: Path = MACHINE_LOCK) -> None:
        """Create the queue; its process starts with the first run. Measurements hold `lock`."""
        super().__init__(LIMITS)
        self._settings = settings
        self._uploads = uploads
        self._lock = lock

    def start(self, spec: FineTuningSpec, owner: str = "") -> str:
        """Begin to fine-tune a model for its owner; return the run's id at once.

        Raises:
            RequestError: the model cannot be fine-tuned, or the pictures are not the owner's own
                or do not say what they show; or as `submit`.
        """
        check_backbone(spec.backbone)
        pictures = self._uploads.get(spec.images.rpartition("/")[2], owner)
        if pictures.images is None or len(pictures.images.classes) < 2:
            raise RequestError(
                f"{pictures.filename} does not hold pictures of two classes or more.",
                "Upload a zip with one folder of pictures for each class.",
            )
        return self.submit(spec, FineTuningView(spec, stage=IN_LINE), owner)

    def forget_upload(self, name: str) -> None:
        """Stop every run with pictures that are gone."""
        for run_id in self.find(lambda view: view.spec.images == name):
            self.cancel(run_id)

    def work(self, task: FineTuningTask) -> None:
        """Train in a locked child, and keep the model as a new upload."""
        with tempfile.TemporaryDirectory(prefix="quantcore-fine-tuning-") as name:
            # A subfolder, which `discard` removes however deep a hostile child has nested it.
            folder = Path(name) / "outbox"
            folder.mkdir()
            try:
                trained = self._trained(task, folder)
                task.update(stage=SAVING)
                self._keep(task, trained, folder / WEIGHTS)
            finally:
                discard(folder)

    def _trained(self, task: FineTuningTask, folder: Path) -> Trained:
        task.update(stage=WAITS)
        with locks.exclusive(self._lock, task.raise_if_cancelled):
            task.update(state="running", stage=STARTING)
            try:
                answer = self._answer(task, folder)
            except ChildDiedError as error:
                raise ChildDiedError(
                    f"The process that trains ended. {error.reason}",
                    "Take a smaller model or fewer pictures, or try it again.",
                ) from error
        try:
            trained = _TRAINED.validate_python(answer)
        except ValueError as error:
            raise not_an_answer() from error
        if len(trained.curve) != task.spec.epochs + 1:
            raise not_an_answer()
        # The whole curve: of reports in quick succession, some are dropped.
        task.update(curve=trained.curve, share=1.0, seconds_left=None)
        return trained

    def _answer(self, task: FineTuningTask, folder: Path) -> object:
        spec = task.spec
        if spec.backbone.source == "torchvision":
            # Downloaded here: the child has no network.
            torchvision.weights_path(find(spec.backbone))
        reads = (self._uploads.folder(token_of(spec.images)), *weights_files(spec.backbone))
        calls = [use_call(self._settings.data)]
        with (
            sandboxed.start(self._settings, PRELOADED_MODULES, calls).pool as pool,
            pool.spawn(
                "quantcore.fine_tuning.training:run_fine_tuning_child",
                *(spec, folder),
                reads=reads,
                writes=(folder,),
            ) as child,
        ):
            should_stop = outbox.within_quota(folder, task.should_stop)
            return child.receive(lambda progress: note_progress(task, progress), should_stop)

    def _keep(self, task: FineTuningTask, trained: Trained, weights: Path) -> None:
        """Make a new upload of the weights, which are checked first."""
        if not outbox.is_plain(weights):
            raise not_an_answer()
        check(weights)
        spec, uploads = task.spec, self._uploads
        info, pictures = find(spec.backbone), uploads.get(token_of(spec.images))
        model = fine_tuned(info, pictures, trained, file_digest(weights))
        story = {"fine_tuned": asdict(spec), "curve": [asdict(point) for point in trained.curve]}
        upload = uploads.receive(
            filename(info, pictures), [json.dumps(story, indent=1).encode()], pictures.owner
        )
        try:
            # Copied, as the folders may be on different disks, and without reading it into memory.
            shutil.copyfile(weights, uploads.folder(upload.token) / WEIGHTS)
            task.update(upload=uploads.describe(upload.token, model=model))
        except BaseException:
            uploads.delete(upload.token)
            raise


def note_progress(task: FineTuningTask, progress: Progress) -> None:
    """Update the task's stage and share; a finished epoch adds a point to the curve."""
    point, curve = point_in(progress.stage), task.view.curve
    if point is not None and (not curve or point.epoch > curve[-1].epoch):
        task.update(curve=(*curve, point))
    task.progress(progress.stage, max(task.view.share, progress.share))


def filename(info: ModelInfo, pictures: Upload) -> str:
    """Return the file name of a fine-tuned model: `pets on ResNet-18.safetensors`."""
    return f"{title(pictures)} on {info.title}.safetensors".replace("/", " ")


def fine_tuned(info: ModelInfo, pictures: Upload, trained: Trained, weights: str) -> UploadedModel:
    """Return the record of a fine-tuned model; all but its numbers needs no child's word.

    Args:
        info: of the model that was fine-tuned.
        pictures: that it was fine-tuned on.
        trained: what the child says of it.
        weights: digest of its file.
    """
    assert pictures.images is not None, "pictures without a record are refused at the start"
    labels = tuple(sorted(name for name, _ in pictures.images.classes))
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
            f"Fine-tuned from {info.title} with {trained.trained_on:,} pictures of "
            f"{pictures.filename}. Of these pictures it is evaluated on others that it never "
            "saw, as long as their split keeps its seed.",
        ),
    )
