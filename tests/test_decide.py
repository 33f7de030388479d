import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantcore import decide, metrics
from quantcore.decide import Budgets, words
from quantcore.decide.paired import holm
from quantcore.errors import RequestError
from tests import canned

SHARES = st.floats(0.02, 1.0)


@st.composite
def variants(draw, fewest=0):
    """Return float32 and some variants with any figures, some of them without accuracy."""
    labelled = draw(st.booleans())
    rows = [
        canned.result(
            draw(st.sampled_from(canned.WORKFLOWS)),
            draw(st.sampled_from(canned.BACKENDS)),
            size_bytes=draw(st.integers(1_000, 20_000_000)),
            ratio=draw(st.floats(0.1, 10)),
            spread=draw(st.floats(0.001, 0.3)),
            top1=draw(SHARES) if labelled else None,
            agreement=draw(st.none() | SHARES),
            peak_memory_bytes=draw(st.integers(1_000, 10**9)),
            tag=str(place),
            place=place,
        )
        for place in range(draw(st.integers(fewest, 8)))
    ]
    return [canned.float32(0.9 if labelled else None), *rows]


BUDGETS = st.builds(
    Budgets,
    size_bytes=st.none() | st.floats(1e3, 2e7),
    latency_ms=st.none() | st.floats(0.5, 80),
    accuracy_lost_points=st.none() | st.floats(-5, 60),
    peak_memory_bytes=st.none() | st.floats(1e3, 1e9),
)


def _verdict(rows, budgets=None, right=None):
    return decide.recommend(decide.weigh(rows, right), budgets)


def _keeps(row, reference, budgets):
    lost = None
    if row.accuracy and reference.accuracy:
        lost = 100 * (reference.accuracy.top1 - row.accuracy.top1)
    figures = {
        "size_bytes": row.artifact.size_bytes,
        "latency_ms": row.latency_ms.p50,
        "accuracy_lost_points": lost,
        "peak_memory_bytes": row.peak_memory_bytes,
    }
    return all(
        figures[name] is None or figures[name] <= limit + 1e-9
        for name, limit in budgets.limits().items()
    )


@settings(deadline=None)
@given(variants(), BUDGETS)
def test_the_verdict_satisfies_the_budgets(rows, budgets):
    verdict = _verdict(rows, budgets)
    by_key = {row.key: row for row in rows}
    assert all(_keeps(by_key[key], rows[0], budgets) for key in verdict.qualifying)
    assert verdict.ship == (verdict.qualifying[0] if verdict.qualifying else None)
    assert set(verdict.front) <= set(verdict.qualifying)
    assert bool(verdict.front) == bool(verdict.qualifying)
    assert len(verdict.others) == len(rows) - bool(verdict.ship)


def _worse(row, factor):
    accuracy = row.accuracy and replace(row.accuracy, top1=row.accuracy.top1 / factor)
    ratio = row.speedup.ratio / factor
    return replace(
        row,
        key="worse",
        workflow="static",
        backend="x86",
        artifact=replace(row.artifact, size_bytes=int(row.artifact.size_bytes * factor) + 1),
        latency_ms=replace(row.latency_ms, p50=row.latency_ms.p50 * factor),
        speedup=replace(row.speedup, ratio=ratio, low=ratio / 1.1, high=ratio * 1.1, rounds=5),
        accuracy=accuracy,
        agreement=row.agreement and row.agreement / factor,
        peak_memory_bytes=row.peak_memory_bytes + 1,
    )


@settings(deadline=None)
@given(variants(), BUDGETS, st.floats(1.01, 3), st.data())
def test_a_worse_variant_never_changes_the_verdict(rows, budgets, factor, data):
    ship = _verdict(rows, budgets).ship
    worse = _worse(
        data.draw(st.sampled_from([row for row in rows if row.key == ship] or rows)), factor
    )
    after = _verdict([*rows, worse], budgets)
    assert after.ship == ship or (ship is None and after.ship is None)


@settings(deadline=None)
@given(variants(), BUDGETS, st.randoms())
def test_the_order_of_the_rows_changes_nothing(rows, budgets, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert _verdict(shuffled, budgets) == _verdict(rows, budgets)


@settings(deadline=None)
@given(variants())
def test_ties_are_symmetric_and_nobody_beats_in_a_circle(rows):
    evidence = decide.weigh(rows)
    places = range(len(rows))
    assert all(evidence.tie(i, j) == evidence.tie(j, i) for i in places for j in places)
    assert all(
        evidence.images_to_settle(i, j) == evidence.images_to_settle(j, i)
        for i in places
        for j in places
    )
    assert not np.tril(evidence.beats).any()
    assert not (evidence.faster & evidence.faster.T).any()
    assert not (evidence.more_accurate & evidence.more_accurate.T).any()


@settings(deadline=None)
@given(variants(fewest=1), BUDGETS)
def test_relaxing_as_a_miss_says_lets_it_in(rows, budgets):
    verdict = _verdict(rows, budgets)
    assert bool(verdict.misses) == (not verdict.qualifying)
    for miss in verdict.misses:
        assert miss.key in _verdict(rows, replace(budgets, **dict(miss.relax))).qualifying


def _null_comparison(rng, images=2_000, variants=16, spread=0.015, worse_points=0.0):
    """Return rows of one true accuracy and speed, measured with noise, and their right answers.

    The last row loses `worse_points` of accuracy. Variants agree with float32 on about 95 %.
    """
    floats = rng.random(images) < 0.93
    right, rows = {}, []
    for place in range(variants + 1):
        changed = rng.random(images) < (0.035 if place else 0)
        answers = np.where(changed, rng.random(images) < 0.93, floats)
        if worse_points and place == variants:
            answers &= rng.random(images) >= worse_points / 93
        row = canned.float32() if place == 0 else canned.result("static", "x86", tag=str(place))
        accuracy = metrics.accuracy(answers.astype(int), np.ones(images, dtype=int))
        if place:
            times = [np.exp(rng.normal(0, spread, (5, 1))) for _ in range(2)]
            row = replace(row, speedup=metrics.speedup(*times, target=0.05))
        rows.append(replace(row, accuracy=accuracy, agreement=float((answers == floats).mean())))
        right[row.key] = answers
    return rows, right


def _claims(evidence):
    return evidence.faster.any() or evidence.more_accurate.any()


def _most_false_claims(count):
    """Return 5 % of `count` and the binomial margin: 2.33 standard errors (1 in 100 exceeds it)."""
    return 0.05 * count + 2.33 * math.sqrt(0.05 * 0.95 * count)


@pytest.mark.parametrize("count", [300, pytest.param(2_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("picture_by_picture", [True, False])
def test_without_a_real_difference_none_is_claimed(count, picture_by_picture):
    rng = np.random.default_rng(11)
    claims = 0
    for _ in range(count):
        rows, right = _null_comparison(rng)
        claims += bool(_claims(decide.weigh(rows, right if picture_by_picture else None)))
    assert claims <= _most_false_claims(count)


@pytest.mark.parametrize("count", [100, pytest.param(2_000, marks=pytest.mark.soak)])
def test_a_true_difference_of_two_points_is_found(count):
    rng = np.random.default_rng(12)
    found = 0
    for _ in range(count):
        rows, right = _null_comparison(rng, images=10_000, worse_points=2.0)
        evidence = decide.weigh(rows, right)
        keys = [candidate.key for candidate in evidence.candidates]
        worse, reference = keys.index(rows[-1].key), keys.index(rows[0].key)
        found += bool(evidence.more_accurate[reference, worse])
    assert found >= 0.8 * count


def test_a_row_twice_as_fast_is_told_apart_after_five_rounds():
    rng = np.random.default_rng(13)
    rows, right = _null_comparison(rng)
    speed = metrics.speedup(2 * np.exp(rng.normal(0, 0.015, (5, 1))), np.ones((5, 1)), 0.05)
    rows[3] = replace(rows[3], speedup=speed)
    evidence = decide.weigh(rows, right)
    assert evidence.candidates[0].key == rows[3].key
    assert evidence.faster[0, 1:].all()


def test_answers_picture_by_picture_see_what_totals_cannot():
    better = canned.result("static", "x86", top1=0.930, agreement=None)
    worse = canned.result("static", "fbgemm", top1=0.924, agreement=None)
    answers = np.arange(canned.IMAGES) < 1_860
    right = {better.key: answers, worse.key: np.arange(canned.IMAGES) < 1_848}
    assert not decide.weigh([better, worse]).more_accurate.any()
    assert decide.weigh([better, worse], right).more_accurate.sum() == 1


def test_agreement_bounds_how_far_apart_two_rows_can_be():
    near = canned.result("static", "x86", top1=0.9235, agreement=0.99)
    far = replace(near, agreement=0.90)
    evidence = [decide.weigh([canned.float32(0.9335), row]) for row in (near, far)]
    assert [one.more_accurate.any() for one in evidence] == [True, False]


def test_holm_stops_at_the_first_that_stands():
    p = np.array([0.001, 0.04, 0.02, 0.5])
    assert holm(p).tolist() == [True, False, False, False]
    assert holm(np.array([0.01, 0.02])).tolist() == [True, True]
    assert holm(np.array([])).tolist() == []


def test_more_images_settle_a_tie_as_promised():
    rng = np.random.default_rng(14)
    one, other = canned.result("static", "x86"), canned.result("static", "fbgemm")
    rows = [replace(row, accuracy=replace(row.accuracy, images=2_000)) for row in (one, other)]
    answers = np.ones(2_000, bool), np.arange(2_000) >= 8
    answers[0][-2:] = False
    right = {row.key: a for row, a in zip(rows, answers, strict=True)}
    more = decide.weigh(rows, right).images_to_settle(0, 1)
    images = 2_000 + more
    only_one, only_other = rng.binomial(images, [8 / 2_000, 2 / 2_000], (500, 2)).T
    z = decide.weigh(rows, right).z
    found = (only_one - only_other) / np.sqrt(only_one + only_other) > z
    assert 0.7 < found.mean() < 0.9


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "perfect",
            "Ship static on x86: 4.2× smaller (2.2 MB), 4.2× faster (1.7 ms), equally accurate.",
        ),
        (
            "one_variant",
            "Ship static on x86: 3.4× smaller (2.7 MB), 2.6× faster (2.7 ms), "
            "0.35 points less accurate (a tie on these 2,000 images).",
        ),
        ("only_float", "Keep float32: no variant was measured beside it."),
        ("all_failed", "Nothing was measured: see below what went wrong and what to do."),
        (
            "random_weights",
            "Ship static on x86: 2.3× smaller (3.9 MB), 2.6× faster (2.7 ms), accuracy unknown.",
        ),
    ],
)
def test_the_verdict_in_words(name, sentence):
    assert decide.decide(canned.NAMED[name]()).sentence == sentence


def test_without_accuracy_the_verdict_says_what_it_cannot_know():
    verdict = decide.decide(canned.random_weights(), Budgets(accuracy_lost_points=1))
    assert "weights are random" in verdict.caveats[0]
    assert verdict.caveats[1] == "The accuracy budget could not be tested."
    unlabelled = decide.decide(canned.unlabelled())
    assert "carry no labels" in unlabelled.caveats[0]
    assert "at most 1.3 points less accurate" in unlabelled.reason


def test_a_variant_that_brings_little_does_not_replace_float32():
    rows = [canned.float32(), canned.result("dynamic", "x86", size_bytes=9_000_000, ratio=1.01)]
    assert _verdict(rows).sentence.startswith("Keep float32: no variant brings enough")


def test_budgets_that_only_float_keeps():
    verdict = decide.decide(canned.typical(), Budgets(accuracy_lost_points=-0.0))
    assert verdict.headline != "Nothing keeps these budgets"
    rows = [canned.float32(), canned.result(top1=0.80)]
    kept = _verdict(rows, Budgets(accuracy_lost_points=1))
    assert kept.sentence == "Keep float32: no variant keeps these budgets."
    assert kept.others[0].sentence == "13 points lost, over the accuracy budget of 1 point."


def test_nothing_qualifies_names_the_nearest_and_what_to_relax():
    verdict = decide.decide(canned.one_variant(), Budgets(latency_ms=2.5, size_bytes=5e6))
    assert verdict.sentence == (
        "Nothing keeps these budgets: static on x86 would, "
        "with a latency budget of 2.8 ms (0.3 ms more)."
    )
    assert [miss.relax for miss in verdict.misses] == [
        (("latency_ms", 2.8),),
        (("size_bytes", 9_200_000.0), ("latency_ms", 7.1)),
    ]


def test_an_interval_across_a_budget_is_too_close_to_call():
    verdict = decide.decide(canned.one_variant(), Budgets(latency_ms=2.75))
    row = canned.one_variant().results[1]
    assert verdict.ship == row.key
    assert row.key in verdict.close
    assert verdict.caveats[0].startswith("Too close to call: its latency lies between 2.7 ms")
    over = decide.decide(canned.one_variant(), Budgets(latency_ms=2.7))
    assert over.ship is None
    assert over.others[0].sentence == (
        "2.73 ms, over the latency budget of 2.7 ms; too close to call."
    )


def test_why_not_the_others():
    source = canned.typical()
    lines = {o.label: o for o in decide.decide(source, None, canned.correctness(source)).others}
    assert lines["float32"].sentence == (
        "qat on onednn is 6.5 MB smaller and 2.7× faster, for the rest a tie."
    )
    assert lines["qat on qnnpack"].sentence == (
        "Against qat on onednn: 0.3 MB smaller, but 6.4× slower."
    )
    assert lines["static on onednn"].sentence.startswith("A tie with qat on onednn on these 2,000")
    assert lines["static on onednn"].more_images > 2_000


def test_all_ties_leaves_everything_but_float_on_the_front():
    source = canned.all_ties()
    verdict = decide.decide(source, None, canned.correctness(source))
    assert len(verdict.front) == 4
    assert len(verdict.ties) == 3


def test_without_float32_the_verdict_compares_with_nothing():
    verdict = _verdict([canned.result()])
    assert verdict.sentence == "Ship static on x86: 2.7 MB, 2.7 ms a call."
    assert verdict.caveats[0].startswith("float32 has no figures here")


@pytest.mark.parametrize("budgets", [{"size_bytes": -1}, {"latency_ms": math.nan}])
def test_budgets_that_cannot_be_are_refused(budgets):
    with pytest.raises(RequestError, match="budget of"):
        Budgets(**budgets)


def test_bounds_span_the_data_and_leave_out_the_unknown():
    found = decide.bounds(decide.weigh(canned.perfect().results).candidates)
    assert found["size_bytes"] == (2_200_000, canned.FLOAT_BYTES)
    assert found["accuracy_lost_points"] == (0.0, pytest.approx(0.35))
    bare = decide.bounds(decide.weigh(canned.random_weights().results).candidates)
    assert "accuracy_lost_points" not in bare
    assert decide.bounds([]) == {}


def _promises(row, **environment):
    source = canned.comparison([canned.float32(), row])
    machine = replace(canned.ENVIRONMENT, **environment)
    return decide.promise(replace(source, environment=machine), row)


def test_a_kept_promise():
    row = canned.result(size_bytes=2_500_000, ratio=2.6, top1=0.93)
    assert [one.state for one in _promises(row)] == ["kept"] * 3
    assert [one.outcome for one in _promises(row)] == [
        "3.7× smaller",
        "2.6× faster",
        "0.35 points less accurate, a tie",
    ]


@pytest.mark.parametrize(
    ("changes", "place", "state", "cause"),
    [
        ({"size_bytes": 3_500_000}, 0, "half kept", "the file also carries code"),
        ({"workflow": "dynamic", "size_bytes": 9_000_000, "int8_share": 0.02}, 0, "broken", "2 %"),
        ({"backend": "qnnpack", "ratio": 0.4}, 1, "broken", "made for ARM"),
        ({"ratio": 1.5}, 1, "half kept", ""),
        ({"backend": "qnnpack", "top1": 0.90}, 2, "broken", "per-tensor"),
        ({"top1": 0.90, "calibration_images": 8}, 2, "broken", "few images"),
        ({"top1": 0.91}, 2, "half kept", ""),
    ],
)
def test_a_promise_less_than_kept_names_its_cause(changes, place, state, cause):
    row = canned.result(**changes)
    if "code" in cause:
        row = replace(row, state_dict_bytes=2_300_000)
    answer = _promises(row)[place]
    assert answer.state == state
    assert cause in answer.cause


def test_a_processor_without_vnni_explains_a_slow_variant():
    row = canned.result(ratio=1.2)
    assert "no VNNI" in _promises(row, instruction_sets=("AVX2",))[1].cause
    assert "no VNNI" not in _promises(row)[1].cause


def test_promises_that_cannot_be_judged_are_unknown():
    source = canned.random_weights()
    assert decide.promise(source, source.results[1])[2].state == "unknown"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.604, "3.6"), (0.4, "0.4"), (0.0512, "0.051"), (36.4, "36"), (1_949, "1,900")],
)
def test_two_significant_digits(value, text):
    assert words.digits(value) == text


@given(st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-6))
def test_enough_is_never_too_little_and_not_much_more(value):
    assert value <= words.enough(value) <= value + abs(value) * 0.101


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(3.6, "3.6× smaller"), (0.5, "2× larger"), (1.02, "2 % smaller"), (1.001, "as large")],
)
def test_ratios_in_words(ratio, text):
    assert words.smaller(ratio) == text


def test_namesakes_are_told_apart_by_their_settings():
    rows = [canned.result(observer=observer) for observer in ("min-max", "histogram")]
    assert list(words.labels(rows).values()) == [
        "static on x86 (observer min-max)",
        "static on x86 (observer histogram)",
    ]
