"""The page that makes a variant a file, in each of its states, driven without a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.backends import BACKENDS
from quantcore.errors import ChildDiedError, StoreError
from quantcore.exports import ExportView, exports
from quantcore.formats import DEFAULT_FORMAT, FORMATS
from quantcore.schema import ExportSpec, ImageSpec, MeasureSpec, Variant, VerificationReport
from tests.pages.fakes import FakeComparisons
from tests.pages.helpers import Open, buttons, html, press
from tests.support import fixtures, report_fixtures
from ui.common import state
from ui.export import form

PAGE = "pages/Export.py"


@dataclass
class FakeExports:
    """Answers with the reports and views it was given, and notes what it was asked to do."""

    folder: Path
    reports: dict[ExportSpec, VerificationReport] = field(default_factory=dict)
    views: dict[ExportSpec, ExportView] = field(default_factory=dict)
    started: list[ExportSpec] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    others_wait: bool = False

    def cached(self, spec: ExportSpec) -> VerificationReport | None:
        return self.reports.get(spec)

    def latest(self, spec: ExportSpec) -> str | None:
        return spec.format if spec in self.views else None

    def view(self, export_id: str) -> ExportView:
        return next(view for spec, view in self.views.items() if spec.format == export_id)

    def start(self, spec: ExportSpec, owner: str = "") -> str:
        assert owner
        self.started.append(spec)
        self.views[spec] = ExportView(spec)
        return spec.format

    def cancel(self, export_id: str, owner: str = "") -> bool:
        assert owner
        self.cancelled.append(export_id)
        if self.others_wait:
            return False
        (spec,) = self.views
        self.views[spec] = ExportView(spec, state="cancelled")
        return True

    def picture(self, report: VerificationReport) -> bytes | None:
        return report_fixtures.picture() if report.sample else None

    @contextmanager
    def files(self, report: VerificationReport) -> Iterator[tuple[Path, Path | None]]:
        file, picture = self.folder / "file", self.folder / "picture.png"
        file.write_bytes(b"the model")
        picture.write_bytes(report_fixtures.picture())
        yield file, picture if report.sample else None


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeExports:
    fake, service = FakeExports(tmp_path), FakeComparisons()
    service.exports = fake  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "service", lambda: service)
    return fake


def spec(format: str = "mobile", workflow: str = "static", backend: str = "qnnpack") -> ExportSpec:
    """Return what the page asks for, timed as the server's settings say."""
    wanted = report_fixtures.spec(format, workflow, backend)
    measure = MeasureSpec.of(state.settings())
    return replace(wanted, request=replace(wanted.request, measure=measure))


def running() -> ExportView:
    return ExportView(spec(), state="running", stage="evaluating it", share=0.6, seconds_left=4.0)


def downloads(page: AppTest) -> list[str]:
    return [each.proto.label for each in page.get("download_button")]


def test_at_first_it_offers_the_file_for_phones_and_one_button(open_page: Open) -> None:
    page = open_page()
    assert "This file has not been made yet" in html(page)
    assert buttons(page) == ["Make the file"]
    assert not downloads(page)
    assert page.query_params == {}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_format_that_can_carry_it_follows_the_backend(
    open_page: Open, fake: FakeExports, backend: str
) -> None:
    for page in (
        open_page().selectbox(key="backend").set_value(backend).run(),
        open_page(backend=backend),
    ):
        assert not page.exception
        assert page.selectbox(key="backend").value == backend
        assert not page.info


@pytest.mark.parametrize("format", FORMATS)
def test_a_backend_whose_files_they_are_follows_the_format(
    open_page: Open, fake: FakeExports, format: str
) -> None:
    page = open_page()
    page.segmented_control(key="format").set_value(format).run()
    assert page.segmented_control(key="format").value == format
    own = [name for name, each in BACKENDS.items() if each.format.name == format]
    assert page.selectbox(key="backend").value in (form.DEFAULT_BACKEND, *own)
    assert not page.info


def test_pressing_the_button_asks_for_what_is_chosen(open_page: Open, fake: FakeExports) -> None:
    page = press(open_page(), "Make the file")
    assert fake.started == [spec()]
    assert "**Making mobilenet_v2-static-qnnpack.ptl.** waiting for its turn" in str(
        page.get("progress")[0].proto
    )
    assert buttons(page) == ["Cancel"]


def test_how_far_it_is_stands_there_with_the_time_left(open_page: Open, fake: FakeExports) -> None:
    fake.views[spec()] = running()
    page = open_page()
    assert "evaluating it, about 4 s left" in str(page.get("progress")[0].proto)


def test_cancel_leaves_a_word_and_the_way_to_go_on(open_page: Open, fake: FakeExports) -> None:
    fake.views[spec()] = running()
    page = press(open_page(), "Cancel")
    assert fake.cancelled == ["mobile"]
    assert page.info[0].value == "**Stopped.** Nothing was written."
    assert buttons(page) == ["Try again"]


def test_a_file_that_others_wait_for_goes_on(open_page: Open, fake: FakeExports) -> None:
    fake.views[spec()] = running()
    fake.others_wait = True
    page = press(open_page(), "Cancel")
    assert "Another visitor waits for this file as well" in page.toast[0].value
    assert buttons(page) == ["Cancel"]


def test_a_file_that_was_made_before_is_there_at_once(open_page: Open, fake: FakeExports) -> None:
    fake.reports[spec()] = report_fixtures.card(spec())
    page = open_page()
    shown = html(page)
    assert "Every check held" in shown
    assert "ab" * 32 in shown
    assert "No phone ran this file." in shown
    assert downloads(page) == [
        "Download the bundle",
        "Only mobilenet_v2-static-qnnpack.ptl",
        "Report as JSON",
    ]
    assert [tab.label for tab in page.tabs] == ["Kotlin, Android", "Swift, iOS", "Python"]
    assert "LiteModuleLoader" in page.code[0].value
    assert "1. Ankle boot, 90.0 %" in [each.value.split("\n")[0] for each in page.markdown]
    assert not buttons(page)


def test_a_file_that_failed_says_so_and_is_offered_only_in_a_fold(
    open_page: Open, fake: FakeExports
) -> None:
    fake.reports[spec()] = report_fixtures.broken(spec())
    page = open_page()
    assert "Do not ship this file" in html(page)
    assert "What did not hold: answers as its variant." in html(page)
    (fold,) = [each for each in page.expander if each.label == "Download anyway"]
    assert len(fold.get("download_button")) == len(downloads(page)) == 3
    assert not page.code, "no code for a file that nobody should ship"


def test_a_file_that_does_not_load_is_told(open_page: Open, fake: FakeExports) -> None:
    fake.reports[spec()] = report_fixtures.dead(spec())
    assert "It does not: no such operator." in html(open_page())


def test_what_cannot_be_is_refused_with_a_reason_and_no_button(open_page: Open) -> None:
    page = open_page(model="bundled/row_lstm", workflow="dynamic", backend="x86", format="onnx")
    assert page.info[0].value == (
        "**ONNX has no 8-bit LSTM.** Export float32 to ONNX, or this variant as TorchScript."
    )
    assert not buttons(page)


def test_a_format_of_another_backend_names_the_same_workflow_there(open_page: Open) -> None:
    page = open_page(format="executorch")
    assert "static on executorch" in page.info[0].value.replace("\\", "")


def test_a_failed_try_keeps_its_reason(open_page: Open, fake: FakeExports) -> None:
    lost = ChildDiedError("Its process was ended.", "Give it more memory.")
    fake.views[spec()] = ExportView(spec(), state="failed", problem=lost, details="Traceback")
    page = open_page()
    assert "Its process was ended" in page.error[0].value.replace("\\", "")
    assert page.code[0].value == "Traceback"
    assert buttons(page) == ["Try again"]


def test_the_address_holds_every_choice_and_a_reload_brings_it_back(open_page: Open) -> None:
    page = open_page()
    page.selectbox(key="workflow").select("float32").run()
    assert page.selectbox[2].disabled
    page.selectbox(key="workflow").select("qat").run()
    page.selectbox(key="backend").select("x86").run()
    page.number_input(key=f"mobile.bytecode@{page.session_state['visit']}").set_value(5).run()
    address = dict(page.query_params)
    assert address == {"workflow": "qat", "backend": "x86", "options": "bytecode:5"}
    again = open_page(**address)
    assert again.selectbox(key="workflow").value == "qat"
    assert again.number_input(key=f"mobile.bytecode@{again.session_state['visit']}").value == 5


def test_settings_in_a_link_reach_the_file(open_page: Open, fake: FakeExports) -> None:
    page = open_page(
        workflow="static",
        backend="x86",
        settings="calibration_images:64,observer:minmax",
        options="bytecode:7",
        image_size="96",
    )
    press(page, "Make the file")
    (wanted,) = fake.started
    assert wanted.variant == Variant(
        "static", "x86", (("calibration_images", 64), ("observer", "minmax"))
    )
    assert wanted.options == (("bytecode", 7),)
    assert wanted.request.images.image_size == 96


@pytest.mark.parametrize(
    "address",
    [
        {"settings": "calibration_images:many"},
        {"settings": "nonsense"},
        {"options": "opset:12"},
        {"image_size": "-3"},
        {"image_size": "²"},
        {"image_size": "9" * 5_000},
        {"settings": "calibration_images:5000"},
        {"workflow": "qat", "settings": "seed:-1"},
        {"workflow": "qat", "settings": "learning_rate:nan"},
        {"workflow": "dynamic", "backend": "x86", "settings": "layers:Linear"},
        {"format": "pdf"},
        {"workflow": "float16"},
    ],
)
def test_a_link_edited_by_hand_shows_what_can_be_read(
    open_page: Open, address: dict[str, str]
) -> None:
    page = open_page(**address)
    assert "This file has not been made yet" in html(page)
    assert buttons(page) == ["Make the file"]


def test_a_data_folder_that_cannot_be_used_is_said(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise StoreError("The data folder is full.", "Make room.")

    monkeypatch.setattr(state, "service", full)
    page = open_page()
    assert page.error[0].value.replace("\\", "") == "**The data folder is full.** Make room."


@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_the_link_from_a_row_asks_for_a_format_that_can_carry_it(backend: str | None) -> None:
    row = replace(fixtures.result("static" if backend else "float32", backend), settings={})
    address = form.link(row, ImageSpec())
    format = address.get("format", DEFAULT_FORMAT)
    spec = exports.spec_of(row, format, ImageSpec(), MeasureSpec())
    assert exports.supports(spec).ok


def test_the_link_from_a_row_asks_for_that_row() -> None:
    row = fixtures.result("static", "x86", calibration_images=64)
    row = replace(row, image_size=96)
    assert form.link(row, ImageSpec()) == {
        "model": "bundled/mobilenet_v2",
        "workflow": "static",
        "backend": "x86",
        "image_size": "96",
        "settings": "calibration_images:64",
    }
    assert form.link(row, ImageSpec("/pictures/of/ours")) == {}
    unknown = replace(row, model="torchvision/gone")
    assert form.link(unknown, ImageSpec()) == {}
    random = replace(row, model="torchvision/resnet18@random")
    assert form.link(random, ImageSpec())["weights"] == "random"


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_has_its_page(open_page: Open, fake: FakeExports, format: str) -> None:
    page = open_page(format=format)
    assert FORMATS[format].summary in [each.value for each in page.caption]
