"""Why a promise was not kept: each cause where it holds, and not where it does not."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantcore import decide, report
from quantcore.backends import BACKENDS
from quantcore.decide.thresholds import ACCURATE, FASTER, SMALLER
from quantcore.draw import promises as promise_cards
from quantcore.schema import Extreme
from tests.support import fixtures

SIZE, SPEED, ACCURACY = range(3)
LAYER = "features.1.conv.0"
LOSES = {"top1": 0.85}


def promises(row, statistics=None, float_changes=None, **environment):
    """Return the promises as a row kept them beside a float32 with these statistics."""
    reference = replace(fixtures.float32(statistics=statistics), **(float_changes or {}))
    source = fixtures.comparison([reference, row])
    machine = replace(fixtures.ENVIRONMENT, **environment)
    return decide.promise(replace(source, environment=machine), row)


def sentences(promise):
    return " ".join(cause.sentence for cause in promise.causes)


def statistics(**extremes):
    """Return harmless statistics, with one extreme or more as given."""
    return replace(
        fixtures.STATISTICS, **{name: Extreme(LAYER, value) for name, value in extremes.items()}
    )


# (what changes, promise, settings that trigger it, the nearest that do not, sentence)
CASES = {
    "outliers under min-max": (
        ACCURACY,
        {"row": {"observer": "minmax"}, "statistics": {"outlier": 40.0}},
        {"row": {"observer": "histogram"}, "statistics": {"outlier": 40.0}},
        f"in {LAYER} the largest activation is 40× the 99.9th percentile",
    ),
    "no outliers under min-max": (
        ACCURACY,
        {"row": {"observer": "minmax"}, "statistics": {"outlier": 8.0}},
        {"row": {"observer": "minmax"}, "statistics": {"outlier": 7.9}},
        "leaves 12 % of its steps",
    ),
    "outlier channel": (
        ACCURACY,
        {"row": {}, "statistics": {"channel": 25.0}},
        {"row": {}, "statistics": {"channel": 5.0}},
        f"in {LAYER} its activations reach 25× as far as the median channel’s",
    ),
    "depthwise layers per tensor": (
        ACCURACY,
        {"row": {"per_channel": False}, "statistics": {"depthwise": 50.0}},
        {"row": {"per_channel": True}, "statistics": {"depthwise": 50.0}},
        f"Each of its 17 depthwise layers has a single weight scale (per tensor): in {LAYER} the "
        "widest channel’s weights reach 50× as far",
    ),
    "even depthwise layers per tensor": (
        ACCURACY,
        {"row": {"backend": "qnnpack"}, "statistics": {"depthwise": 3.0}},
        {"row": {"backend": "x86"}, "statistics": {"depthwise": 3.0}},
        "Its weights share one scale a layer (per tensor)",
    ),
    "reduced range": (
        ACCURACY,
        {"row": {"backend": "x86"}},
        {"row": {"backend": "onednn"}},
        "128 of 256 steps",
    ),
    "reduced range that was trained for": (
        ACCURACY,
        {"row": {"backend": "onnxruntime", "reduce_range": True}},
        {"row": {"backend": "onnxruntime", "reduce_range": True, "workflow": "qat"}},
        "128 of 256 steps",
    ),
    "reduced range that follows the processor": (
        ACCURACY,
        {
            "row": {"backend": "onnxruntime", "reduce_range": None},
            "environment": {"instruction_sets": ("AVX2",)},
        },
        {"row": {"backend": "onnxruntime", "reduce_range": None}},
        "128 of 256 steps",
    ),
    "sums that overflow": (
        ACCURACY,
        {"row": {"backend": "onednn"}, "environment": {"instruction_sets": ("AVX2",)}},
        {"row": {"backend": "onednn"}},
        "8-bit sums can overflow",
    ),
    "few calibration pictures asked for": (
        ACCURACY,
        {"row": {"calibration_images": 8}},
        {"row": {"calibration_images": 32}},
        "calibrated on 8 pictures only",
    ),
    "few calibration pictures there": (
        ACCURACY,
        {"row": {}, "images": 6},
        {"row": {}, "images": 64},
        "calibrated on 6 pictures only",
    ),
    "evaluation outside the range": (
        ACCURACY,
        {"row": {}, "statistics": {"outside": 0.031}},
        {"row": {}, "statistics": {"outside": 0.009}},
        f"3.1 % of the activations in {LAYER} lie outside the range seen",
    ),
    "evaluation of another mean": (
        ACCURACY,
        {"row": {}, "statistics": {"shift": 1.4}},
        {"row": {}, "statistics": {"shift": 0.5}},
        f"the means in {LAYER} lie 1.4 standard deviations off",
    ),
    "no VNNI": (
        SPEED,
        {"row": {}, "environment": {"instruction_sets": ("AVX2",)}},
        {"row": {}},
        "no VNNI",
    ),
    "kernels for phones": (
        SPEED,
        {"row": {"backend": "qnnpack"}},
        {"row": {"backend": "x86"}},
        "made for ARM phones",
    ),
    "layers left float, speed": (
        SPEED,
        {"row": {"int8_share": 0.41}},
        {"row": {"int8_share": 0.95}},
        "only 41 % of the compute runs in 8 bits",
    ),
    "layers left float, size": (
        SIZE,
        {"row": {"workflow": "dynamic", "int8_share": 0.02}},
        {"row": {"workflow": "static", "int8_share": 0.98}},
        "Convolutions stay float under dynamic: 2 % of the compute",
    ),
    "tiny model, speed": (
        SPEED,
        {"row": {}, "float_ms": 0.31},
        {"row": {}, "float_ms": 0.6},
        "float32 takes 0.31 ms a call",
    ),
    "tiny model, size": (
        SIZE,
        {"row": {"size_bytes": 410_000}, "float_bytes": 900_000},
        {"row": {"size_bytes": 4_100_000}},
        "of a file of 0.41 MB",
    ),
    "code in the file": (
        SIZE,
        {"row": {"size_bytes": 3_500_000}, "state_dict_bytes": 2_300_000},
        {"row": {"size_bytes": 3_500_000}, "state_dict_bytes": 3_400_000},
        "the file also carries 1.2 MB of code",
    ),
    "scales of channels": (
        SIZE,
        {"row": {"backend": "x86", "size_bytes": 2_750_000}},
        {"row": {"backend": "qnnpack", "size_bytes": 2_750_000}},
        "Its weights by themselves are 3.3× smaller",
    ),
    "busy machine": (
        SPEED,
        {"row": {"spread": 0.3}, "busy": True},
        {"row": {"spread": 0.3}, "busy": False},
        "slowed the processor down while it was timed: its speed-up lies between 0.92× and 1.6×",
    ),
}
KEPT = {SIZE: {"size_bytes": 2_000_000}, SPEED: {"ratio": 2.5}, ACCURACY: {"top1": 0.933}}
MISSED = {SIZE: {"size_bytes": 9_000_000}, SPEED: {"ratio": 1.2}, ACCURACY: LOSES}


def outcome(index, case, figures):
    """Return the promise of a case, whose figures are such that it was kept or missed."""
    row = fixtures.result(**{**figures, **case["row"]})
    changes = {
        name: case[key]
        for name, key in (("machine_busy", "busy"), ("state_dict_bytes", "state_dict_bytes"))
        if key in case
    }
    reference = fixtures.float32()
    if "float_ms" in case:
        reference = replace(
            reference, latency_ms=replace(reference.latency_ms, p50=case["float_ms"])
        )
    if "float_bytes" in case:
        artifact = replace(reference.artifact, size_bytes=case["float_bytes"])
        reference = replace(reference, artifact=artifact, state_dict_bytes=case["float_bytes"])
    found = statistics(**case.get("statistics", {}))
    found = replace(found, calibration_images=case.get("images", 64))
    kept = {"latency_ms": reference.latency_ms, "artifact": reference.artifact}
    kept["state_dict_bytes"] = reference.state_dict_bytes
    return promises(replace(row, **changes), found, kept, **case.get("environment", {}))[index]


@pytest.mark.parametrize("name", CASES)
def test_a_cause_is_claimed_where_it_holds_with_its_figure_and_a_remedy(name):
    index, holds, _, sentence = CASES[name]
    promise = outcome(index, holds, MISSED[index])
    assert promise.state in ("half kept", "broken")
    assert sentence in sentences(promise)
    assert all(cause.remedy.endswith(".") for cause in promise.causes)


@pytest.mark.parametrize("name", CASES)
def test_a_cause_is_not_claimed_where_it_does_not_hold(name):
    index, _, does_not, sentence = CASES[name]
    assert sentence not in sentences(outcome(index, does_not, MISSED[index]))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[0] != SIZE])
def test_nothing_explains_a_promise_that_was_kept(name):
    index, holds, *_ = CASES[name]
    promise = outcome(index, holds, KEPT[index])
    assert (promise.state, promise.causes) == ("kept", ())


def test_without_statistics_nothing_is_claimed_of_activations():
    row = fixtures.result(observer="minmax", **LOSES)
    assert promises(row)[ACCURACY].causes == promises(row, fixtures.STATISTICS)[ACCURACY].causes


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("workflow", fixtures.WORKFLOWS)
def test_no_remedy_is_what_was_done_already(workflow, backend):
    row = fixtures.result(workflow, backend, ratio=1.1, size_bytes=8_000_000, **LOSES)
    worst = statistics(outlier=99.0, channel=99.0, depthwise=99.0, outside=0.5, shift=3.0)
    remedies = [cause.remedy for one in promises(row, worst) for cause in one.causes]
    assert not [remedy for remedy in remedies if workflow == "qat" and "use QAT" in remedy]


# Limits


OUTCOMES = {
    SIZE: (SMALLER, lambda value: {"size_bytes": max(1, round(fixtures.FLOAT_BYTES / value))}),
    SPEED: (FASTER, lambda value: {"ratio": value}),
}


def shown(text):
    """Return the ratio that a reader takes from an outcome."""
    times = re.match(r"([\d.]+)× (smaller|larger|faster|slower)", text)
    if times is None:
        return 1.0
    ratio = float(times[1])
    return ratio if times[2] in ("smaller", "faster") else 1 / ratio


@given(
    st.floats(0.2, 12)
    | st.sampled_from([3.5, 2.0, 1.3]).flatmap(lambda limit: st.floats(limit - 0.06, limit + 0.06))
)
def test_a_ratio_that_is_shown_is_on_the_side_of_the_limits_that_its_state_says(value):
    for index, (threshold, changes) in OUTCOMES.items():
        promise = promises(fixtures.result(**changes(value)))[index]
        assert threshold.state(shown(promise.outcome)) == promise.state, promise


@given(st.floats(-2, 6) | st.floats(0.99, 1.01) | st.floats(2.95, 3.05))
def test_lost_points_that_are_shown_are_on_the_side_of_the_limits_that_their_state_says(lost):
    text = ACCURATE.shown(-lost, lambda points, count: f"{-points:.17g} {count}")
    count = int(text.split()[1])
    assert ACCURATE.state(-float(f"{lost:.{count}g}")) == ACCURATE.state(-lost)


@pytest.mark.parametrize(
    ("ratio", "outcome", "state"),
    [
        (1.97, "1.97× faster", "half kept"),
        (2.04, "2× faster", "kept"),
        (1.299, "1.299× faster", "broken"),
    ],
)
def test_as_many_digits_are_shown_as_it_takes(ratio, outcome, state):
    promise = promises(fixtures.result(ratio=ratio))[SPEED]
    assert (promise.outcome, promise.state) == (outcome, state)


def test_the_limits_are_said_in_words():
    assert [one.threshold.sentence for one in promises(fixtures.result())] == [
        "Kept from 3.5× smaller, half kept from 2×.",
        "Kept from 2× faster, half kept from 1.3×.",
        "Kept up to 1 point lost, or a tie; half kept up to 3 points.",
    ]


# Page, report and command line


def test_page_report_and_command_line_say_the_same():
    source = fixtures.disappointing()
    evidence = decide.weigh(source.results)
    row = decide.nearest_in_8_bits(evidence, decide.recommend(evidence))
    found = decide.promise(source, row, evidence)
    said = [one.threshold.sentence for one in found]
    said += [part for one in found for each in one.causes for part in (each.sentence, each.remedy)]
    assert len(said) > 10
    page = promise_cards.promises(found, row, "Static", ships=False).unescape()
    html = report.to_html(source)
    text = " ".join(report.to_text(source).split())
    markdown = report.to_summary(source).replace("\\", "")
    for sentence in said:
        for form in (page, html, text, markdown):
            assert sentence in form
