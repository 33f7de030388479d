"""Where it will run, on every page that asks, driven without a browser."""

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.backends import BACKENDS, WHERE, default_backends
from quantcore.engine import plan
from quantcore.formats import FORMATS
from quantcore.schema import TARGETS, Comparison, Target, Tuning, current_environment
from tests.pages.fakes import FakeComparisons, running, view
from tests.pages.helpers import Open, captions, html, press
from tests.support import fixtures
from ui.common import fields, state

MISFITS = [("phone", "x86"), ("browser", "qnnpack"), ("server", "qnnpack")]


def aimed(comparison: Comparison, target: Target) -> Comparison:
    return replace(comparison, request=replace(comparison.request, target=target))


def tuned() -> Comparison:
    """Return the typical comparison with what a conversion chose, and a row of 16 bits."""
    tuning = Tuning(
        "percentile", {"percentile": 17.0, "minmax": 14.2}, kept_float=("a", "b"), layers=53
    )
    static = replace(fixtures.result("static", "onednn", ratio=4.0, top1=0.9335), tuning=tuning)
    half = fixtures.result("half", "onnxruntime", size_bytes=4_600_000, int8_share=0.0)
    return fixtures.comparison([fixtures.float32(), static, half])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComparisons:
    fake = FakeComparisons(
        new=running(0), phone=view(aimed(fixtures.typical(), "phone")), tuned=view(tuned())
    )
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", fixtures.two_runtimes)
    return fake


def choose(page: AppTest, target: str) -> AppTest:
    return page.segmented_control(key="target").set_value(target).run()


def test_nothing_is_decided_at_first_and_the_address_is_empty(open_page: Open) -> None:
    page = open_page()
    assert page.segmented_control(key="target").value == "undecided"
    assert page.query_params == {}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_narrows_the_backends_and_reaches_request_and_address(
    open_page: Open, fake: FakeComparisons, target: Target
) -> None:
    page = choose(open_page(), target)
    assert page.query_params["target"] == target
    offered = [option.content for option in page.pills(key="backends").proto.options]
    made = [each.title for each in BACKENDS.values() if target in each.targets]
    assert [each.replace("\\", "") for each in offered] == made
    assert page.pills(key="backends").value == list(default_backends(target, current_environment()))
    press(page, "Measure here")
    (request,) = fake.started
    assert request == plan(request.model, target=target, measure=request.measure)


@pytest.mark.parametrize("target", TARGETS)
def test_the_verdict_names_the_target_of_the_address(open_page: Open, target: Target) -> None:
    text = html(open_page(target=target))
    assert WHERE[target] in text[text.index("qw-verdict") :].split("</h2>")[0]


def test_for_a_phone_times_set_no_limit_and_the_plot_is_of_sizes(open_page: Open) -> None:
    page = open_page(target="phone")
    labels = [slider.label for slider in page.slider]
    assert labels
    assert not any("Latency" in label for label in labels)
    assert "There is no limit on latency here" in captions(page)
    assert "Times are of this machine, not of a phone" in html(page)
    assert page.session_state["x"] == "size"
    assert any("Latency" in slider.label for slider in choose(page, "server").slider)
    assert page.session_state["x"] == "latency"


@pytest.mark.parametrize(("target", "backend"), MISFITS)
def test_a_backend_for_another_target_is_offered_by_a_link_and_said(
    open_page: Open, target: str, backend: str
) -> None:
    page = open_page(target=target, backends=backend)
    assert page.pills(key="backends").value == [backend]
    assert f"{BACKENDS[backend].title} is made for" in captions(page)


def test_what_was_chosen_by_hand_stays_until_the_target_changes(open_page: Open) -> None:
    page = open_page()
    page.pills(key="backends").set_value(["x86"]).run()
    assert page.pills(key="backends").value == ["x86"]
    assert "qnnpack" in choose(page, "phone").pills(key="backends").value
    assert "x86" not in page.pills(key="backends").value


def test_a_model_without_static_changes_the_first_workflows(open_page: Open) -> None:
    page = open_page(target="server")
    assert "static" in page.pills(key="workflows").value
    page.selectbox(key="model").set_value("bundled/row_lstm").run()
    assert page.pills(key="workflows").value == ["half", "dynamic"]


def test_a_job_brings_its_target_unless_the_address_names_another(open_page: Open) -> None:
    assert open_page(job="phone").segmented_control(key="target").value == "phone"
    page = open_page(job="phone", target="server")
    assert page.segmented_control(key="target").value == "server"
    page = choose(open_page(job="phone"), "undecided")
    assert (
        page.query_params["target"] == ["undecided"] or page.query_params["target"] == "undecided"
    )


def test_an_unknown_target_is_left_out_with_a_sentence(open_page: Open) -> None:
    page = open_page(target="moon")
    assert "moon" in page.info[0].value
    assert page.segmented_control(key="target").value == "undecided"


def test_what_a_conversion_chose_stands_in_the_verdict_and_the_notes(open_page: Open) -> None:
    text = html(open_page(job="tuned"))
    said = (
        "Ranges: percentile, 17.0 dB on pictures it had not seen (min-max 14.2). 2 of 53 layers "
        "stay float."
    )
    assert text.count(said) == 2
    assert text.count(f"{said} On PCs it needs 8-bit dot products (VNNI).") == 1
    assert "needs a processor with 8-bit dot products" in text
    assert "16 bits" in text[text.index("<b>Half") :].split("</tr>")[0]


@pytest.mark.parametrize("target", TARGETS)
def test_a_sweep_is_for_the_target_of_its_address(
    open_page: Open, fake: FakeComparisons, target: Target
) -> None:
    page = open_page("pages/Sweep.py", target=target)
    page.button(key="sweep.start").click().run()
    (request,) = fake.started
    assert request.variants == plan(request.model, target=target).variants
    assert request.target == target


def test_every_setting_of_static_has_a_widget_and_reaches_the_request(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = open_page(workflows="static", backends="x86")
    page.selectbox(key="static.observer").set_value("auto")
    page.selectbox(key="static.reduce_range").set_value(True)
    page.selectbox(key="static.bias_correction").set_value(True)
    page.selectbox(key="static.keep_float").set_value("auto")
    page.number_input(key="static.max_loss_points").set_value(0.3)
    press(page.run(), "Measure here")
    (request,) = fake.started
    assert dict(request.variants[-1].settings) == {
        "observer": "auto",
        "reduce_range": True,
        "bias_correction": True,
        "keep_float": "auto",
        "max_loss_points": 0.3,
    }


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (3, 3),
        ("3", 3),
        ("1,000", 1_000),
        ("many", None),
        ("-1", None),
        ("9" * 30, None),
        ("²", None),
    ],
)
def test_layers_kept_in_float_can_be_typed(typed: object, read: int | None) -> None:
    assert fields.read_count(fields.words_of("keep_float"), typed) == read


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_for_another_place_is_said_before_it_is_offered(
    open_page: Open, name: str, target: Target
) -> None:
    page = open_page("pages/Export.py", target=target, format=name, workflow="float32")
    warned = " ".join(each.value for each in page.warning).replace("\\", "")
    assert ("files are for" in warned) == (target not in FORMATS[name].targets)


def test_kernels_for_another_place_are_said_before_the_file_is_offered(open_page: Open) -> None:
    page = open_page("pages/Export.py", target="phone", format="mobile", backend="x86")
    assert "x86 is made for servers and PCs, not for phones." in page.warning[0].value
    # ONNX takes the numbers over, and brings kernels of its own.
    assert not open_page("pages/Export.py", target="phone", format="onnx", backend="x86").warning


@pytest.mark.parametrize("target", TARGETS)
def test_an_export_for_a_target_begins_with_what_is_made_for_it(
    open_page: Open, target: Target
) -> None:
    page = choose(open_page("pages/Export.py"), target)
    assert not page.warning
    assert target in BACKENDS[page.selectbox(key="backend").value].targets
    assert target in FORMATS[page.segmented_control(key="format").value].targets
