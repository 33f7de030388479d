"""Budgets on the first page: what a slider changes, and what stands where nothing qualifies."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.fakes import FakeComparisons, view
from tests.pages.helpers import Open
from tests.support import fixtures
from ui.common import state


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComparisons:
    fake = FakeComparisons(**{name: view(make()) for name, make in fixtures.NAMED.items()})
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", fixtures.typical)
    return fake


def said(page: AppTest) -> str:
    assert not page.exception
    texts = [element.proto.body for element in page.html]
    texts += [each.value.replace("\\", "") for each in (*page.caption, *page.markdown)]
    return "\n".join(texts)


def verdict(page: AppTest) -> str:
    found = re.search(r"<h2>.*?</i>?([^<]*)</h2>", said(page)) or re.search(
        r"<h2>([^<]*)</h2>", said(page)
    )
    assert found
    return found[1]


def test_at_first_nothing_is_limited_and_all_qualify(open_page: Open) -> None:
    page = open_page()
    assert "**14 of 14 variants** keep these budgets." in said(page)
    labels = [each.label for each in page.slider]
    assert labels == [
        "Size, at most, MB",
        "Latency, at most, ms",
        "Accuracy lost, at most, points",
        "Peak memory, at most, MB",
    ]
    assert all(each.value == each.max for each in page.slider)
    assert page.query_params == {}


def test_a_slider_changes_verdict_count_address_and_plot(open_page: Open) -> None:
    page = open_page()
    before = verdict(page)
    next(each for each in page.slider if each.label.startswith("Size")).set_value(2.5).run()
    assert page.query_params == {"max_size": "2.5"}
    assert "**3 of 14 variants** keep these budgets." in said(page)
    assert verdict(page) != before
    assert "QNNPACK" in verdict(page)
    assert "over the size budget of 2.5 MB" in said(page)


def test_a_link_brings_the_budgets_back(open_page: Open) -> None:
    page = open_page(max_size="2.5", max_latency="20")
    values = {each.label: each.value for each in page.slider}
    assert values["Size, at most, MB"] == 2.5
    assert "**3 of 14 variants**" in said(page)


def test_where_nothing_qualifies_one_press_lets_the_nearest_in(open_page: Open) -> None:
    page = open_page(max_size="1")
    assert "Nothing keeps these budgets" in said(page)
    assert "The limit of 1 MB is below what any variant needs." in said(page)
    next(each for each in page.button if each.label == "Allow that").click().run()
    assert "Nothing keeps these budgets" not in said(page)
    assert float(page.query_params["max_size"]) > 2


def test_clearing_takes_every_limit_away(open_page: Open) -> None:
    page = open_page(max_size="1", max_loss="0.2")
    next(each for each in page.button if each.label == "Clear the budgets").click().run()
    assert page.query_params == {}
    assert "**14 of 14 variants**" in said(page)
    assert "Clear the budgets" not in [each.label for each in page.button]


def test_an_interval_across_a_limit_is_too_close_to_call(open_page: Open) -> None:
    page = open_page(max_loss="0.4")
    assert "Too close to call, since an interval crosses a limit: " in said(page)


@pytest.mark.parametrize("text", ["abc", "-3", "nan", "inf", "1e999", ""])
def test_a_limit_that_is_no_number_sets_none(open_page: Open, text: str) -> None:
    assert "**14 of 14 variants**" in said(open_page(max_size=text))


def test_a_limit_above_all_variants_is_said_to_bind_none(open_page: Open) -> None:
    page = open_page(max_size="99")
    assert "The limit of 99 MB is above what any variant needs." in said(page)
    assert "**14 of 14 variants**" in said(page)


def test_random_weights_have_no_slider_for_accuracy(open_page: Open) -> None:
    page = open_page(job="random_weights")
    assert not [each for each in page.slider if each.label.startswith("Accuracy")]
    assert page.slider


@pytest.mark.parametrize("name", sorted(fixtures.NAMED))
def test_every_kind_of_comparison_can_be_limited(open_page: Open, name: str) -> None:
    page = open_page(job=name, max_size="3", max_latency="5", max_loss="1", max_memory="30")
    assert not page.exception
