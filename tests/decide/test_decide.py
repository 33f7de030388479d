import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantcore import decide
from quantcore.backends import BACKENDS
from quantcore.decide import Budgets
from quantcore.decide.labels import labels
from quantcore.decide.paired import discoveries
from quantcore.engine import metrics, time_model
from quantcore.errors import RequestError
from quantcore.schema import Latency, Speedup
from tests.support import fixtures

SHARES = st.floats(0.02, 1.0)


@st.composite
def variants(draw, fewest=0):
    """Return float32 and some variants with any figures, some of them without accuracy."""
    labelled = draw(st.booleans())
    rows = [
        fixtures.result(
            draw(st.sampled_from(fixtures.WORKFLOWS)),
            draw(st.sampled_from(fixtures.BACKENDS)),
            size_bytes=draw(st.integers(1_000, 20_000_000)),
            ratio=draw(st.floats(0.1, 10)),
            spread=draw(st.floats(0.001, 0.3)),
            top1=draw(SHARES) if labelled else None,
            agreement=draw(st.none() | SHARES),
            peak_memory_bytes=draw(st.integers(1_000, 10**9)),
            tag=str(index),
            place=index,
        )
        for index in range(draw(st.integers(fewest, 8)))
    ]
    return [fixtures.float32(0.9 if labelled else None), *rows]


REFERENCE_GROUPS = st.tuples(
    st.sampled_from([fixtures.MODEL, fixtures.SMALL, "torchvision/resnet18"]),
    st.sampled_from([64, 96]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 8]),
)


@st.composite
def on_several_grounds(draw, fewest=0):
    """Return rows of several models, image sizes, threads and batches, some without a float32."""
    rows = []
    for model, size, threads, batch in draw(st.sets(REFERENCE_GROUPS, min_size=2, max_size=4)):
        own = draw(variants(fewest))
        times, bytes_times = draw(st.floats(0.05, 20)), draw(st.floats(0.05, 20))
        asked = {"image_size": size, "threads": threads, "batch": batch}
        rows += [
            fixtures.on(row, model, **asked, times=times, bytes_times=bytes_times)
            for row in own[draw(st.integers(0, 1)) * (len(own) > 1) :]
        ]
    return rows


def rows_of(fewest=0):
    return variants(fewest) | on_several_grounds(fewest)


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
    if row.accuracy and reference and reference.accuracy:
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
@given(rows_of(), BUDGETS)
def test_the_verdict_satisfies_the_budgets(rows, budgets):
    verdict = _verdict(rows, budgets)
    by_key, own = {row.key: row for row in rows}, decide.references(rows)
    assert all(_keeps(by_key[key], own.get(key), budgets) for key in verdict.qualifying)
    first = verdict.qualifying[0] if verdict.qualifying and len(rows) > 1 else None
    assert verdict.ship == first
    assert set(verdict.front) <= set(verdict.qualifying)
    assert bool(verdict.front) == bool(verdict.qualifying)
    assert len(verdict.others) == len(rows) - bool(verdict.ship) or len(rows) == 1


def _worse(row, factor):
    accuracy = row.accuracy and replace(row.accuracy, top1=row.accuracy.top1 / factor)
    ratio = row.speedup.ratio / factor
    return replace(
        row,
        key="worse",
        workflow="static",
        backend="x86",
        artifact=replace(row.artifact, size_bytes=int(row.artifact.size_bytes * factor) + 1),
        latency_ms=fixtures.slowed(row.latency_ms, factor),
        speedup=replace(row.speedup, ratio=ratio, low=ratio / 1.1, high=ratio * 1.1),
        accuracy=accuracy,
        agreement=row.agreement and row.agreement / factor,
        peak_memory_bytes=row.peak_memory_bytes + 1,
    )


@settings(deadline=None)
@given(rows_of(fewest=1), BUDGETS, st.floats(1.01, 3), st.data())
def test_a_worse_variant_never_changes_the_verdict(rows, budgets, factor, data):
    ship = _verdict(rows, budgets).ship
    worse = _worse(
        data.draw(st.sampled_from([row for row in rows if row.key == ship] or rows)), factor
    )
    after = _verdict([*rows, worse], budgets)
    assert after.ship == ship or (ship is None and after.ship is None)


@settings(deadline=None)
@given(rows_of(), BUDGETS, st.randoms())
def test_the_order_of_the_rows_changes_nothing(rows, budgets, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert _verdict(shuffled, budgets) == _verdict(rows, budgets)


@settings(deadline=None)
@given(rows_of())
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
@given(rows_of(fewest=1), BUDGETS)
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
    for index in range(variants + 1):
        changed = rng.random(images) < (0.035 if index else 0)
        answers = np.where(changed, rng.random(images) < 0.93, floats)
        if worse_points and index == variants:
            answers &= rng.random(images) >= worse_points / 93
        row = fixtures.float32() if index == 0 else fixtures.result("static", "x86", tag=str(index))
        accuracy = metrics.accuracy(answers.astype(int), np.ones(images, dtype=int))
        if index:
            row = _timed(row, math.exp(rng.normal(0, spread)), spread)
        rows.append(replace(row, accuracy=accuracy, agreement=float((answers == floats).mean())))
        right[row.key] = answers
    return rows, right


def _timed(row, ratio, spread):
    """Return the row with a speed-up that is known with a standard error of `spread`."""
    half = math.exp(time_model.half_width(spread**2, fixtures.STARTS))
    p50 = fixtures.FLOAT_MS / ratio
    return replace(
        row,
        latency_ms=Latency(p50, p50, p50 / half, p50 * half, fixtures.STARTS),
        speedup=Speedup(ratio, ratio / half, ratio * half, fixtures.STARTS),
    )


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
    figures = 0
    for _ in range(count):
        rows, right = _null_comparison(rng, images=10_000, worse_points=2.0)
        evidence = decide.weigh(rows, right)
        keys = [candidate.key for candidate in evidence.candidates]
        worse, reference = keys.index(rows[-1].key), keys.index(rows[0].key)
        figures += bool(evidence.more_accurate[reference, worse])
    assert figures >= 0.8 * count


def test_a_row_twice_as_fast_is_distinguished():
    rng = np.random.default_rng(13)
    rows, right = _null_comparison(rng)
    rows[3] = _timed(rows[3], 2.0, 0.015)
    evidence = decide.weigh(rows, right)
    assert evidence.candidates[0].key == rows[3].key
    assert evidence.faster[0, 1:].all()


def test_answers_picture_by_picture_see_what_totals_cannot():
    better = fixtures.result("static", "x86", top1=0.930, agreement=None)
    worse = fixtures.result("static", "fbgemm", top1=0.924, agreement=None)
    answers = np.arange(fixtures.IMAGES) < 1_860
    right = {better.key: answers, worse.key: np.arange(fixtures.IMAGES) < 1_848}
    assert not decide.weigh([better, worse]).more_accurate.any()
    assert decide.weigh([better, worse], right).more_accurate.sum() == 1


def test_agreement_bounds_how_far_apart_two_rows_can_be():
    near = fixtures.result("static", "x86", top1=0.9235, agreement=0.99)
    far = replace(near, agreement=0.90)
    evidence = [decide.weigh([fixtures.float32(0.9335), row]) for row in (near, far)]
    assert [one.more_accurate.any() for one in evidence] == [True, False]


def test_discoveries_end_with_the_last_that_passes():
    p = np.array([0.001, 0.04, 0.02, 0.5])
    assert discoveries(p).tolist() == [True, False, True, False]
    assert discoveries(np.array([0.03, 0.04, 0.05])).tolist() == [True, True, True]
    assert discoveries(np.array([])).tolist() == []


def test_more_images_settle_a_tie_as_promised():
    rng = np.random.default_rng(14)
    one, other = fixtures.result("static", "x86"), fixtures.result("static", "fbgemm")
    rows = [replace(row, accuracy=replace(row.accuracy, images=2_000)) for row in (one, other)]
    answers = np.ones(2_000, bool), np.arange(2_000) >= 8
    answers[0][-2:] = False
    right = {row.key: a for row, a in zip(rows, answers, strict=True)}
    more = decide.weigh(rows, right).images_to_settle(0, 1)
    images = 2_000 + more
    only_one, only_other = rng.binomial(images, [8 / 2_000, 2 / 2_000], (500, 2)).T
    z = decide.weigh(rows, right).z
    figures = (only_one - only_other) / np.sqrt(only_one + only_other) > z
    assert 0.7 < figures.mean() < 0.9


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "perfect",
            "Ship static on x86: 4.2× smaller (2.2 MB), 4.2× faster (1.7 ms), "
            "equally accurate on 2,000 pictures.",
        ),
        (
            "one_variant",
            "Ship static on x86: 3.4× smaller (2.7 MB), 2.6× faster (2.7 ms), but "
            "0.35 points less accurate (a tie on 2,000 pictures).",
        ),
        ("only_float", "No verdict from one row: only float32 was measured."),
        ("all_failed", "Nothing was measured: see below what went wrong and what to do."),
        (
            "random_weights",
            "Ship static on x86: 2.3× smaller (3.9 MB), 2.6× faster (2.7 ms), accuracy unknown.",
        ),
    ],
)
def test_the_verdict_in_words(name, sentence):
    assert decide.decide(fixtures.NAMED[name]()).sentence == sentence


def test_without_accuracy_the_verdict_says_what_it_cannot_know():
    verdict = decide.decide(fixtures.random_weights(), Budgets(accuracy_lost_points=1))
    assert "weights are random" in verdict.caveats[0]
    assert verdict.caveats[1] == "The accuracy budget could not be tested."
    unlabelled = decide.decide(fixtures.unlabelled())
    assert "carry no labels" in unlabelled.caveats[0]
    assert "at most 1.3 points less accurate" in unlabelled.reason


def test_a_variant_that_brings_little_does_not_replace_float32():
    rows = [fixtures.float32(), fixtures.result("dynamic", "x86", size_bytes=9_000_000, ratio=1.01)]
    assert _verdict(rows).sentence.startswith("Keep float32: no variant gains enough")


def test_budgets_that_only_float_keeps():
    verdict = decide.decide(fixtures.typical(), Budgets(accuracy_lost_points=-0.0))
    assert verdict.headline != "Nothing keeps these budgets"
    rows = [fixtures.float32(), fixtures.result(top1=0.80)]
    kept = _verdict(rows, Budgets(accuracy_lost_points=1))
    assert kept.sentence == "Keep float32: no variant keeps these budgets."
    assert kept.others[0].sentence == "13 points lost, over the accuracy budget of 1 point."


def test_nothing_qualifies_names_the_nearest_and_what_to_relax():
    verdict = decide.decide(fixtures.one_variant(), Budgets(latency_ms=2.5, size_bytes=5e6))
    assert verdict.sentence == (
        "Nothing keeps these budgets: static on x86 would, "
        "with a latency budget of 2.8 ms (0.3 ms more)."
    )
    assert [miss.relax for miss in verdict.misses] == [
        (("latency_ms", 2.8),),
        (("size_bytes", 9_200_000.0), ("latency_ms", 7.1)),
    ]


def test_an_interval_across_a_budget_is_too_close_to_call():
    verdict = decide.decide(fixtures.one_variant(), Budgets(latency_ms=2.75))
    row = fixtures.one_variant().results[1]
    assert verdict.ship == row.key
    assert row.key in verdict.close
    assert verdict.caveats[0].startswith("Too close to call: its latency lies between 2.7 ms")
    over = decide.decide(fixtures.one_variant(), Budgets(latency_ms=2.7))
    assert over.ship is None
    assert over.others[0].sentence == (
        "2.73 ms, over the latency budget of 2.7 ms; too close to call."
    )


def test_what_breaks_another_budget_for_certain_is_not_close():
    row = fixtures.one_variant().results[1]
    verdict = decide.decide(fixtures.one_variant(), Budgets(latency_ms=2.75, size_bytes=1e6))
    assert row.key not in verdict.close


def test_why_not_the_others():
    source = fixtures.typical()
    lines = {o.label: o for o in decide.decide(source, None, fixtures.correctness(source)).others}
    assert lines["float32"].sentence == (
        "qat on onednn is 6.5 MB smaller and 2.7× faster, for the rest a tie."
    )
    assert lines["qat on qnnpack"].sentence == (
        "Against qat on onednn: 0.3 MB smaller, but 6.4× slower."
    )
    assert lines["static on onednn"].sentence.startswith("A tie with qat on onednn on these 2,000")
    assert lines["static on onednn"].more_images > 2_000


def test_all_ties_leaves_everything_but_float_on_the_front():
    source = fixtures.all_ties()
    verdict = decide.decide(source, None, fixtures.correctness(source))
    assert len(verdict.front) == 4
    assert len(verdict.ties) == 3


def test_without_float32_the_verdict_compares_with_nothing():
    verdict = _verdict([fixtures.result()])
    assert verdict.sentence == "No verdict from one row: only static on x86 was measured."
    verdict = _verdict([fixtures.result(), fixtures.result(tag="slower", ratio=1.3)])
    assert verdict.reason == "2.7 MB, 2.7 ms a call"
    assert verdict.caveats[0].startswith("float32 has no figures here")


@pytest.mark.parametrize("budgets", [{"size_bytes": -1}, {"latency_ms": math.nan}])
def test_budgets_that_cannot_be_are_refused(budgets):
    with pytest.raises(RequestError, match="budget of"):
        Budgets(**budgets)


def test_bounds_span_the_data_and_leave_out_the_unknown():
    figures = decide.bounds(decide.weigh(fixtures.perfect().results).candidates)
    assert figures["size_bytes"] == (2_200_000, fixtures.FLOAT_BYTES)
    assert figures["accuracy_lost_points"] == (0.0, pytest.approx(0.35))
    bare = decide.bounds(decide.weigh(fixtures.random_weights().results).candidates)
    assert "accuracy_lost_points" not in bare
    assert decide.bounds([]) == {}


def _promises(row):
    return decide.promise(fixtures.comparison([fixtures.float32(), row]), row)


def test_a_kept_promise():
    row = fixtures.result(size_bytes=2_500_000, ratio=2.6, top1=0.93)
    assert [one.state for one in _promises(row)] == ["kept"] * 3
    assert [one.outcome for one in _promises(row)] == [
        "3.7× smaller",
        "2.6× faster",
        "0.35 points less accurate, a tie",
    ]


@pytest.mark.parametrize(
    ("changes", "index", "state"),
    [
        ({"size_bytes": 3_500_000}, 0, "half kept"),
        ({"size_bytes": 9_000_000}, 0, "broken"),
        ({"ratio": 0.4}, 1, "broken"),
        ({"ratio": 1.5}, 1, "half kept"),
        ({"top1": 0.90}, 2, "broken"),
        ({"top1": 0.91}, 2, "half kept"),
    ],
)
def test_a_promise_less_than_kept(changes, index, state):
    assert _promises(fixtures.result(**changes))[index].state == state


def test_promises_that_cannot_be_judged_are_unknown():
    source = fixtures.random_weights()
    assert decide.promise(source, source.results[1])[2].state == "unknown"


def test_namesakes_are_distinguished_by_their_settings():
    rows = [fixtures.result(observer=observer) for observer in ("min-max", "histogram")]
    assert list(labels(rows).values()) == [
        "static on x86 (observer min-max)",
        "static on x86 (observer histogram)",
    ]


# Several models, image sizes, threads and batches


def _by_label(rows):
    evidence = decide.weigh(rows)
    return evidence, {c.label: index for index, c in enumerate(evidence.candidates)}


def test_each_row_is_held_against_the_float32_of_its_own_ground():
    rows = fixtures.two_models().results
    own = decide.references(rows)
    assert [own[row.key] for row in rows] == [rows[0]] * 3 + [rows[3]] * 2
    evidence, places = _by_label(rows)
    small = evidence.candidates[places["dynamic on x86 (bundled/row_lstm)"]]
    assert small.size_ratio == pytest.approx(fixtures.FLOAT_BYTES / 9_000_000, rel=1e-4)
    assert small.lost.value == pytest.approx(0.1)
    assert evidence.reference(places[small.label]) == places["float32 (bundled/row_lstm)"]


def test_a_row_whose_own_float32_is_missing_is_held_against_no_other():
    rows = [row for row in fixtures.two_models().results if row.key != _float_key(fixtures.SMALL)]
    evidence, places = _by_label(rows)
    small = evidence.candidates[places["dynamic on x86 (bundled/row_lstm)"]]
    assert (small.size_ratio, small.lost, small.reference) == (None, None, None)
    verdict = decide.recommend(evidence)
    assert verdict.sentence.endswith("(bundled/row_lstm): 0.45 MB, 0.68 ms a call.")
    assert "Its own float32 has no figures here" in verdict.caveats[0]


def _float_key(model):
    rows = fixtures.two_models().results
    return next(row.key for row in rows if row.model == model and row.workflow == "float32")


def test_a_small_float_model_may_beat_a_large_one_in_8_bits():
    verdict = decide.decide(fixtures.two_models())
    assert verdict.ship == _float_key(fixtures.SMALL)
    assert verdict.sentence == (
        "Ship float32 (bundled/row_lstm): 0.46 MB, 0.71 ms a call, 93.1 % right."
    )
    beaten = {o.label: o.sentence for o in verdict.others}["static on x86 (bundled/mobilenet_v2)"]
    assert beaten == (
        "float32 (bundled/row_lstm) is 2.2 MB smaller and 3.8× faster, for the rest a tie; 27 MB "
        "more memory is not weighed."
    )
    assert {row.model for row in fixtures.two_models().results if row.key in verdict.front} == {
        fixtures.SMALL
    }


def test_a_variant_among_several_models_is_described_against_its_own_float32():
    verdict = decide.decide(fixtures.sweep())
    assert verdict.sentence == (
        "Ship static on x86 (bundled/row_lstm, 64 px, observer histogram): against its own float32 "
        "3.4× smaller (0.81 MB), 2.6× faster (0.82 ms), but 0.95 points less accurate "
        "on 2,000 pictures."
    )


def test_budgets_are_absolute_but_accuracy_lost_is_against_the_own_float32():
    rows = list(fixtures.two_models().results)
    worse = [replace(row, accuracy=fixtures.result(top1=0.80).accuracy) for row in rows[3:]]
    verdict = _verdict([*rows[:3], *worse], Budgets(latency_ms=1, accuracy_lost_points=1))
    assert set(verdict.qualifying) == {row.key for row in worse}


@pytest.mark.parametrize(
    "change",
    [
        {"model": "torchvision/resnet18"},
        {"accuracy": fixtures.result(top1=0.99, images=500).accuracy, "fidelity_images": 500},
    ],
    ids=["other labels", "fewer pictures"],
)
def test_accuracy_on_other_pictures_is_not_compared(change):
    one = [fixtures.float32(0.60), fixtures.result(top1=0.60)]
    other = [
        replace(fixtures.on(row, image_size=96), **change) for row in fixtures.perfect().results
    ]
    evidence = decide.weigh([*one, *other])
    mine = np.array([c.row in one for c in evidence.candidates])
    across = mine[:, None] != mine[None, :]
    assert not (evidence.more_accurate & across).any()
    assert not (evidence.beats & across).any()
    assert not evidence.evaluated_alike[across].any()
    verdict = decide.recommend(evidence)
    assert any("not evaluated on the same pictures" in caveat for caveat in verdict.caveats)
    assert any("evaluated on different pictures" in o.sentence for o in verdict.others)


def test_the_same_pictures_at_two_image_sizes_are_compared():
    small = [fixtures.float32(0.80), fixtures.result(top1=0.80)]
    large = [fixtures.on(row, image_size=96, times=2) for row in fixtures.perfect().results]
    evidence = decide.weigh([*small, *large])
    worse = [i for i, c in enumerate(evidence.candidates) if c.row in small]
    better = [i for i, c in enumerate(evidence.candidates) if c.row not in small]
    assert evidence.more_accurate[np.ix_(better, worse)].all()


def test_models_without_any_accuracy_are_compared_in_size_and_latency_only():
    rows = fixtures.random_weights().results
    more = [fixtures.on(row, "torchvision/resnet18@random", times=0.1) for row in rows]
    verdict = decide.recommend(decide.weigh([*rows, *more]))
    assert verdict.headline == "Ship static on x86 (torchvision/resnet18@random)"
    assert {row.model for row in [*rows, *more] if row.key in verdict.front} == {
        rows[0].model,
        more[0].model,
    }
    assert any("since accuracy is unknown" in o.sentence for o in verdict.others)


def test_calls_of_different_batches_are_not_compared_but_threads_are():
    rows = [fixtures.float32(), fixtures.result()]
    batches = [fixtures.on(row, batch=8, times=6) for row in rows]
    threads = [fixtures.on(row, threads=2, times=0.5) for row in rows]
    evidence, places = _by_label([*rows, *batches, *threads])
    one, many, two = (
        places[f"static on x86 ({threads}, batch {batch})"]
        for threads, batch in (("1 thread", 1), ("1 thread", 8), ("2 threads", 1))
    )
    assert not evidence.faster[one, many]
    assert not evidence.beats[one, many]
    assert evidence.faster[two, one]
    assert evidence.beats[two, one]
    verdict = decide.recommend(evidence)
    assert any("different batches are not compared" in caveat for caveat in verdict.caveats)


def _drifted(rows, rng, drift):
    """Return the rows as timed while the machine became faster or slower, which they know."""
    factor = math.exp(rng.normal(0, drift))
    slowed = [replace(row, latency_ms=fixtures.slowed(row.latency_ms, factor)) for row in rows]
    return [replace(row, latency_ms=replace(row.latency_ms, drift=drift)) for row in slowed]


def _across(evidence):
    alike = np.array([c.row.model for c in evidence.candidates])
    return alike[:, None] != alike[None, :]


def test_where_the_machine_drifts_milliseconds_of_two_models_tell_less():
    rows = [fixtures.float32(), *(fixtures.result(tag=str(index)) for index in range(8))]
    other = [fixtures.on(row, fixtures.SMALL, times=0.8) for row in rows]
    drifting = [replace(r, latency_ms=replace(r.latency_ms, drift=0.15)) for r in (*rows, *other)]
    quiet, wandering = decide.weigh([*rows, *other]), decide.weigh(drifting)
    assert (quiet.faster & _across(quiet)).sum() > (wandering.faster & _across(wandering)).sum()
    assert (wandering.faster & ~_across(wandering)).sum() > 0


@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("drift", [0.01, 0.08])
def test_models_of_one_speed_are_not_distinguished_by_the_machines_drift(count, drift):
    rng = np.random.default_rng(16)
    claims = 0
    for _ in range(count):
        rows, _ = _null_comparison(rng, variants=6)
        other = [fixtures.on(row, fixtures.SMALL) for row in rows]
        evidence = decide.weigh([*_drifted(rows, rng, drift), *_drifted(other, rng, drift)])
        claims += bool((evidence.faster & _across(evidence)).any())
    assert claims <= _most_false_claims(count)


def test_the_interval_of_a_latency_holds_the_drift():
    rows = fixtures.two_models().results
    figure = decide.weigh(rows).candidates[0].figures["latency_ms"]
    assert figure.low < 0.95 * figure.value < figure.value < 1.05 * figure.value < figure.high
    alone = decide.weigh(rows[:3]).candidates
    assert next(c for c in alone if c.is_float).figures["latency_ms"].low == rows[0].latency_ms.p50


def test_bounds_span_all_models():
    figures = decide.bounds(decide.weigh(fixtures.two_models().results).candidates)
    assert figures["size_bytes"] == (450_000, fixtures.FLOAT_BYTES)
    assert figures["latency_ms"][1] == fixtures.FLOAT_MS


def test_promises_are_those_of_the_own_float32():
    source = fixtures.two_models()
    size, speed, accuracy = decide.promise(source, source.results[4])
    assert (size.outcome, speed.outcome) == ("2 % smaller", "5 % faster")
    assert accuracy.outcome == "0.1 points less accurate, a tie"


OTHER_RUNTIMES = [name for name, each in BACKENDS.items() if each.float_backend is not None]


@pytest.mark.parametrize("backend", OTHER_RUNTIMES)
def test_causes_are_found_on_the_rows_own_runtime(backend):
    torch_float, variant = (
        fixtures.float32(),
        fixtures.result("static", backend, size_bytes=9_000_000),
    )
    variant = replace(variant, state_dict_bytes=2_000_000)
    tiny = replace(torch_float.latency_ms, p50=0.1)
    torch_float = replace(torch_float, state_dict_bytes=2_000_000, latency_ms=tiny)
    own = replace(
        fixtures.float32(),
        key="own",
        backend=BACKENDS[backend].float_backend,
        state_dict_bytes=8_000_000,
    )
    assert _causes(torch_float, own, variant) == (True, False)
    swapped = (replace(torch_float, backend=own.backend), replace(own, backend=None))
    assert _causes(*swapped, variant) == (False, True)
    assert _causes(torch_float, variant) == (False, False)


def _causes(*rows):
    """Return whether the last row's size has code, and its speed tininess, as a cause."""
    variant = replace(rows[-1], speedup=fixtures.result(ratio=1.01).speedup)
    source = fixtures.comparison([*rows[:-1], variant])
    size, speed, _ = decide.promise(source, variant)
    said = [" ".join(cause.sentence for cause in one.causes) for one in (size, speed)]
    return "of code and records" in said[0], "tiny" in said[1]


@settings(deadline=None)
@given(on_several_grounds())
def test_no_two_rows_read_alike(rows):
    figures = labels(rows)
    assert len(set(figures.values())) == len(rows)


def test_names_say_what_varies_and_nothing_else():
    rows = [
        *(fixtures.on(fixtures.result("qat", batch=batch), batch=8) for batch in (32, 64)),
        fixtures.on(fixtures.float32(), batch=8),
        fixtures.on(fixtures.float32(), fixtures.SMALL, batch=8, image_size=96),
    ]
    assert list(labels(rows).values()) == [
        "qat on x86 (bundled/mobilenet_v2, qat batch 32)",
        "qat on x86 (bundled/mobilenet_v2, qat batch 64)",
        "float32 (bundled/mobilenet_v2)",
        "float32 (bundled/row_lstm)",
    ]
