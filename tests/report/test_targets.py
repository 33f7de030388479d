"""Where it will run, and what a conversion chose, as every form of a comparison says it."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from quantcore import report
from quantcore.backends import WHERE
from quantcore.decide import Budgets
from quantcore.draw import tuning
from quantcore.schema import TARGETS, Comparison, Target, Tuning
from tests.report.test_verdicts import in_markdown, in_report, in_summary, in_text
from tests.support import fixtures

FORMS = {"report": in_report, "summary": in_summary, "text": in_text, "markdown": in_markdown}
Form = Callable[[Comparison], str]
CHOSEN = Tuning(
    "percentile",
    {"minmax": 14.2, "percentile": 17.0},
    kept_float=("features.1", "features.2"),
    layers=53,
    loss_points=0.3,
)
SAID = (
    "Ranges: percentile, 17.0 dB on pictures it had not seen (min-max 14.2). 2 of 53 layers stay "
    "float: 0.3 points lost on images held back."
)


def aimed(source: Comparison, target: Target | None) -> Comparison:
    return replace(source, request=replace(source.request, target=target))


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_names_the_target_in_its_verdict_and_for_its_figures(
    form: str, target: Target
) -> None:
    said = words(FORMS[form](aimed(fixtures.two_runtimes(), target)))
    assert WHERE[target] in said
    assert f"For {TARGETS[target]}" in said
    timed = "Times are of this machine" not in said
    assert timed == (target == "server")


@pytest.mark.parametrize("form", FORMS)
def test_where_nothing_is_decided_no_form_names_a_target(form: str) -> None:
    said = words(FORMS[form](fixtures.two_runtimes()))
    assert not any(where in said for where in WHERE.values())
    assert "For Server" not in said


@pytest.mark.parametrize("target", [None, *TARGETS])
def test_csv_and_json_hold_the_target(target: Target | None) -> None:
    source = aimed(fixtures.two_runtimes(), target)
    rows = list(csv.DictReader(io.StringIO(report.to_csv(source))))
    assert {row["target"] for row in rows} == {target or ""}
    assert json.loads(report.to_json(source))["request"]["target"] == target
    assert Comparison.from_json(report.to_json(source)).request.target == target


def test_the_report_for_a_phone_shows_sizes_first_and_tests_no_latency() -> None:
    source = aimed(fixtures.two_runtimes(), "phone")
    said = in_report(source, Budgets(latency_ms=0.001))
    assert "Not tested" in said
    assert "The latency budget is not tested" in said
    assert "File size, MB" in report.to_svg(source)
    assert "Latency" in report.to_svg(aimed(source, "server"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_alike_what_the_conversion_chose(form: str) -> None:
    row = replace(fixtures.result("static", "onednn", ratio=4.0, top1=0.9335), tuning=CHOSEN)
    said = words(FORMS[form](fixtures.comparison([fixtures.float32(), row])))
    assert tuning.tuned(row) == f"{SAID} On PCs it needs 8-bit dot products (VNNI)."
    assert SAID in said


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (Tuning("minmax", reduce_range=True), "Ranges: min-max. One of 8 bits left free."),
        (
            Tuning("entropy", {"entropy": 9.04}, reduce_range=True, bias_correction=True),
            "Ranges: entropy, 9.0 dB on pictures it had not seen. Biases corrected and one of 8 "
            "bits left free.",
        ),
        (
            Tuning("minmax", reduce_range=True, kept_float=("a",), layers=20, loss_points=0.0),
            "Ranges: min-max. 1 of 20 layers stays float: nothing lost on images held back. One "
            "of 8 bits left free.",
        ),
        (
            Tuning("minmax", reduce_range=True, layers=20, loss_points=-0.25),
            "Ranges: min-max. No layer has to stay float: 0.25 points gained on images held "
            "back. One of 8 bits left free.",
        ),
    ],
)
def test_what_was_chosen_in_words(chosen: Tuning, said: str) -> None:
    assert tuning.tuned(replace(fixtures.result(), tuning=chosen)) == said


def test_without_a_choice_nothing_is_said_of_it() -> None:
    assert tuning.tuned(fixtures.result()) == ""


@pytest.mark.parametrize(
    ("tried", "is_said"),
    [
        (Tuning("minmax", bias_correction=True), False),
        (Tuning("minmax", {"minmax": 20.0, "histogram": 19.0}), True),
        (Tuning("minmax", kept_float=("a",), layers=20), True),
        (Tuning("minmax", layers=20, loss_points=0.0), True),
    ],
)
def test_a_verdict_says_what_was_found_by_trial(tried: Tuning, is_said: bool) -> None:
    assert bool(tuning.chosen(tried)) == is_said
    assert tuning.remarks(fixtures.result()) == ()


@pytest.mark.parametrize("form", FORMS)
def test_16_bits_are_no_share_of_8(form: str) -> None:
    half = fixtures.result("half", "onnxruntime", size_bytes=4_600_000, int8_share=0.0)
    said = words(FORMS[form](fixtures.comparison([fixtures.float32(), half])))
    assert "16 bits" in said
    assert "Only 0 %" not in said
