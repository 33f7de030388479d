"""The first page in each of its states, driven without a browser."""

import re
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from quantcore import decide
from quantcore.engine import plan
from quantcore.errors import StoreError, WeightsUnavailableError
from quantcore.jobs import Forecast
from quantcore.schema import Variant
from tests.pages.conftest import Browse
from tests.pages.fakes import ME, FakeComparisons, running, view, waiting
from tests.pages.helpers import Open, html, press
from tests.support import fixtures
from ui.common import progress, state

# Of the comparison that the views of these tests are made from.
CELLS = len(fixtures.typical().results) + len(fixtures.typical().failures)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComparisons:
    fake = FakeComparisons(
        busy=running(7),
        starting=running(0),
        new=running(0),
        broken=view(fixtures.typical()),
        failed=view(fixtures.all_failed(), "failed", message="The data folder is full."),
        stopped=view(
            replace(fixtures.typical(), results=fixtures.typical().results[:3]), "cancelled"
        ),
        random=view(fixtures.random_weights()),
        unlabelled=view(fixtures.unlabelled()),
        waits=waiting(ahead=5, starts_in_s=180.0),
    )
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", fixtures.typical)
    return fake


def rows(page: AppTest) -> list[str]:
    """Return the variants in the table, as `Static x86`."""
    found = re.findall(r'<th scope="row">(.*?)</th>', html(page), re.DOTALL)
    named = [re.sub(r'<span class="qw-tag">.*?</span>|<[^>]+>', " ", row) for row in found]
    return [" ".join(name.split()) for name in named]


def link_labels(page: AppTest) -> list[str]:
    """Return where the page leads, but for where its verdict does."""
    more = ("Export", "See where", "Try one")
    labels = [link.proto.label for link in page.get("page_link")]
    return [label for label in labels if not label.startswith(more)]


def test_first_visit_is_filled_and_says_where_it_was_measured(open_page: Open) -> None:
    page = open_page()
    assert "Shipped example" in html(page)
    assert "on 24 Nov 2026, not on this machine" in html(page)
    assert len(rows(page)) == 14
    assert "Ship QAT on oneDNN" in html(page)
    assert "There is no ready-quantized checkpoint of mobilenet_v2 for onednn." in html(page)
    assert page.query_params == {}


def test_a_promise_that_was_not_kept_has_limits_causes_and_remedies(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fixtures.disappointing()
    monkeypatch.setattr(state, "shipped", lambda: source)
    # As HTML has it.
    text = html(open_page()).replace("&#39;", "'")
    for one in decide.promise(source, source.results[1]):
        assert one.threshold.sentence in text
        assert one.causes
        assert all(f"{each.sentence} <em>{each.remedy}</em>" in text for each in one.causes)


def test_the_table_holds_figures_with_units_and_spread(open_page: Open) -> None:
    text = html(open_page())
    static = text[text.index("Static</b><small>x86") :].split("</tr>")[0]
    for figure in ("2.69 MB", "3.4× smaller", "2.6×", "93.0 %", "−0.4 points", "98.4 % same"):
        assert figure in static


def test_a_model_without_results_says_what_will_be_here(open_page: Open) -> None:
    page = open_page(model="torchvision/resnet18")
    assert "ResNet-18 has not been measured yet" in html(page)
    assert rows(page) == []


def test_an_example_without_what_is_chosen_is_no_answer(open_page: Open) -> None:
    page = open_page(backends="onnxruntime")
    assert "MobileNet v2 has not been measured yet" in html(page)
    assert "Keep float32" not in html(page)


def test_workflows_and_backends_narrow_what_is_shown(open_page: Open) -> None:
    page = open_page(workflows="static", backends="x86,qnnpack")
    assert rows(page) == ["Float32 reference", "Static x86", "Static QNNPACK"]


def test_measure_asks_for_the_full_grid(open_page: Open, fake: FakeComparisons) -> None:
    page = press(open_page(), "Measure here")
    (request,) = fake.started
    assert request.variants == plan(request.model).variants
    assert request.model.name == "bundled/mobilenet_v2"
    assert page.query_params["job"] == "new"


def test_what_is_chosen_stays_with_its_reason_where_a_backend_has_none(
    open_page: Open, fake: FakeComparisons
) -> None:
    press(open_page(workflows="half", backends="x86"), "Measure here")
    (request,) = fake.started
    assert Variant("half", "x86") in request.variants
    assert Variant("half", "x86") not in plan(request.model, backends=["x86"]).variants


def test_settings_reach_the_request(open_page: Open, fake: FakeComparisons) -> None:
    page = open_page(workflows="static,dynamic", backends="x86")
    page.number_input(key="static.calibration_images").set_value(64)
    page.selectbox(key="static.per_channel").set_value(False)
    page.number_input(key="evaluation_images").set_value(500)
    press(page.run(), "Measure here")
    (request,) = fake.started
    settings = {variant.workflow: dict(variant.settings) for variant in request.variants}
    assert settings["static"] == {"calibration_images": 64, "per_channel": False}
    assert settings["dynamic"] == {}
    assert request.images.evaluation_images == 500
    assert request.images.image_size is None


def test_nothing_chosen_cannot_be_measured(open_page: Open) -> None:
    page = open_page(backends="x86")
    page.pills(key="backends").set_value([]).run()
    assert next(button for button in page.button if button.label == "Measure here").disabled


def test_random_weights_are_asked_for_by_name(open_page: Open, fake: FakeComparisons) -> None:
    press(open_page(model="torchvision/resnet18", weights="random"), "Measure here")
    assert fake.started[0].model.name == "torchvision/resnet18@random"


def test_busy_shows_each_variant_and_what_is_measured_so_far(open_page: Open) -> None:
    page = open_page(job="busy")
    assert html(page).count('<li class="qw-cell') == CELLS
    assert "calibrating, 50 %, about 14 s left" in html(page)
    assert len(rows(page)) == 7


def test_until_the_first_result_the_earlier_ones_stay(open_page: Open) -> None:
    page = open_page(job="starting")
    assert html(page).count('<li class="qw-cell') == CELLS
    assert "Shipped example" in html(page)
    assert len(rows(page)) == 14


def test_cancel_stops_the_job_shown(open_page: Open, fake: FakeComparisons) -> None:
    press(open_page(job="busy"), "Cancel")
    assert fake.cancelled == ["job"]


def test_partly_failed_keeps_reason_remedy_and_details(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = open_page(job="broken")
    assert "1 variant failed." in page.warning[0].value
    assert "it was killed (signal 9)." in html(page)
    assert "lower the batch" in html(page)
    assert "ChildDiedError: exit code -9</pre>" in html(page)
    press(page, "Try again")
    assert fake.retried == ["job"]


def test_failed_says_why_once_and_loses_nothing(open_page: Open) -> None:
    page = open_page(job="failed")
    assert "The data folder is full." in page.error[0].value.replace("\\", "")
    assert html(page).count("Free some space") == 1
    assert len(rows(page)) == 14


def test_stopped_keeps_what_was_measured(open_page: Open, fake: FakeComparisons) -> None:
    page = open_page(job="stopped")
    assert "3 variants measured before that stay below." in page.info[0].value
    assert len(rows(page)) == 3
    press(page, "Go on measuring")
    assert fake.retried == ["job"]


def test_a_refused_request_says_what_to_do(open_page: Open, fake: FakeComparisons) -> None:
    fake.refusal = WeightsUnavailableError("The weights cannot be fetched.", "Take @random.")
    page = press(open_page(), "Measure here")
    assert (
        page.error[0].value.replace("\\", "") == "**The weights cannot be fetched.** Take @random."
    )
    assert page.run().error == []


@pytest.mark.parametrize(
    ("job", "instead"),
    [("random", "“file size” instead"), ("unlabelled", "“same answer as float32” instead")],
)
def test_without_accuracy_the_plot_says_what_it_shows(
    open_page: Open, job: str, instead: str
) -> None:
    page = open_page(job=job)
    assert any(instead in caption.value for caption in page.caption)
    assert "accuracy is unknown" in html(page)


def test_a_link_to_a_job_chooses_its_model(open_page: Open) -> None:
    page = open_page(job="random")
    assert page.selectbox(key="model").value == "torchvision/mobilenet_v2"
    assert page.query_params["weights"] == "random"


def test_another_model_leaves_the_job_and_coming_back_recalls_it(open_page: Open) -> None:
    page = press(open_page(), "Measure here")
    page.selectbox(key="model").set_value("bundled/resnet18").run()
    assert "job" not in page.query_params
    page.selectbox(key="model").set_value("bundled/mobilenet_v2").run()
    assert page.query_params["job"] == "new"


def test_axes_come_from_the_address_and_go_back_to_it(open_page: Open) -> None:
    page = open_page(x="size", y="memory")
    up, across = (box for box in page.selectbox if box.label in {"Up", "Across"})
    assert (up.value, across.value) == ("memory", "size")
    across.set_value("accuracy").run()
    assert page.query_params == {"x": "accuracy", "y": "memory"}


def test_a_link_that_cannot_be_read_whole_names_the_rest(open_page: Open) -> None:
    page = open_page(workflows="static,magic", colour="red", job="gone")
    said = " ".join(info.value for info in page.info)
    assert "colour, magic" in said
    assert "no longer on this server" in said
    assert set(rows(page)) == {
        "Float32 reference",
        *(f"Static {backend}" for backend in ("x86", "FBGEMM", "oneDNN", "QNNPACK")),
    }


def test_settings_that_cannot_be_read_are_named(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTCORE_THREADS", "many")
    state.settings.cache_clear()
    page = open_page()
    state.settings.cache_clear()
    assert page.error[0].value.replace("\\", "").startswith("**QUANTCORE_THREADS is 'many'")
    assert page.selectbox == []


def test_a_data_folder_that_fails_says_so_when_it_is_needed(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StoreError("The data folder cannot be written.", "Set QUANTCORE_DATA.")

    monkeypatch.setattr(state, "service", fail)
    page = press(open_page(job="busy"), "Measure here")
    assert (
        page.error[0].value.replace("\\", "")
        == "**The data folder cannot be written.** Set QUANTCORE_DATA."
    )
    assert len(rows(page)) == 14


def test_texts_from_elsewhere_are_not_markup(open_page: Open, fake: FakeComparisons) -> None:
    broken = fixtures.failure(reason="<img src=x onerror=alert(1)>", refused=False)
    fake.views["evil"] = view(fixtures.comparison([fixtures.float32()], [broken]))
    text = html(open_page(job="evil"))
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


def test_waiting_says_how_long_the_line_is(open_page: Open) -> None:
    page = open_page(job="waits")
    bar = page.get("progress")[0].proto
    assert bar.text == ("**MobileNet v2 waits.** 5 variants ahead, starts in about 3 min")
    assert html(page).count("<small>waiting</small>") == 16
    assert "<small>another comparison is measuring it</small>" in html(page)
    assert len(rows(page)) == 14


def test_next_in_line_needs_no_estimate(open_page: Open, fake: FakeComparisons) -> None:
    fake.views["waits"] = waiting(ahead=0, starts_in_s=None)
    assert open_page(job="waits").get("progress")[0].proto.text.endswith("It is next in line")


@pytest.mark.parametrize("job", ["busy", "waits", "broken", "failed", "stopped"])
def test_somebody_elses_comparison_can_be_looked_at_but_not_changed(
    open_page: Open, browse_as: Browse, job: str
) -> None:
    own = {button.label for button in open_page(job=job).button}
    browse_as("somebody else")
    page = open_page(job=job)
    assert own - {button.label for button in page.button} in (
        {"Cancel"},
        {"Try again"},
        {"Go on measuring"},
    )
    (said,) = [caption.value for caption in page.caption if "Asked for by" in caption.value]
    assert said.startswith("Asked for by another visitor, ")
    assert said.endswith(progress.READ_ONLY)


def test_settings_may_open_a_comparison_to_who_has_its_link(
    open_page: Open,
    fake: FakeComparisons,
    browse_as: Browse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUANTCORE_SHARED_JOBS", "open")
    browse_as("somebody else")
    page = open_page(job="busy")
    assert not any(progress.READ_ONLY in caption.value for caption in page.caption)
    press(page, "Cancel")
    assert fake.cancelled == ["job"]


def test_a_comparison_is_the_visitors_own(open_page: Open, fake: FakeComparisons) -> None:
    press(open_page(), "Measure here")
    assert fake.asked["owner"] == ME
    assert fake.asked["asked_by"] == ""


def test_a_browser_without_cookies_keeps_its_comparisons_until_it_is_reloaded(
    open_page: Open, fake: FakeComparisons, browse_as: Browse
) -> None:
    browse_as("")
    page = press(open_page(), "Measure here")
    owner = fake.asked["owner"]
    press(page, "Measure here")
    assert fake.asked["owner"] == owner != ME
    press(open_page(), "Measure here")
    assert fake.asked["owner"] != owner


def test_the_link_to_the_list_counts_what_waits_or_runs(
    open_page: Open, fake: FakeComparisons
) -> None:
    assert link_labels(open_page()) == ["Models", "Sweep", "Jobs"]
    fake.places = {"a": Forecast(), "b": Forecast(3)}
    assert link_labels(open_page()) == ["Models", "Sweep", "Jobs · 2"]


def test_nothing_is_advised_before_there_is_a_choice(
    open_page: Open, fake: FakeComparisons
) -> None:
    fake.views["first"] = running(1)
    page = open_page(job="first")
    assert rows(page) == ["Float32 reference"]
    assert "Keep float32" not in html(page)
    assert "ship this" not in html(page)
