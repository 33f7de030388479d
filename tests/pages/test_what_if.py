"""Suggested settings: one press measures them beside the others."""

from dataclasses import replace
from functools import partial

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.engine import plan, suggested_variants
from quantcore.schema import Comparison, ModelSpec, Variant
from tests.pages.fakes import FakeComparisons, running, view
from tests.pages.helpers import Open
from tests.support import fixtures
from ui.common import state


def shipped() -> Comparison:
    """Return an answer in which static on x86 is what there is in 8 bits."""
    rows = [fixtures.float32(), fixtures.result("static", "x86")]
    made = fixtures.comparison(rows)
    row = replace(rows[1], settings={"calibration_images": 256, "observer": "histogram"})
    request = plan(ModelSpec(fixtures.MODEL), ["static"], ["x86"])
    return replace(made, request=request, results=(rows[0], row))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComparisons:
    fake = FakeComparisons(mine=view(shipped()), new=running(0))
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", shipped)
    return fake


@pytest.fixture
def open_page(open_page: Open) -> Open:
    return partial(open_page, session={"what-if": True})


def measure(page: AppTest) -> AppTest:
    assert not page.exception
    return page.button(key="what-if-measure").click().run()


def test_one_press_measures_the_neighbours_beside_what_is_known(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = open_page(job="mine")
    known = (Variant("float32", None), Variant("static", "x86"))
    row = shipped().results[-1]
    offered = [each.variant for each in suggested_variants(row, shipped().request)]
    assert page.button(key="what-if-measure").label == f"Measure {len(offered)} more variants"
    page = measure(page)
    (asked,) = fake.started
    assert asked.variants == (*known, *offered)
    observers = {dict(each.settings).get("observer") for each in asked.variants}
    assert observers == {None, "minmax", "auto"}
    assert page.query_params["job"] == "new"


def test_of_the_shipped_example_only_what_is_asked_about_is_measured_again(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = open_page()
    page.button_group(key="what-if-chosen").set_value([0]).run()
    measure(page)
    (asked,) = fake.started
    assert [dict(each.settings) for each in asked.variants] == [
        {},
        {},
        {"calibration_images": 1_024},
    ]


def test_a_folder_of_pictures_that_is_gone_is_said_and_nothing_else_lost(
    open_page: Open, fake: FakeComparisons
) -> None:
    whole = shipped()
    images = replace(whole.request.images, source="/nowhere/at/all")
    request = replace(whole.request, images=images)
    fake.views["mine"] = view(replace(whole, request=request))
    page = open_page(job="mine")
    assert not page.exception
    assert "There is no folder or zip file" in page.error[0].value
    assert any("Every variant" in each.value for each in page.subheader)
