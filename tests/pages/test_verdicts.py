"""What a verdict does not know, as the first page says it: too early, too little, too busy."""

import re
from html import unescape

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.errors import RequestError
from quantcore.schema import JobState
from tests.pages.conftest import Browse
from tests.pages.fakes import FakeComparisons, view
from tests.pages.helpers import Open, buttons, captions, html, press
from tests.support import fixtures
from ui.common import state

OPEN: dict[str, JobState] = {"so_far": "running", "first_so_far": "running"}
TRIFLES = "Differences below {} in size and time and {} of accuracy do not count."


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComparisons:
    fake = FakeComparisons(
        **{name: view(make(), OPEN.get(name, "done")) for name, make in fixtures.NAMED.items()}
    )
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", fixtures.typical)
    return fake


def verdict(page: AppTest) -> str:
    """Return headline, reason and caveats, in lower case: pages write titles for names."""
    (found,) = re.findall(r'<section class="qw-verdict".*?</section>', html(page), re.DOTALL)
    text = re.sub(r"</h2>\s*<p>", ": ", re.sub(r"<svg.*?</svg>", "", found, flags=re.DOTALL))
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", text).split())).casefold()


def said(page: AppTest) -> str:
    return f"{html(page)}\n{captions(page)}"


@pytest.mark.parametrize("name", fixtures.SAID)
def test_the_verdict_says_so(open_page: Open, name: str) -> None:
    text = verdict(open_page(job=name))
    for sentence in fixtures.SAID[name]:
        assert sentence.casefold() in text
        assert text.count(sentence.casefold()) == 1


@pytest.mark.parametrize("name", fixtures.NAMED)
def test_a_verdict_names_variants_as_the_table_does(open_page: Open, name: str) -> None:
    (found,) = re.findall(
        r'<section class="qw-verdict".*?</section>', html(open_page(job=name)), re.DOTALL
    )
    assert not re.findall(r"\b(?:static|dynamic|qat|pretrained) on \w+", found)


@pytest.mark.parametrize("name", ["so_far", "first_so_far"])
def test_what_comes_first_so_far_wears_no_badge(open_page: Open, name: str) -> None:
    assert "ship this" not in html(open_page(job=name))


def test_what_is_over_wears_its_badge(open_page: Open) -> None:
    assert html(open_page(job="tie")).count("ship this") == 1


def test_of_what_is_chosen_only_what_is_missing_counts(open_page: Open) -> None:
    assert verdict(open_page(job="so_far")).startswith("so far (2 of 6): ship")
    partly = verdict(open_page(job="so_far", workflows="static,qat"))
    assert partly.startswith("so far (2 of 4): ship")
    whole = open_page(job="so_far", backends="x86")
    assert verdict(whole).startswith("ship static on x86")
    assert "ship this" in html(whole)


def test_a_verdict_may_be_impossible_on_a_busy_machine(open_page: Open) -> None:
    text = verdict(open_page(job="all_busy", max_size="5"))
    assert text.startswith("no verdict yet: of those that keep these budgets, static on fbgemm is")
    assert "the machine was busy while it was timed" in text


def test_a_busy_row_is_marked_and_can_be_measured_again(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = open_page(job="busy")
    assert html(page).count("machine was busy</span>") == 1
    assert "1 variant was timed while the machine was busy." in captions(page)
    assert fake.measured_again == []
    press(page, "Measure it again")
    assert fake.measured_again == ["job"]


def test_several_busy_rows_are_measured_again_together(
    open_page: Open, fake: FakeComparisons
) -> None:
    page = open_page(job="all_busy")
    assert html(page).count("machine was busy</span>") == 2
    assert "2 variants were timed while the machine was busy." in captions(page)
    press(page, "Measure them again")
    assert fake.measured_again == ["job"]


def test_measuring_again_may_be_refused(open_page: Open, fake: FakeComparisons) -> None:
    fake.refusal = RequestError("The queue is full.", "Try again later.")
    page = press(open_page(job="busy"), "Measure it again")
    assert page.error[0].value.replace("\\", "") == "**The queue is full.** Try again later."


@pytest.mark.parametrize("name", ["tie", "typical", "one_class"])
def test_what_was_not_disturbed_is_not_offered_again(open_page: Open, name: str) -> None:
    assert not {"Measure it again", "Measure them again"} & set(buttons(open_page(job=name)))


@pytest.mark.parametrize("under_way", ["queued", "running"])
def test_nothing_is_measured_again_while_it_is_measured(
    open_page: Open, fake: FakeComparisons, under_way: JobState
) -> None:
    fake.views["busy"] = view(fixtures.busy(), under_way)
    page = open_page(job="busy")
    assert "machine was busy</span>" in html(page)
    assert "Measure it again" not in buttons(page)


def test_only_who_may_change_a_comparison_may_have_it_measured_again(
    open_page: Open,
    fake: FakeComparisons,
    browse_as: Browse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    browse_as("somebody else")
    page = open_page(job="busy")
    assert "machine was busy</span>" in html(page)
    assert "Measure it again" not in buttons(page)
    monkeypatch.setenv("QUANTCORE_SHARED_JOBS", "open")
    state.settings.cache_clear()
    press(open_page(job="busy"), "Measure it again")
    assert fake.measured_again == ["job"]


def test_the_shipped_example_cannot_be_measured_again(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "shipped", fixtures.busy)
    page = open_page()
    assert "machine was busy</span>" in html(page)
    assert "Measure it again" not in buttons(page)


def fold(page: AppTest, title: str) -> str:
    (found,) = (each for each in page.expander if each.label == title)
    texts = (*found.caption, *found.markdown)
    return "\n".join(each.value for each in texts).replace("\\", "")


@pytest.mark.parametrize("title", ["Why not the others?", "How was this measured?"])
def test_what_is_too_little_to_count_is_said_where_a_reader_asks(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    assert TRIFLES.format("2 %", "0.1 points") in fold(open_page(job="tie"), title)
    monkeypatch.setenv("QUANTCORE_SMALLEST_PERCENT", "25")
    monkeypatch.setenv("QUANTCORE_SMALLEST_POINTS", "3")
    state.settings.cache_clear()
    assert TRIFLES.format("25 %", "3 points") in fold(open_page(job="tie"), title)


def test_settings_say_what_is_too_little_to_count(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verdict(open_page(job="little")).startswith("ship static on x86")
    monkeypatch.setenv("QUANTCORE_SMALLEST_PERCENT", "25")
    monkeypatch.setenv("QUANTCORE_SMALLEST_POINTS", "0.5")
    state.settings.cache_clear()
    text = verdict(open_page(job="little"))
    assert text.startswith("keep float32: no variant gains enough for what it costs")
    assert "as fast (5.9 ms)" in text


def test_a_stopped_comparison_still_says_how_much_it_has_seen(
    open_page: Open, fake: FakeComparisons
) -> None:
    fake.views["stopped"] = view(fixtures.so_far(), "cancelled")
    assert verdict(open_page(job="stopped")).startswith("so far (2 of 6): ship")
