"""The summary for a ticket: short, whole, and not broken by what it quotes."""

from dataclasses import replace

import pytest

from quantcore import report
from quantcore.decide import Budgets
from tests.support import fixtures


def table(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("name", fixtures.NAMED)
def test_every_state_has_a_verdict(name):
    text = report.to_summary(fixtures.NAMED[name]())
    assert text.startswith("## ")
    assert text.count("**") % 2 == 0
    assert len({line.count("|") - line.count("\\|") for line in table(text)}) <= 1


def test_it_says_what_there_is_to_decide():
    text = report.to_summary(
        fixtures.typical(), Budgets(size_bytes=5e6, latency_ms=4), "https://example.org/?job=7"
    )
    assert "**Ship QAT on oneDNN**: 3.4× smaller (2.7 MB)" in text
    assert "**Budgets**: size at most 5 MB and latency at most 4 ms; 5 of 14 variants keep" in text
    assert "| **QAT on oneDNN** | 2.69 MB |" in text
    assert "8 more variants are beaten or over budget." in text
    assert "- 4× smaller: **half kept** (3.4× smaller)." in text
    assert "Without figures: 1 not measured and 2 not possible here." in text
    assert "Measured 24 Nov 2026 on AMD EPYC 9B45" in text
    assert text.endswith("[Open the comparison](<https://example.org/?job=7>)\n")


def test_where_nothing_was_measured_it_says_why():
    text = report.to_summary(fixtures.all_failed())
    assert "**Nothing was measured**" in text
    assert text.count("The data folder is full.") == 17
    assert not table(text)


def test_it_is_not_broken_by_what_it_quotes():
    hostile = "a | b\n<script> [x](y) `z` **"
    row = fixtures.result(observer=hostile)
    source = fixtures.comparison([fixtures.float32(), row, fixtures.result(observer="minmax")])
    machine = replace(source.environment, cpu=hostile)
    text = report.to_summary(
        replace(source, environment=machine), None, f"https://example.org/>{hostile}", name=hostile
    )
    assert text.startswith(r"## a \| b \<script\> \[x\](y) \`z\` \*\*")
    assert "<script>" not in text.replace(r"\<script\>", "")
    assert len({line.replace(r"\|", "").count("|") for line in table(text)}) == 1
    assert text.splitlines()[-1].count(">") == 1


@pytest.mark.parametrize("link", ["javascript:alert(1)", "/?job=7", ""])
def test_only_a_web_address_is_linked(link):
    assert "](" not in report.to_summary(fixtures.one_variant(), None, link)


def test_only_visible_rows_are_recommended():
    source = fixtures.typical()
    visible = {row.key for row in source.results if row.backend in (None, "x86")}
    text = report.to_summary(source, Budgets(), visible=visible)
    assert "oneDNN" not in text
    assert "**Budgets**: none." in text
