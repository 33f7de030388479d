"""What a verdict does not know, as the report, the summary and the text say it."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from plotly.offline import get_plotlyjs

from quantcore import report
from quantcore.decide import Budgets, Smallest
from quantcore.schema import Comparison
from tests.support import fixtures

COARSE = Budgets(smallest=Smallest(share=0.25, points=3.0))


def page(source: Comparison, budgets: Budgets | None = None, **more: object) -> str:
    """Return the HTML report as it is, less plotly's own five megabytes."""
    return report.to_html(source, budgets, **more).replace(get_plotlyjs(), "")  # type: ignore[arg-type]


def in_report(source: Comparison, budgets: Budgets | None = None) -> str:
    html = page(source, budgets)
    html = re.sub(r"<(script|style|svg).*?</\1>", "", html, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</h2>\s*<p>", ": ", html)))


def in_summary(source: Comparison, budgets: Budgets | None = None) -> str:
    return report.to_summary(source, budgets).replace("\\", "").replace("**", "")


def in_text(source: Comparison, budgets: Budgets | None = None) -> str:
    return report.to_text(source, budgets=budgets)


def in_markdown(source: Comparison, budgets: Budgets | None = None) -> str:
    return report.to_markdown(source).replace("\\", "").replace("**", "")


FORMS = [in_report, in_summary, in_text, in_markdown]
Form = Callable[..., str]


def words(text: str) -> str:
    """Return a text as a reader compares it: in lower case, without line breaks."""
    return " ".join(text.split()).casefold()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", fixtures.SAID)
def test_every_form_says_what_the_verdict_does_not_know(name: str, form: Form) -> None:
    text = words(form(fixtures.NAMED[name]()))
    for sentence in fixtures.SAID[name]:
        assert sentence.casefold() in text


@pytest.mark.parametrize("form", FORMS[:3])
def test_every_form_says_what_is_too_little_to_count(form: Form) -> None:
    text = words(form(fixtures.tie()))
    assert "differences below 2 % in size and time and 0.1 points of accuracy do not count" in text
    coarse = words(form(fixtures.tie(), COARSE))
    assert "differences below 25 % in size and time and 3 points of accuracy do not count" in coarse


@pytest.mark.parametrize("form", FORMS[:3])
def test_what_is_too_little_to_count_decides(form: Form) -> None:
    assert "ship static on x86" in words(form(fixtures.little()))
    assert "keep float32" in words(form(fixtures.little(), COARSE))


@pytest.mark.parametrize("form", FORMS[:3])
def test_a_verdict_may_be_impossible_on_a_busy_machine(form: Form) -> None:
    text = words(form(fixtures.all_busy(), Budgets(size_bytes=5e6)))
    assert "no verdict yet" in text
    assert "is first, but the machine was busy while it was timed" in text


def test_the_report_and_the_summary_name_variants_as_the_page_does() -> None:
    assert "A tie between Static on x86 and Static on FBGEMM: Static on x86 is" in page(
        fixtures.tie()
    )
    assert "- Static on x86 may be better, but" in report.to_summary(fixtures.busy())


def test_a_busy_row_is_marked() -> None:
    assert page(fixtures.busy()).count("machine was busy</span>") == 1
    assert "static on x86: Its speed-up is known less well" in in_text(fixtures.busy())


def test_what_comes_first_so_far_is_not_marked_as_what_ships() -> None:
    assert "ship this" in page(fixtures.tie())
    assert "ship this" not in page(fixtures.so_far())
    assert "| **Static on x86** |" in report.to_summary(fixtures.tie())
    assert "| **" not in report.to_summary(fixtures.so_far())


def test_what_is_left_out_of_a_whole_comparison_is_not_still_to_be_measured() -> None:
    source = fixtures.tie()
    visible = [row.key for row in source.results[:2]]
    for text in (page(source, visible=visible), report.to_summary(source, visible=visible)):
        assert "Ship Static on x86" in text
        assert "So far" not in text
