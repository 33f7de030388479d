"""The page that teaches a model one's own classes, in each of its states, without a browser."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from streamlit.testing.v1.element_tree import Element

from quantcore.draw import curve
from quantcore.errors import CancelledError, ChildDiedError, QuantcoreError, RequestError
from quantcore.fine_tuning import FineTuningSpec, FineTuningView, Point
from quantcore.jobs import TaskState
from quantcore.schema import ModelSpec
from quantcore.settings import Settings
from quantcore.uploads import Upload, UploadedImages, UploadedModel, Uploads, use
from tests.pages.conftest import Browse
from tests.pages.fakes import ME, FakeComparisons
from tests.pages.helpers import Open, buttons, captions, html
from ui.common import site, state

PAGE = "pages/Transfer.py"
CURVE = (Point(0, 0.7, 0.55), Point(1, 0.5, 0.9), Point(2, 0.31, 0.8))
LABELS = ("cat", "dog")


@dataclass
class FakeFineTuning:
    """Answers with the view it was given, and notes what it was asked."""

    views: dict[str, FineTuningView] = field(default_factory=dict)
    started: list[tuple[FineTuningSpec, str]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refusal: QuantcoreError | None = None

    def start(self, spec: FineTuningSpec, owner: str) -> str:
        if self.refusal:
            raise self.refusal
        self.started.append((spec, owner))
        self.views["new"] = FineTuningView(
            spec, stage="waits until another fine-tuning run is done"
        )
        return "new"

    def view(self, run_id: str) -> FineTuningView | None:
        return self.views.get(run_id)

    def cancel(self, run_id: str, owner: str) -> None:
        assert owner == ME
        self.cancelled.append(run_id)


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uploads:
    monkeypatch.setenv("QUANTCORE_DATA", str(tmp_path))
    use(tmp_path)
    return Uploads(Settings(data=tmp_path))


@pytest.fixture
def fake(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> FakeFineTuning:
    fake, service = FakeFineTuning(), FakeComparisons()
    service.uploads = uploads
    service.fine_tuning = fake  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "service", lambda: service)
    return fake


def add_upload(uploads: Uploads, name: str = "pets.zip", labelled: bool = True) -> Upload:
    upload = uploads.receive(name, [b"zip"], ME)
    classes = (("cat", 60), ("dog", 40)) if labelled else ()
    return uploads.describe(upload.token, images=UploadedImages(100, classes))


@pytest.fixture
def pets(uploads: Uploads) -> Upload:
    return add_upload(uploads)


def fine_tuned(uploads: Uploads) -> Upload:
    upload = uploads.receive("pets on MobileNet v2.safetensors", [b"story"], ME)
    model = UploadedModel(
        form="state_dict",
        architecture="torchvision/mobilenet_v2",
        classes=2,
        labels=LABELS,
        image_size=64,
        resize_size=64,
        mean=(0.3,) * 3,
        std=(0.3,) * 3,
        parameters=2_226_434,
        weights="0" * 64,
        channels="grey",
    )
    return uploads.describe(upload.token, model=model)


def shows(fake: FakeFineTuning, pets: Upload, state: TaskState, **facts: object) -> None:
    spec = FineTuningSpec(ModelSpec("bundled/mobilenet_v2"), pets.name, 8)
    fake.views["known"] = FineTuningView(spec, state=state, **facts)  # type: ignore[arg-type]


def text(elements: Iterable[Element]) -> str:
    return "\n".join(str(each.value) for each in elements).replace("\\", "")


def test_without_images_it_leads_to_their_upload(open_page: Open, uploads: Uploads) -> None:
    add_upload(uploads, "loose.zip", labelled=False)
    page = open_page()
    assert "Upload images first" in html(page)
    assert buttons(page) == ["Upload images"]
    assert not page.selectbox


def test_a_run_is_started_with_what_is_chosen(
    open_page: Open, fake: FakeFineTuning, uploads: Uploads, pets: Upload
) -> None:
    birds = add_upload(uploads, "birds.zip")
    page = open_page()
    assert "Nothing fine-tuned yet" in html(page)
    options = page.selectbox(key="images").options
    assert sorted(options) == [f"{name}: 100 pictures of 2 classes" for name in ("birds", "pets")]
    page.selectbox(key="images").set_value(pets.name)
    page.selectbox(key="backbone").set_value("bundled/resnet18")
    page.number_input(key="epochs").set_value(4)
    page.button(key="teach").click().run()
    assert not page.exception
    assert fake.started == [(FineTuningSpec(ModelSpec("bundled/resnet18"), pets.name, 4), ME)]
    assert page.query_params["lesson"] == "new"
    assert "Cancel" in buttons(page)
    assert birds.name not in str(fake.started)


def test_models_that_cannot_be_fine_tuned_are_not_offered(open_page: Open, pets: Upload) -> None:
    options = " ".join(open_page().selectbox(key="backbone").options)
    assert "MobileNet v2, bundled, 64 px" in options
    assert "ResNet-18, torchvision, 224 px" in options
    assert "LSTM" not in options
    assert "ViT-Tiny" not in options


def test_images_of_somebody_else_are_not_offered(
    open_page: Open, pets: Upload, browse_as: Browse
) -> None:
    browse_as("another")
    assert "Upload images first" in html(open_page(images=pets.name))


def test_a_refusal_is_said(open_page: Open, fake: FakeFineTuning, pets: Upload) -> None:
    fake.refusal = RequestError("These images are too few.", "Upload more.")
    page = open_page()
    page.button(key="teach").click().run()
    assert "These images are too few." in text(page.error)
    assert not fake.started


def test_while_it_learns_stage_time_and_curve_are_there_and_it_can_be_stopped(
    open_page: Open, fake: FakeFineTuning, pets: Upload
) -> None:
    shows(
        fake,
        pets,
        "running",
        stage="epoch 2 of 8: loss 0.310, 80.0 % right",
        share=0.4,
        seconds_left=33.0,
        curve=CURVE,
    )
    page = open_page(lesson="known")
    assert not page.exception
    # What a child says is escaped for Markdown.
    said = str(page.get("progress")[0].proto).replace("\\", "")
    assert "Epoch 2 of 8: loss 0.310, 80.0 % right" in said
    assert "33 s" in said
    assert "MobileNet v2 learns the classes of pets." in captions(page)
    assert "55 % of the held-out images right; after epoch 2, 80 %" in captions(page)
    assert len(page.get("plotly_chart")) == 1
    assert buttons(page) == ["Cancel"]
    page.button(key="cancel-fine-tuning").click().run()
    assert fake.cancelled == ["known"]


def test_at_first_there_is_no_curve(open_page: Open, fake: FakeFineTuning, pets: Upload) -> None:
    shows(fake, pets, "waiting", stage="waits until the measurement that runs is done")
    page = open_page(lesson="known")
    assert "Waits until the measurement" in str(page.get("progress")[0].proto)
    assert not page.get("plotly_chart")


def test_the_fine_tuned_model_is_compared_on_its_own_images(
    open_page: Open,
    fake: FakeFineTuning,
    uploads: Uploads,
    pets: Upload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = fine_tuned(uploads)
    shows(fake, pets, "done", share=1.0, curve=CURVE, upload=model)
    led: list[tuple[object, object]] = []
    monkeypatch.setattr(
        "ui.fine_tuning.fine_tuning.st.switch_page",
        lambda page, query_params: led.append((page, query_params)),
    )
    page = open_page(lesson="known")
    assert not page.exception
    assert "**pets on MobileNet v2** tells cat and dog apart." in text(page.markdown)
    assert "Loss went from 0.70 to 0.31." in captions(page)
    assert "Teach it" in buttons(page)
    page.button(key="compare-fine-tuned").click().run()
    assert led == [(site.COMPARE, {"model": model.name, "images": pets.name})]


@pytest.mark.parametrize(
    ("ended", "problem", "kind"),
    [
        ("failed", ChildDiedError("The process that trains ended.", "Try again."), "error"),
        ("cancelled", CancelledError("The training was cancelled.", "Start again."), "info"),
    ],
)
def test_how_it_ended_otherwise_is_said_and_it_can_be_asked_for_again(
    open_page: Open,
    fake: FakeFineTuning,
    pets: Upload,
    ended: TaskState,
    problem: QuantcoreError,
    kind: str,
) -> None:
    shows(fake, pets, ended, problem=problem, curve=CURVE[:1])
    page = open_page(lesson="known")
    assert problem.reason in text(getattr(page, kind))
    assert "With the new last layer alone, 55 %" in captions(page)
    page.button(key="teach").click().run()
    assert len(fake.started) == 1


def test_an_unknown_run_is_said(open_page: Open, pets: Upload) -> None:
    page = open_page(lesson="of-yesterday")
    assert "no longer known here" in page.warning[0].value
    assert "Teach it" in buttons(page)


def test_the_curve_is_drawn_with_room_for_the_epochs_to_come() -> None:
    figure = curve.figure(CURVE, 8)
    assert list(figure.data[0].y) == pytest.approx([55, 90, 80])
    assert list(figure.data[1].y) == [0.7, 0.5, 0.31]
    assert figure.layout.xaxis.range[1] > 8
    assert curve.text(CURVE).endswith("90 % at best. Loss went from 0.70 to 0.31.")
