"""The page of models: found and chosen, uploaded, described, kept and deleted."""

import html as entities
import io
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from quantcore.backends import BACKENDS
from quantcore.cli.main import app as command_line
from quantcore.draw import titles
from quantcore.engine import predictions
from quantcore.errors import RequestError
from quantcore.exports import exports
from quantcore.images import preview, unmatched
from quantcore.jobs import TaskState
from quantcore.models import find, offered
from quantcore.schema import CompareRequest, Comparison, ImageSpec, ModelSpec, Variant
from quantcore.untrusted import InspectionView
from quantcore.uploads import Upload, UploadedImages, UploadedModel, Uploads, use
from tests.pages.conftest import Browse
from tests.pages.fakes import ME, FakeComparisons, view
from tests.pages.helpers import APP, Open, buttons, press
from tests.pages.test_export import FakeExports
from tests.pages.test_try import FakePlayground
from tests.support import fixtures
from ui.common import hosts, owned_uploads, state, widgets
from ui.export import form
from ui.models import catalogue, describing, own_uploads

PAGE = "pages/Models.py"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PETS = UploadedModel(
    form="state_dict",
    architecture="torchvision/resnet18",
    classes=3,
    labels=("class 0", "class 1", "class 2"),
    image_size=64,
    resize_size=72,
    mean=IMAGENET[0],
    std=IMAGENET[1],
    parameters=11_178_051,
    weights="0" * 64,
    dynamic_layers=(("Linear", 1),),
    notes=("The names began with 'module.', which was taken off.",),
)
PROGRAM = replace(PETS, form="torchscript", architecture=None)
GRAPH = replace(PETS, form="onnx", architecture=None)
PICTURES = UploadedImages(
    17, (("cat", 9), ("dog", 6), ("bear", 2)), (), ("Class bear has only 2 pictures.",)
)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeComparisons:
    monkeypatch.setenv("QUANTCORE_DATA", str(tmp_path))
    fake = FakeComparisons(new=view(fixtures.typical()))
    fake.uploads = Uploads(state.settings())
    use(tmp_path)
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", fixtures.typical)
    return fake


def add_upload(
    fake: FakeComparisons,
    found: UploadedModel | UploadedImages | None = PETS,
    filename: str = "pets.pt",
    owner: str = ME,
) -> Upload:
    upload = fake.uploads.receive(filename, [b"numbers"], owner=owner)
    if isinstance(found, UploadedModel):
        return fake.uploads.describe(upload.token, model=found)
    if isinstance(found, UploadedImages):
        return fake.uploads.describe(upload.token, images=found)
    return upload


def look(fake: FakeComparisons, upload: Upload, how: TaskState = "done", **more: object) -> None:
    fake.inspections.views[upload.token] = InspectionView(upload, state=how, share=1.0, **more)  # type: ignore[arg-type]


def said(page: AppTest) -> str:
    """Return all that the page says, without markup."""
    assert not page.exception
    kinds = (page.markdown, page.caption, page.info, page.warning, page.error, page.subheader)
    texts = [element.value for kind in kinds for element in kind]
    texts += [re.sub("<[^>]+>", " ", element.proto.body) for element in page.html]
    return entities.unescape(" ".join(" ".join(texts).replace("\\", "").replace("*", "").split()))


def cards(page: AppTest) -> list[str]:
    return [box.label.strip("*").replace("\\", "") for box in page.checkbox]


def field(page: AppTest, upload: Upload, name: str) -> str:
    return f"describe-{upload.token}-{name}"


# The models offered to everybody


def test_all_models_are_there_and_say_what_they_are(open_page: Open) -> None:
    page = open_page()
    assert f"{len(offered())} models of {len(offered())}" in said(page)
    assert cards(page)[0] == "MobileNet v2"
    assert "8 bits: static, by torchvision's 8-bit twin; ready-made for x86" in said(page)
    assert page.query_params == {}


@pytest.mark.parametrize("name", ["bundled/resnet18", "torchvision/resnet18"])
def test_size_and_accuracy_are_the_same_here_in_the_picker_and_on_the_command_line(
    open_page: Open, name: str
) -> None:
    figures = offered()[name].figures
    picker = said(open_page(APP, model=name))
    card = said(open_page(find=name, source=name.partition("/")[0]))
    listed = CliRunner().invoke(command_line, ["models", name]).stdout
    for text in (picker, card, listed):
        assert figures.size in text
        assert figures.accuracy in text
        # And no other ones.
        assert len(re.findall(r"[\d.]+ MB (?:as|of)", text)) == 1
        assert len(re.findall(r"[\d.]+ % (?:of|right)", text)) == 1


@pytest.mark.parametrize("weights", ["random", "trained"])
def test_the_picker_says_no_accuracy_of_random_weights(open_page: Open, weights: str) -> None:
    page = open_page(APP, model="torchvision/resnet18", weights=weights)
    assert ("% right" in said(page)) == (weights == "trained")
    assert ("of weights, published by torchvision" in said(page)) == (weights == "trained")


def test_the_picker_says_nothing_of_an_upload_that_nobody_measured(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = open_page(APP, model=add_upload(fake).name)
    assert "11.2 M parameters · 64 px" in said(page)
    assert "as TorchScript" not in said(page)
    assert "% right" not in said(page)


@pytest.mark.parametrize("words", ["resnet18", "ResNet-18", "18 resnet"])
def test_a_model_is_found_however_its_name_is_written(open_page: Open, words: str) -> None:
    page = open_page()
    page.text_input(key="find").set_value(words).run()
    assert cards(page) == ["ResNet-18", "ResNet-18"]
    assert page.query_params["find"] == words


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("source", "bundled", lambda info: info.source == "bundled"),
        ("mb", "10", lambda info: info.figures.size_bytes <= 10_000_000),
        ("gflops", "0.5", lambda info: info.gflops <= 0.5),
        ("top1", "85", lambda info: info.figures.top1 >= 0.85),
        ("way", "dynamic", lambda info: info.static_mode is None),
        ("way", "eager", lambda info: info.static_mode == "eager"),
        ("ready", "qnnpack", lambda info: "qnnpack" in info.pretrained_engines),
    ],
)
def test_each_filter_lets_through_what_it_says(
    open_page: Open, key: str, value: str, fits: Callable[[object], bool]
) -> None:
    page = open_page(**{key: value})
    wanted = [info.title for info in offered().values() if fits(info)]
    assert 0 < len(wanted) < len(offered())
    assert f"{len(wanted)} model" in said(page)
    assert cards(page) == wanted[: catalogue.PAGE_LENGTH]
    page.selectbox(key=key).set_value(None).run()
    assert key not in page.query_params
    assert f"{len(offered())} models of" in said(page)


def test_ready_made_is_offered_for_the_backends_that_some_checkpoint_is_for() -> None:
    ready = next(each for each in catalogue.FILTERS if each.key == "ready")
    engines = {engine for info in offered().values() for engine in info.pretrained_engines}
    having = [name for name, each in BACKENDS.items() if each.engine in engines]
    assert list(ready.options) == having != list(BACKENDS)
    for name in having:
        assert any(ready.fits(info, name) for info in offered().values())


def test_filters_that_let_nothing_through_say_so(open_page: Open) -> None:
    page = open_page(mb="10", way="dynamic", ready="qnnpack")
    assert "No model is all of that" in said(page)
    assert cards(page) == []


def test_models_are_put_in_order(open_page: Open) -> None:
    assert cards(open_page(sort="size"))[0] == "Row LSTM"
    assert (
        cards(open_page(sort="accuracy", source="torchvision"))[0]
        == max(
            (info for info in offered().values() if info.source == "torchvision"),
            key=lambda info: info.figures.top1,
        ).title
    )


def test_an_address_that_names_no_such_filter_says_so(open_page: Open) -> None:
    assert "names something unknown" in said(open_page(mb="7"))


def test_several_chosen_models_go_to_the_sweep(open_site: Open) -> None:
    page = open_site()
    assert page.button(key="compare-chosen").disabled
    for name in ("resnet18", "vit_tiny"):
        box = next(box for box in page.checkbox if f"bundled/{name}" in str(box.key))
        box.check().run()
    assert page.query_params["chosen"] == "bundled/resnet18,bundled/vit_tiny"
    assert "Chosen: ResNet-18 and ViT Tiny." in said(page)
    page.button(key="compare-chosen").click().run()
    assert page.multiselect(key="models").value == ["bundled/resnet18", "bundled/vit_tiny"]
    assert page.query_params == {"models": "bundled/resnet18,bundled/vit_tiny"}


def test_one_chosen_model_goes_to_the_first_page(open_site: Open) -> None:
    page = open_site(chosen="torchvision/resnet18")
    assert page.button(key="compare-chosen").label == "Compare it"
    page.button(key="compare-chosen").click().run()
    assert page.selectbox(key="model").value == "torchvision/resnet18"


def test_the_choice_outlives_a_filter_and_can_be_undone(open_page: Open) -> None:
    page = open_page(chosen="bundled/resnet18", source="torchvision")
    assert "Chosen: ResNet-18." in said(page)
    next(button for button in page.button if button.label == "Choose none").click().run()
    assert "chosen" not in page.query_params
    page.selectbox(key="source").set_value(None).run()
    assert not any(box.value for box in page.checkbox)


# A file is uploaded


def upload(page: AppTest, content: bytes, name: str, place: int = 0) -> AppTest:
    page.file_uploader[place].upload(name, content, "application/octet-stream").run()
    return page


def test_a_file_is_received_whole_and_looked_at(open_page: Open, fake: FakeComparisons) -> None:
    content = bytes(range(256)) * 10_000
    page = upload(open_page(part="bring"), content, "../my model.pt")
    (started,) = fake.inspections.started
    assert (started.filename, started.owner) == ("my model.pt", ME)
    assert fake.uploads.content(started.token).read_bytes() == content
    assert page.query_params == {"part": "bring", "upload": started.token}
    assert "Looking at my model.pt." in page.get("progress")[0].proto.text.replace("\\", "")
    assert "reading the numbers" in page.get("progress")[0].proto.text


def test_what_is_received_is_let_go_of(
    open_page: Open, fake: FakeComparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[str] = []
    monkeypatch.setattr(
        MemoryUploadedFileManager, "remove_file", lambda self, session, file: gone.append(file)
    )
    upload(open_page(part="bring"), b"PK", "pets.zip", place=1)
    assert len(gone) == 1


def test_an_empty_file_is_refused_and_another_can_be_uploaded(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = upload(open_page(part="bring"), b"", "empty.pt")
    assert "This file is empty: it has 0 bytes. Upload another file." in said(page)
    assert not fake.inspections.started
    upload(page, b"numbers", "full.pt")
    assert [each.filename for each in fake.inspections.started] == ["full.pt"]


def test_the_field_takes_as_much_as_the_settings_say(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTCORE_UPLOAD_MB", "30")
    state.settings.cache_clear()
    page = open_page(part="bring")
    assert [each.proto.max_upload_size_mb for each in page.file_uploader] == [30, 30]


def test_it_says_where_programs_are_not_taken(open_page: Open, fake: FakeComparisons) -> None:
    assert not open_page(part="bring").info
    fake.inspections.refused = "TorchScript is not taken here: nothing locks it in."
    assert "TorchScript is not taken here" in said(open_page(part="bring"))


def test_a_look_can_be_stopped(open_page: Open, fake: FakeComparisons) -> None:
    page = upload(open_page(part="bring"), b"numbers", "pets.pt")
    page.button(key="cancel").click().run()
    assert fake.inspections.cancelled == [fake.inspections.started[0].token]
    page.run()
    assert "Stopped. Nothing of pets.pt was kept." in said(page)
    page.button(key="another").click().run()
    assert len(page.file_uploader) == 2


def test_a_refusal_says_why_and_what_to_do(open_page: Open, fake: FakeComparisons) -> None:
    mine = add_upload(fake, None)
    problem = RequestError("Its numbers fit no architecture.", "Upload a TorchScript program.")
    look(fake, mine, "failed", problem=problem)
    fake.uploads.delete(mine.token)
    page = open_page(part="bring", upload=mine.token)
    assert "pets.pt was not accepted." in said(page)
    assert "Its numbers fit no architecture. Upload a TorchScript program." in said(page)
    page.button(key="another").click().run()
    assert page.query_params == {"part": "bring"}


@pytest.mark.parametrize("how", ["running", "failed", "done"])
def test_nobody_else_sees_a_look(
    open_page: Open, fake: FakeComparisons, browse_as: Browse, how: TaskState
) -> None:
    mine = add_upload(fake)
    look(fake, mine, how, problem=RequestError("Secret."))
    browse_as("somebody else")
    page = open_page(part="bring", upload=mine.token)
    assert "This upload is not here" in said(page)
    assert "pets" not in said(page)


@pytest.mark.parametrize("token", ["nothing", "../../etc", "A" * 32])
def test_an_upload_that_never_was_is_not_here(open_page: Open, token: str) -> None:
    assert "This upload is not here" in said(open_page(part="bring", upload=token))


def test_a_file_nobody_looked_at_can_still_be(open_page: Open, fake: FakeComparisons) -> None:
    mine = add_upload(fake, None)
    page = open_page(part="bring", upload=mine.token)
    assert "pets.pt was not inspected yet" in said(page)
    page.button(key="look").click().run()
    assert fake.inspections.started == [mine]


# A model is described


def test_what_was_recognised_is_said_in_words(open_page: Open, fake: FakeComparisons) -> None:
    page = open_page(part="bring", upload=add_upload(fake).token)
    assert "ResNet-18 with 3 classes, 11.2 M parameters. A state dict" in said(page)
    assert "which was taken off" in said(page)
    program = open_page(part="bring", upload=add_upload(fake, PROGRAM).token)
    assert "only ever runs locked in" in said(program)


def test_the_form_is_kept_and_leads_to_the_comparison(
    open_site: Open, fake: FakeComparisons
) -> None:
    mine, images = add_upload(fake), add_upload(fake, PICTURES, "pets.zip")
    page = open_site(part="bring", upload=mine.token)
    page.number_input(key=field(page, mine, "size")).set_value(96)
    page.number_input(key=field(page, mine, "resize")).set_value(128)
    page.selectbox(key=field(page, mine, "channels")).set_value("BGR")
    page.text_input(key=field(page, mine, "mean")).set_value("0.5")
    page.text_input(key=field(page, mine, "std")).set_value("0.5, 0.25 0.2")
    page.text_area(key=field(page, mine, "labels")).set_value("cat\n dog \n\nbear\n").run()
    assert "Not saved yet." in said(page)
    page.button(key="compare-upload").click().run()
    model = fake.uploads.get(mine.token).model
    assert model == replace(
        PETS,
        image_size=96,
        resize_size=128,
        channels="BGR",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.25, 0.2),
        labels=("cat", "dog", "bear"),
    )
    assert page.selectbox(key="model").value == mine.name
    assert page.query_params == {"model": mine.name, "images": images.name}


def test_nothing_changed_is_nothing_to_save(open_page: Open, fake: FakeComparisons) -> None:
    page = open_page(part="bring", upload=add_upload(fake).token)
    assert page.button(key="save-model").disabled
    assert page.button(key="compare-upload").label == "Compare it"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("labels", "cat\ndog", "There are 2 labels for 3 classes: add 1."),
        ("labels", "a\nb\nc\nd", "There are 4 labels for 3 classes: take 1 out."),
        ("labels", "cat", "There is 1 label for 3 classes: add 2."),
        ("mean", "0.5, 0.5", "The mean is three numbers"),
        ("mean", "nan", "The mean is three numbers"),
        ("std", "much", "The std is three numbers"),
        ("std", "0.5, 0, 0.5", "Every number of the std is above 0"),
    ],
)
def test_what_is_wrong_is_said_and_not_kept(
    open_page: Open, fake: FakeComparisons, name: str, value: str, sentence: str
) -> None:
    mine = add_upload(fake)
    page = open_page(part="bring", upload=mine.token)
    widget = page.text_area if name == "labels" else page.text_input
    widget(key=field(page, mine, name)).set_value(value).run()
    assert sentence in said(page)
    assert page.button(key="compare-upload").disabled
    assert page.button(key="save-model").disabled


def test_a_square_larger_than_the_picture_is_refused(
    open_page: Open, fake: FakeComparisons
) -> None:
    mine = add_upload(fake)
    page = open_page(part="bring", upload=mine.token)
    page.number_input(key=field(page, mine, "size")).set_value(128).run()
    assert "A picture of 72 px has no square of 128 px in it" in said(page)


def test_a_preset_writes_mean_and_std(open_page: Open, fake: FakeComparisons) -> None:
    mine = add_upload(fake)
    page = open_page(part="bring", upload=mine.token)
    preset = page.segmented_control(key=field(page, mine, "preset"))
    assert preset.value == "ImageNet"
    preset.set_value("−1 to 1").run()
    assert page.text_input(key=field(page, mine, "mean")).value == "0.5, 0.5, 0.5"
    page.text_input(key=field(page, mine, "std")).set_value("1").run()
    assert page.segmented_control(key=field(page, mine, "preset")).value is None


def test_an_architecture_that_fits_as_well_can_be_taken(
    open_page: Open, fake: FakeComparisons
) -> None:
    mine = add_upload(fake)
    look(fake, mine, candidates=("torchvision/resnet18", "torchvision/swin_t"))
    page = open_page(part="bring", upload=mine.token)
    page.selectbox(key=field(page, mine, "architecture")).set_value("torchvision/swin_t").run()
    page.button(key="save-model").click().run()
    model = fake.uploads.get(mine.token).model
    assert model is not None
    assert model.architecture == "torchvision/swin_t"
    assert model.interpolation == find(ModelSpec("torchvision/swin_t")).interpolation == "bicubic"


def test_labels_come_from_a_file_or_from_the_folders_of_images(
    open_page: Open, fake: FakeComparisons
) -> None:
    mine, images = add_upload(fake), add_upload(fake, PICTURES, "pets.zip")
    page = open_page(part="bring", upload=mine.token)
    key = field(page, mine, "labels")
    page.file_uploader[0].upload("names.json", b'{"0": "x", "2": "z", "1": "y"}', "text/json").run()
    assert page.text_area(key=key).value == "x\ny\nz"
    page.button(key=f"{key}-{images.token}").click().run()
    assert page.text_area(key=key).value == "cat\ndog\nbear"


@pytest.mark.parametrize(
    ("filename", "content", "labels"),
    [
        ("a.txt", "\ufeffcat\r\n\r\ndog \n".encode(), ["cat", "dog"]),
        ("a.json", b'["cat", "dog"]', ["cat", "dog"]),
        ("a.json", b'{"dog": 1, "cat": 0}', ["cat", "dog"]),
        ("a.json", b'{"10": "z", "9": "a"}', ["a", "z"]),
        ("a.json", b'{"0": ["n01440764", "tench"]}', ["tench"]),
    ],
)
def test_labels_are_read_in_every_usual_form(
    filename: str, content: bytes, labels: list[str]
) -> None:
    assert describing.labels_in(filename, content) == labels


@pytest.mark.parametrize("content", [b"{", b"3", b"[1, 2]", b'{"a": "b"}', b"[[]]", b"null"])
def test_a_file_without_labels_is_refused(content: bytes) -> None:
    with pytest.raises(RequestError, match="holds no list of labels"):
        describing.labels_in("a.json", content)


def test_the_picture_shows_what_the_preparation_does() -> None:
    right = replace(find(ModelSpec("torchvision/resnet18")), image_size=64, resize_size=72)
    shown = preview(right)
    before, after = (np.asarray(each, int) for each in (shown.before, shown.after))
    assert abs(before - after).max() <= 1
    swapped = np.asarray(preview(replace(right, channels="BGR")).after, int)
    assert not np.array_equal(swapped, after)
    dark = preview(replace(right, mean=(1.0, 1.0, 1.0)))
    assert np.asarray(dark.after).mean() < before.mean() / 2
    assert dark.clipped > 0.05
    grey = np.asarray(preview(replace(right, channels="grey")).before)
    assert np.array_equal(grey[..., 0], grey[..., 2])


# Pictures are uploaded


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_are_counted_shown_and_warned_of(open_page: Open, fake: FakeComparisons) -> None:
    mine = add_upload(fake, PICTURES, "pets.zip")
    look(fake, mine, thumbnails=(("cat", png()), ("<b>", png())))
    page = open_page(part="bring", upload=mine.token)
    assert "17 pictures of 3 classes." in said(page)
    assert "cat 9 dog 6 bear 2" in said(page)
    assert "Class bear has only 2 pictures." in said(page)
    markup = "".join(element.proto.body for element in page.html)
    assert 'alt="cat"' in markup
    assert "<b>&lt;b&gt;" not in markup
    assert 'alt="&lt;b&gt;"' in markup


def test_without_labels_there_is_agreement_only(open_page: Open, fake: FakeComparisons) -> None:
    mine = add_upload(fake, UploadedImages(40), "loose.zip")
    page = open_page(part="bring", upload=mine.token)
    assert "40 pictures without labels" in said(page)
    assert "agreement with float32 is measured instead of accuracy" in said(page)


def test_only_classes_that_fit_no_label_are_mapped_by_hand(
    open_page: Open, fake: FakeComparisons
) -> None:
    add_upload(fake, replace(PETS, labels=("Cat", "hound", "bear")))
    mine = add_upload(fake, PICTURES, "pets.zip")
    page = open_page(part="bring", upload=mine.token)
    mapped = [box for box in page.selectbox if str(box.key).startswith("map-")]
    assert [box.label for box in mapped] == ["dog"]
    assert page.button(key="save-labels").disabled
    mapped[0].set_value("hound").run()
    page.button(key="save-labels").click().run()
    images = fake.uploads.get(mine.token).images
    assert images is not None
    assert images.labels_of == (("dog", "hound"),)
    again = open_page(part="bring", upload=mine.token)
    assert [box.value for box in again.selectbox if str(box.key).startswith("map-")] == ["hound"]


@pytest.mark.parametrize(
    ("labels", "main"),
    [
        (("cat", "hound", "bear"), "compare-images"),
        (("shoe", "bag", "shirt"), "fine-tune-images"),
    ],
)
def test_the_next_step_is_to_teach_where_no_class_is_the_models(
    open_page: Open, fake: FakeComparisons, labels: tuple[str, ...], main: str
) -> None:
    add_upload(fake, replace(PETS, labels=labels))
    page = open_page(part="bring", upload=add_upload(fake, PICTURES, "pets.zip").token)
    kinds = {key: page.button(key=key).proto.type for key in ("compare-images", "fine-tune-images")}
    assert [key for key, kind in kinds.items() if kind == "primary"] == [main]


def test_pictures_whose_classes_all_fit_need_no_mapping(
    open_page: Open, fake: FakeComparisons
) -> None:
    add_upload(fake, replace(PETS, labels=("cat", "dog", "bear")))
    page = open_page(part="bring", upload=add_upload(fake, PICTURES, "pets.zip").token)
    assert "Every class of these pictures fits a label" in said(page)


# What the visitor has


def test_before_anything_is_uploaded_it_says_what_will_be_here(open_page: Open) -> None:
    page = open_page(part="mine")
    assert "You have not uploaded anything yet" in said(page)
    page.button[0].click().run()
    assert len(page.file_uploader) == 2


def test_uploads_are_listed_with_what_they_are_and_when_they_go(
    open_page: Open, fake: FakeComparisons
) -> None:
    add_upload(fake)
    add_upload(fake, PICTURES, "pets.zip")
    add_upload(fake, PETS, "theirs.pt", owner="somebody else")
    page = open_page(part="mine")
    assert "pets.pt, ResNet-18 with 3 classes" in said(page)
    assert "pets.zip, 17 pictures of 3 classes" in said(page)
    assert said(page).count("expires in 7 days") == 2
    assert "theirs" not in said(page)
    soon = replace(owned_uploads.mine()[0], expires_s=time.time() + 600)
    assert own_uploads.facts(soon).endswith("expires within the hour")


def test_an_upload_is_edited_and_compared(open_site: Open, fake: FakeComparisons) -> None:
    mine = add_upload(fake)
    page = open_site(part="mine")
    page.button(key=f"edit-{mine.token}").click().run()
    assert page.query_params == {"part": "bring", "upload": mine.token}
    page = open_site(part="mine")
    page.button(key=f"compare-{mine.token}").click().run()
    assert page.selectbox(key="model").value == mine.name


def test_an_upload_is_deleted_when_asked_twice(open_page: Open, fake: FakeComparisons) -> None:
    mine = add_upload(fake)
    page = open_page(part="mine")
    assert f"delete-{mine.token}" not in {button.key for button in page.button}
    press(page, "Delete")
    assert "its comparisons included" in said(page)
    page.button(key=f"delete-{mine.token}").click().run()
    assert "You have not uploaded anything yet" in said(page)
    assert not fake.uploads.folder(mine.token).exists()


# On the other pages


def of_upload(name: str, images: str | None = None) -> Comparison:
    """Return the typical comparison as one of an upload."""
    whole = fixtures.typical()
    request = replace(whole.request, model=ModelSpec(name), images=ImageSpec(source=images))
    rows = tuple(replace(row, model=name) for row in whole.results)
    failures = tuple(replace(row, model=name) for row in whole.failures)
    return replace(whole, request=request, results=rows, failures=failures)


def request_of(name: str, images: str | None = None) -> CompareRequest:
    return of_upload(name, images).request


def test_the_first_page_offers_ones_own_models_and_images(
    open_page: Open, fake: FakeComparisons
) -> None:
    mine, images = add_upload(fake), add_upload(fake, PICTURES, "pets.zip")
    page = open_page(APP, model=mine.name, images=images.name)
    assert "pets · yours" in page.selectbox(key="model").options
    assert "pets has not been measured yet" in said(page)
    assert not any(control.key == "weights" for control in page.segmented_control)
    press(page, "Measure here")
    (request,) = fake.started
    assert request.model.name == mine.name
    assert request.images.source == images.name


def test_nobody_else_is_offered_them(
    open_page: Open, fake: FakeComparisons, browse_as: Browse
) -> None:
    mine, images = add_upload(fake), add_upload(fake, PICTURES, "pets.zip")
    browse_as("somebody else")
    page = open_page(APP, model=mine.name, images=images.name)
    assert page.selectbox(key="model").value == state.DEFAULT_MODEL
    assert page.selectbox(key="images").value is None
    assert not any("pets" in option for option in page.selectbox(key="model").options)
    assert "names something unknown" in said(page)
    assert page.query_params == {}


def test_a_shared_comparison_is_shown_but_not_measured(
    open_page: Open, fake: FakeComparisons, browse_as: Browse
) -> None:
    mine = add_upload(fake)
    fake.views["shared"] = view(of_upload(mine.name))
    browse_as("somebody else")
    page = open_page(APP, model=mine.name, job="shared")
    assert page.selectbox(key="model").value == mine.name
    assert "Somebody else uploaded this model" in said(page)
    assert page.button(key="measure").disabled
    assert "names something unknown" not in said(page)
    assert "Ship QAT on oneDNN" in said(page)


def test_a_comparison_of_a_deleted_upload_is_still_drawn(
    open_page: Open, fake: FakeComparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "upload/" + "A" * 32
    fake.views["gone"] = view(of_upload(name))
    fake.store, fake.playground = None, FakePlayground(here=True)  # type: ignore[attr-defined]
    monkeypatch.setattr(predictions, "logits_of", lambda *_: np.eye(10)[[0] * 2_000])
    page = open_page(APP, job="gone")
    assert page.selectbox(key="model").options[0] == "a deleted upload · not yours"
    assert page.button(key="measure").disabled
    assert "Ship QAT on oneDNN" in said(page)
    for other, sentence in {
        "Gallery": "not kept here",
        "Try": "no longer here",
        "Export": "Somebody else uploaded this model, or it is gone",
        "Sweep": "float32 included",
    }.items():
        assert sentence in said(open_page(f"pages/{other}.py", model=name, job="gone"))


@pytest.mark.parametrize("what", ["model", "images"])
def test_somebody_elses_upload_is_refused_when_asked_for_by_hand(
    fake: FakeComparisons, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "remember_job", lambda *_: None)
    theirs = add_upload(fake, PETS if what == "model" else PICTURES, owner="somebody else")
    asked = (
        request_of(theirs.name)
        if what == "model"
        else request_of("bundled/mobilenet_v2", theirs.name)
    )
    with pytest.raises(RequestError, match=f"Somebody else uploaded the?[si]s?e? {what}"):
        widgets.start([fixtures.typical().request, asked], hosts.here())
    assert not fake.started
    own = add_upload(fake)
    widgets.start([request_of(own.name)], hosts.here())
    assert [request.model.name for request in fake.started] == [own.name]


def test_a_program_is_exported_where_no_source_is_needed(
    open_page: Open, fake: FakeComparisons, tmp_path: Path
) -> None:
    fake.exports = FakeExports(tmp_path)  # type: ignore[attr-defined]
    export = "pages/Export.py"
    program = add_upload(fake, PROGRAM).name
    page = open_page(export, model=program, workflow="static", backend="x86")
    assert "Make the file" in buttons(page)
    page = open_page(export, model=program, workflow="static", backend="x86", format="onnx")
    assert "without the source that ONNX is written from" in said(page)
    assert "Make the file" not in buttons(page)
    theirs = open_page(export, model=add_upload(fake, owner="somebody else").name)
    assert "Somebody else uploaded this model, or it is gone" in said(theirs)


def test_a_graph_is_described_and_exported_as_onnx_alone(
    open_page: Open, fake: FakeComparisons, tmp_path: Path
) -> None:
    fake.exports = FakeExports(tmp_path)  # type: ignore[attr-defined]
    graph = add_upload(fake, GRAPH, "pets.onnx")
    described = open_page(part="bring", upload=graph.token)
    assert "An ONNX model, which only ever runs locked in" in said(described)
    assert "an ONNX model with 3 classes" in said(open_page(part="mine"))
    export, chosen = "pages/Export.py", {"model": graph.name, "workflow": "static"}
    page = open_page(export, **chosen, backend="onnxruntime", format="onnx")
    assert "Make the file" in buttons(page)
    page = open_page(export, **chosen, backend="onnxruntime", format="mobile")
    assert "Choose ONNX, or upload the weights alone" in said(page)
    page = open_page(export, **chosen, backend="x86", format="onnx")
    assert "came as ONNX, which torch cannot read" in said(page)
    assert "Make the file" not in buttons(page)


def test_an_export_is_made_on_the_pictures_that_judged_the_variant(
    open_page: Open, fake: FakeComparisons, tmp_path: Path
) -> None:
    fake.exports = FakeExports(tmp_path)  # type: ignore[attr-defined]
    export = "pages/Export.py"
    pictures = add_upload(fake, PICTURES).name
    row = fixtures.typical().results[1]
    address = form.link(row, ImageSpec(pictures))
    assert address["images"] == pictures
    page = open_page(export, **address)
    assert page.selectbox(key="images").value == pictures
    assert "Evaluated with your images" in said(page)
    # What was uploaded here is no zip: the page says so, and stands.
    assert "cannot be read" in page.error[0].value
    theirs = add_upload(fake, PICTURES, owner="somebody else").name
    assert form.link(row, ImageSpec(theirs)) == {}
    page = open_page(export, **{**address, "images": theirs})
    assert page.selectbox(key="images").value is None
    assert "names something unknown" in said(page)


@pytest.mark.parametrize("page", ["Gallery", "Try"])
def test_nobody_else_sees_the_pictures_through_a_comparison(
    open_page: Open,
    fake: FakeComparisons,
    browse_as: Browse,
    page: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = add_upload(fake, PICTURES).name
    typical = fixtures.typical()
    asked = replace(typical.request, images=ImageSpec(pictures))
    fake.views["shared"] = view(replace(typical, request=asked))
    fake.store, fake.playground = None, FakePlayground(here=True)  # type: ignore[attr-defined]
    monkeypatch.setattr(predictions, "logits_of", lambda *_: np.eye(10)[[0] * 2_000])
    browse_as("somebody else")
    shown = open_page(f"pages/{page}.py", job="shared")
    assert "Only who uploaded them sees them" in said(shown)


def test_a_program_is_not_offered_to_be_tried(open_page: Open, fake: FakeComparisons) -> None:
    fake.views["done"] = view(of_upload(add_upload(fake, PROGRAM).name))
    fake.store, fake.playground = None, FakePlayground(here=True)  # type: ignore[attr-defined]
    links = [each.proto.label for each in open_page(APP, job="done").get("page_link")]
    assert not [label for label in links if label.startswith("Try one")]
    page = open_page("pages/Try.py", job="done")
    assert "came as a program" in said(page)


def test_a_refused_pickle_comes_with_a_program_to_copy(
    open_page: Open, fake: FakeComparisons
) -> None:
    mine = add_upload(fake, None)
    problem = RequestError("It is a program.", "Save its numbers:\nimport torch\ntorch.save(m)")
    look(fake, mine, "failed", problem=problem)
    fake.uploads.delete(mine.token)
    page = open_page(part="bring", upload=mine.token)
    assert page.code[0].value == "import torch\ntorch.save(m)"
    assert "import torch" not in page.error[0].value


def test_uploads_of_one_name_are_distinguished(open_page: Open, fake: FakeComparisons) -> None:
    zoo = add_upload(fake, PICTURES, "zoo.zip")
    add_upload(fake, PETS), add_upload(fake, PETS), add_upload(fake, PICTURES, "zoo.zip")
    page = open_page(APP)
    for key in ("model", "images"):
        options = page.selectbox(key=key).options
        assert len(set(options)) == len(options)
    page = open_page(part="bring", upload=zoo.token)
    options = page.selectbox(key=f"pictures-model-{zoo.token}").options
    assert len(set(options)) == len(options)


def test_pictures_that_judge_are_named_outside_the_fold(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = open_page(APP, images=add_upload(fake, PICTURES, "zoo.zip").name)
    assert "Evaluated with your images: zoo" in said(page)
    assert "Shipped example" not in said(page)
    assert "has not been measured yet" in said(page)


@pytest.mark.parametrize(("uploaded_as", "named"), [("my pets.pt", "my-pets"), ("犬.pt", "model")])
def test_an_exported_file_is_named_after_the_file_it_came_from(
    fake: FakeComparisons, uploaded_as: str, named: str
) -> None:
    mine = add_upload(fake, PETS, uploaded_as)
    spec = exports.planned(ModelSpec(mine.name), Variant("float32", None), "torchscript")
    assert exports.file_name(spec) == f"{named}-float32.pt"


def test_an_upload_is_called_after_its_file(fake: FakeComparisons) -> None:
    mine = add_upload(fake, PETS, "my.pets.pt")
    assert titles.model(ModelSpec(mine.name)) == "my.pets"
    fake.uploads.delete(mine.token)
    assert titles.model(ModelSpec(mine.name)) == "a deleted upload"


def test_classes_that_fit_a_label_by_number_or_not_at_all_are_distinguished() -> None:
    info = replace(find(ModelSpec("bundled/resnet18")), classes=3, labels=("a b", "c", "C"))
    assert unmatched(["A-B", "c", "x"], info) == ["x"]
    assert unmatched(["0", "2", "3"], info) == ["3"]
    # Two labels differ only in case, so a third way to write it could mean either.
    assert unmatched(["A-B", "-c"], info) == ["-c", "A-B"]
