"""A model fine-tuned on uploaded classes: in a sandbox, from drawings to a model to compare."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.drawings import KINDS, packed
from quantcore import models
from quantcore.cache import locks
from quantcore.errors import RequestError
from quantcore.fine_tuning import FineTuning, FineTuningSpec, FineTuningView, Point
from quantcore.fine_tuning.service import WAITS, note_progress
from quantcore.fine_tuning.spec import check_backbone, point_in, stage
from quantcore.fine_tuning.training import _new_head, _splits, run_fine_tuning_child
from quantcore.images import load_images
from quantcore.jobs import Task
from quantcore.models import architectures, find
from quantcore.models.empty import EmptyParameters
from quantcore.models.torchvision_import import torchvision
from quantcore.sandbox import Progress
from quantcore.schema import ImageSpec, ModelSpec
from quantcore.settings import Settings
from quantcore.uploads import Upload, UploadedImages, Uploads, use
from tests.support.processes import soon

BACKBONE = ModelSpec("bundled/mobilenet_v2")
COUNT, EPOCHS = 200, 4
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uploads(settings: Settings) -> Uploads:
    use(settings.data)
    return Uploads(settings)


def add_upload(uploads: Uploads, content: bytes, classes: tuple[tuple[str, int], ...]) -> Upload:
    upload = uploads.receive("my drawings.zip", [content], "me")
    return uploads.describe(upload.token, images=UploadedImages(COUNT, classes))


@pytest.fixture(scope="module")
def drawings(uploads: Uploads) -> Upload:
    return add_upload(uploads, packed(COUNT), tuple((kind, COUNT // 2) for kind in KINDS))


@pytest.fixture(scope="module")
def fine_tuning(
    settings: Settings, uploads: Uploads, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FineTuning]:
    opened = FineTuning(settings, uploads, tmp_path_factory.mktemp("lock") / "machine.lock")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def fine_tuned(fine_tuning: FineTuning, drawings: Upload) -> FineTuningView:
    run_id = fine_tuning.start(FineTuningSpec(BACKBONE, drawings.name, EPOCHS), "me")
    view = fine_tuning.wait(run_id, TIMEOUT_S)
    assert view.state == "done", view
    return view


def test_what_comes_out_is_a_model_of_its_own_with_the_classes_of_the_pictures(
    fine_tuned: FineTuningView, uploads: Uploads, drawings: Upload
) -> None:
    upload = fine_tuned.upload
    assert upload is not None
    assert upload.model is not None
    assert upload.model.labels == KINDS
    assert [each.token for each in uploads.of("me")] == [upload.token, drawings.token]
    info = find(ModelSpec(upload.name))
    like = find(BACKBONE)
    assert info.title == "my drawings on MobileNet v2"
    assert (info.channels, info.image_size, info.static_mode) == ("grey", 64, "eager")
    assert (info.mean, info.std) == (like.mean, like.std)
    assert upload.model.parameters == sum(
        each.numel() for each in models.build(ModelSpec(upload.name)).parameters()
    )


def test_it_learnt_what_the_pictures_show(fine_tuned: FineTuningView, drawings: Upload) -> None:
    assert fine_tuned.upload is not None
    spec = ModelSpec(fine_tuned.upload.name)
    model = models.build(spec)
    evaluation = load_images(ImageSpec(drawings.name), find(spec)).evaluation
    assert evaluation.labels is not None
    with torch.inference_mode():
        named = torch.cat([model(images).argmax(1) for images, _ in evaluation.batches(64)])
    right = (named.numpy() == evaluation.labels).mean()
    assert right > 0.75


def test_the_curve_has_a_point_for_each_epoch_and_keeps_the_best(
    fine_tuned: FineTuningView,
) -> None:
    assert [point.epoch for point in fine_tuned.curve] == list(range(EPOCHS + 1))
    assert fine_tuned.curve[-1].loss < fine_tuned.curve[1].loss
    assert fine_tuned.share == 1.0


def test_its_quantizable_twin_is_the_same_function(fine_tuned: FineTuningView) -> None:
    assert fine_tuned.upload is not None
    spec = ModelSpec(fine_tuned.upload.name)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain, twin = (make(spec)(images) for make in (models.build, models.build_quantizable))
    assert torch.allclose(plain, twin, atol=0.02)


def test_what_judges_is_never_trained_on(drawings: Upload) -> None:
    trained_on, held_out, labels = _splits(FineTuningSpec(BACKBONE, drawings.name))
    assert labels == KINDS
    own = replace(find(BACKBONE), classes=2, labels=labels, dataset="own")
    data = load_images(ImageSpec(drawings.name), own)
    seen = set(trained_on.indices.tolist()) | set(held_out.indices.tolist())
    assert len(seen) == len(trained_on) + len(held_out)
    assert not seen & set(data.evaluation.indices.tolist())


def test_while_something_is_measured_it_waits_and_can_be_cancelled(
    settings: Settings, uploads: Uploads, drawings: Upload, tmp_path: Path
) -> None:
    lock = tmp_path / "machine.lock"
    fine_tuning = FineTuning(settings, uploads, lock)
    before = uploads.of("me")
    with locks.exclusive(lock):
        run_id = fine_tuning.start(FineTuningSpec(BACKBONE, drawings.name), "me")
        assert soon(lambda: fine_tuning.wait(run_id, 0.0).stage == WAITS)
        assert fine_tuning.wait(run_id, 0.0).state == "waiting"
        fine_tuning.forget_upload(drawings.name)
        assert fine_tuning.wait(run_id, 20).state == "cancelled"
    assert uploads.of("me") == before
    fine_tuning.close()
    with pytest.raises(RequestError, match="is ending"):
        fine_tuning.start(FineTuningSpec(BACKBONE, drawings.name), "me")


def test_whose_pictures_they_are_not_cannot_train_with_them(
    fine_tuning: FineTuning, drawings: Upload
) -> None:
    with pytest.raises(RequestError, match="no longer here"):
        fine_tuning.start(FineTuningSpec(BACKBONE, drawings.name), "somebody else")


def test_pictures_without_classes_are_refused(fine_tuning: FineTuning, uploads: Uploads) -> None:
    loose = add_upload(uploads, packed(4), ())
    with pytest.raises(RequestError, match=r"my drawings\.zip does not hold pictures of two"):
        fine_tuning.start(FineTuningSpec(BACKBONE, loose.name), "me")
    uploads.delete(loose.token)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("bundled/row_lstm", "layers of its own"),
        ("bundled/vit_tiny", "layers of its own"),
        ("torchvision/resnet18@random", "has learned nothing"),
        ("torchvision/nothing", "no model"),
    ],
)
def test_models_that_cannot_be_fine_tuned_say_why(name: str, part: str) -> None:
    with pytest.raises(RequestError, match=part) as error:
        check_backbone(ModelSpec(name))
    assert error.value.remedy


class Listener:
    """Takes what a child tells."""

    def __init__(self) -> None:
        self.told: list[Progress] = []

    def send(self, progress: Progress) -> None:
        self.told.append(progress)


def test_a_point_that_was_not_heard_leaves_the_others() -> None:
    spec = FineTuningSpec(BACKBONE, "upload/x")
    task = Task(spec, FineTuningView(spec), "me", None)
    for epoch in (0, 0, 2, 2, 1, 3):
        note_progress(task, Progress(stage(Point(epoch, 0.5, 0.5), 16), epoch / 16))
    assert [point.epoch for point in task.view.curve] == [0, 2, 3]
    assert task.view.share == 3 / 16
    assert task.view.seconds_left is not None


def test_too_few_pictures_are_refused_in_the_child(uploads: Uploads, tmp_path: Path) -> None:
    few = add_upload(uploads, packed(30), tuple((kind, 15) for kind in KINDS))
    with pytest.raises(RequestError, match="too few to train on"):
        run_fine_tuning_child(Listener(), FineTuningSpec(BACKBONE, few.name), tmp_path)  # type: ignore[arg-type]
    uploads.delete(few.token)
    assert not list(tmp_path.iterdir())


def test_a_stage_carries_its_point() -> None:
    point = Point(3, 0.314, 0.933)
    assert stage(point, 8) == "epoch 3 of 8: loss 0.314, 93.3 % right"
    assert point_in(stage(point, 8)) == Point(3, 0.314, pytest.approx(0.933))  # type: ignore[arg-type]
    assert point_in("training, epoch 3 of 8") is None


@pytest.mark.parametrize("epochs", [0, 101])
def test_impossible_numbers_of_epochs_are_refused(epochs: int) -> None:
    with pytest.raises(RequestError, match=f"{epochs} epochs"):
        FineTuningSpec(BACKBONE, "upload/x", epochs)


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "googlenet",
        "inception_v3",
        "maxvit_t",
        "mnasnet1_0",
        "squeezenet1_1",
        "swin_t",
        "vgg11",
        "vit_b_16",
    ],
)
def test_a_new_last_layer_gives_the_plain_architecture_with_other_classes(name: str) -> None:
    with torch.device("meta"), EmptyParameters():
        model = architectures.architecture(name)
        head = _new_head(model, 1_000, 3)
        like = torchvision().models.get_model(
            name, weights=None, num_classes=3, **architectures.options(name)
        )
        plain = architectures.drop_auxiliary(like, name)
    assert {key: each.shape for key, each in model.state_dict().items()} == {
        key: each.shape for key, each in plain.state_dict().items()
    }
    assert any(each is head for each in model.modules())
