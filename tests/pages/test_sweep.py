"""The sweep's page: what is chosen becomes requests, a file does as well, and both can be taken."""

import re
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.engine import plan
from quantcore.errors import StoreError
from quantcore.jobs import Sweep
from quantcore.jobs.sweep import read_sweep, write_sweep
from quantcore.schema import CellProgress, ModelSpec, Variant
from tests.pages.fakes import ME, FakeComparisons, view
from tests.pages.helpers import Open, html, run_page
from tests.support import fixtures
from ui.common import state
from ui.sweep import sweeps

PAGE = "pages/Sweep.py"


GRID = len(plan(ModelSpec("bundled/mobilenet_v2")).variants)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComparisons:
    fake = FakeComparisons(new=view(fixtures.sweep()))
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", fixtures.typical)
    return fake


def start(page: AppTest) -> AppTest:
    return page.button(key="sweep.start").click().run()


def said(page: AppTest) -> str:
    assert not page.exception
    return " ".join(element.value for element in page.markdown)


def narrowed(page: AppTest) -> AppTest:
    """Choose static and dynamic on x86 only."""
    page.pills(key="sweep.workflows").set_value(["static", "dynamic"])
    page.pills(key="sweep.backends").set_value(["x86"])
    return page.run()


def upload_file(page: AppTest, text: str) -> AppTest:
    page.segmented_control(key="sweep.how").set_value("Upload a file").run()
    page.text_area(key="sweep.text").set_value(text)
    return page.run()


def test_at_first_it_is_the_full_grid_of_one_model(open_site: Open) -> None:
    page = open_site()
    assert (
        f"**{GRID} variants** of 1 model, float32 included, of which 2 are not possible."
        in said(page)
    )
    assert "**about 2 min**" in said(page) or "**about 3 min**" in said(page)
    assert not page.button(key="sweep.start").disabled


def test_only_what_is_chosen_is_asked_of_backends_that_have_none(
    open_site: Open, fake: FakeComparisons
) -> None:
    page = start(open_site())
    assert Variant("half", "x86") not in fake.started[0].variants
    page.pills(key="sweep.workflows").set_value(["half"]).run()
    start(page)
    assert Variant("half", "x86") in fake.started[-1].variants


def test_lists_are_multiplied_and_start_as_one_job(open_site: Open, fake: FakeComparisons) -> None:
    page = narrowed(open_site())
    page.multiselect(key="models").set_value(["bundled/mobilenet_v2", "bundled/resnet18"])
    page.multiselect(key="sweep.static.calibration_images").set_value([64, 256])
    page.pills(key="sweep.static.observer").set_value([0, 2])
    page.multiselect(key="sweep.image_sizes").set_value([None, 96])
    page.multiselect(key="sweep.batches").set_value([1, 8])
    page.text_input(key="sweep.name").set_value("Observers")
    page.run()
    assert "**48 variants** of 2 models" in said(page)
    start(page)
    assert [
        (each.model.name, each.images.image_size, each.measure.batch) for each in fake.started
    ] == [
        (model, size, batch)
        for model in ("bundled/mobilenet_v2", "bundled/resnet18")
        for size in (None, 96)
        for batch in (1, 8)
    ]
    assert [(each.workflow, each.settings) for each in fake.started[0].variants] == [
        ("float32", ()),
        ("dynamic", ()),
        ("static", (("calibration_images", 64),)),
        ("static", (("calibration_images", 64), ("observer", "minmax"))),
        ("static", ()),
        ("static", (("observer", "minmax"),)),
    ]
    assert (fake.asked["owner"], fake.asked["name"]) == (ME, "Observers")


def test_a_started_sweep_is_linked_to_where_its_results_are(open_site: Open) -> None:
    page = start(narrowed(open_site()))
    assert "The sweep has started." in page.success[0].value
    links = [link.proto for link in page.get("page_link")]
    (link,) = [link for link in links if link.label == "Open it on the Compare page"]
    assert "job=new" in link.query_string


def test_numbers_can_be_typed_and_others_are_left_out_aloud(
    open_site: Open, fake: FakeComparisons
) -> None:
    page = narrowed(open_site())
    page.multiselect(key="sweep.static.calibration_images").set_value(["1,000", "many", 256]).run()
    assert any("Left out" in caption.value and "many" in caption.value for caption in page.caption)
    start(page)
    settings = [dict(each.settings) for each in fake.started[0].variants]
    assert [each.get("calibration_images") for each in settings] == [None, None, None, 1_000]


def test_random_weights_are_asked_for_by_name(open_site: Open, fake: FakeComparisons) -> None:
    page = narrowed(open_site())
    page.multiselect(key="models").set_value(["bundled/resnet18", "torchvision/resnet18"])
    page.run()
    page.segmented_control(key="sweep.weights").set_value("random").run()
    start(page)
    assert [each.model.name for each in fake.started] == [
        "bundled/resnet18",
        "torchvision/resnet18@random",
    ]


def test_without_a_model_nothing_can_be_started(open_site: Open) -> None:
    page = open_site()
    page.multiselect(key="models").set_value([]).run()
    assert page.button(key="sweep.start").disabled
    assert any("at least one model" in caption.value for caption in page.caption)


def test_too_many_are_refused_in_a_sentence(open_site: Open) -> None:
    page = open_site()
    page.multiselect(key="sweep.batches").set_value([1, 2, 4, 8, 16, 32, 64])
    page.multiselect(key="sweep.image_sizes").set_value([32, 64, 96, 128, 160, 192, 224]).run()
    assert f"{49 * GRID:,} variants" in page.warning[0].value
    assert page.button(key="sweep.start").disabled


def test_what_is_chosen_can_be_taken_away_as_the_file_that_asks_for_it(
    open_site: Open, fake: FakeComparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def keep(sweep: Sweep) -> str:
        written.append(write_sweep(sweep))
        return written[-1]

    monkeypatch.setattr(sweeps, "write_sweep", keep)
    page = narrowed(open_site())
    page.pills(key="sweep.static.per_channel").set_value([0, 2]).run()
    start(page)
    assert [button.proto.label for button in page.get("download_button")] == ["Download as TOML"]
    asked = read_sweep(written[-1], 1, None)
    assert asked.requests(state.settings().time_budget_s) == tuple(fake.started)
    assert 'per_channel = ["default", false]' in written[-1]


def test_a_pasted_file_is_counted_and_started(open_site: Open, fake: FakeComparisons) -> None:
    page = upload_file(open_site(), sweeps.EXAMPLE)
    assert "**24 variants** of 2 models" in said(page)
    start(page)
    assert len(fake.started) == 4


def test_an_uploaded_file_wins(open_site: Open, fake: FakeComparisons) -> None:
    page = upload_file(open_site(), sweeps.EXAMPLE)
    text = b'models = "bundled/row_lstm"\nworkflows = "dynamic"\nbackends = "x86"\n'
    page.file_uploader(key="sweep.file").upload("mine.toml", text, "application/toml").run()
    assert "**2 variants** of 1 model" in said(page)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("modles = 1", "Did you mean"),
        ("models = [", "is not TOML"),
        ('models = "bundled/resnet18"\nimages = "/etc"', "a page does not read"),
    ],
)
def test_a_mistake_in_a_file_is_a_sentence(open_site: Open, text: str, sentence: str) -> None:
    page = upload_file(open_site(), text)
    assert sentence in re.sub(r"\\", "", page.warning[0].value)
    assert page.button(key="sweep.start").disabled


def test_a_refusal_says_what_to_do(open_site: Open, fake: FakeComparisons) -> None:
    page = open_site()
    fake.refusal = StoreError("The data folder is full.", "Free some space.")
    start(page)
    assert page.error[0].value.replace("\\", "") == "**The data folder is full.** Free some space."
    assert page.success == []


def test_its_results_open_on_the_first_page(fake: FakeComparisons) -> None:
    page = run_page(job="new")
    text = html(page)
    assert page.selectbox(key="model").value == fixtures.MODEL
    assert "A sweep of MobileNet v2 and Row LSTM, each at 2 image sizes" in text
    assert text.count('scope="rowgroup"') == 4
    assert len(re.findall(r'<th scope="row">', text)) == len(fixtures.sweep().results)
    assert "Ship Static on x86 (Row LSTM, 64 px, observer histogram)" in text


def test_while_it_runs_each_cell_says_which_it_is(fake: FakeComparisons) -> None:
    source = fixtures.sweep()
    asked = [
        (each.model.name, variant)
        for each in (source.request, *source.also)
        for variant in each.variants
    ]
    cells = [
        CellProgress(place, variant.workflow, variant.backend, "waiting")
        for place, (_, variant) in enumerate(asked)
    ]
    fake.views["busy"] = view(replace(source, results=()), "running", cells=cells)
    text = html(run_page(job="busy"))
    names = re.findall(r'<li class="qw-cell.*?<b>(.*?)</b>', text)
    assert len(set(names)) == len(names) == len(asked)
    assert names[0] == "Float32 (MobileNet v2, 64 px)"
    assert names[-1] == "Ready-quantized on oneDNN (Row LSTM, 96 px)"


def test_variants_that_are_not_drawn_are_counted(fake: FakeComparisons) -> None:
    rows = fixtures.two_models().results
    bare = [replace(row, accuracy=None) for row in rows[3:]]
    fake.views["new"] = view(fixtures.swept([*rows[:3], *bare]))
    page = run_page(job="new")
    said = [caption.value for caption in page.caption]
    assert "2 variants without one of the two figures are not drawn." in said
