"""The time model on simulated turns, whose truth is known."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantcore.engine import metrics, time_model
from quantcore.schema import Turn
from tests.support.timing import Machine

FLOAT_MS, MS = 8.0, 2.0
MACHINES = {
    "quiet": Machine(starts=0.01, rounds=0.01, drift=0.0),
    "starts": Machine(starts=0.026, rounds=0.025),
    "drift": Machine(drift=0.3),
    "bursts": Machine(bursts=0.3),
    "hidden": Machine(hidden=0.1),
    "wander": Machine(wander=0.005),
    "all": Machine(drift=0.1, bursts=0.2, hidden=0.05),
}


def _fitted(machine, rng, times):
    """Return the model of a comparison: float32, then each variant with float32 and the first."""
    names = list(times)
    moments = [machine.moment(rng, {"float": FLOAT_MS})]
    for name in names:
        tie = {} if name == names[0] else {names[0]: times[names[0]]}
        moments.append(machine.moment(rng, {name: times[name], "float": FLOAT_MS, **tie}))
    return time_model.fit(moments)


def _gap(model, one, other):
    """Return how many standard errors two files lie apart, in units of the 5 % limit."""
    i, j = model.index[one], model.index[other]
    error = math.hypot(math.sqrt(model.covariance[i, i]), math.sqrt(model.covariance[j, j]))
    limit = metrics.student_t(time_model.degrees(6))
    return (model.log_ms[i] - model.log_ms[j]) / error / limit


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("count", [25, pytest.param(250, marks=pytest.mark.soak)])
def test_equal_files_are_called_equal_and_intervals_hold_the_truth(machine, count):
    rng = np.random.default_rng(1)
    times = {f"v{index}": MS for index in range(8)}
    different, pairs, covered = 0, 0, 0
    for _ in range(count):
        model = _fitted(machine, rng, times)
        gaps = [_gap(model, *pair) for pair in combinations(times, 2)]
        different, pairs = different + sum(abs(gap) > 1 for gap in gaps), pairs + len(gaps)
        speedups = [model.speedup(name, "float") for name in times]
        covered += sum(each.low <= FLOAT_MS / MS <= each.high for each in speedups)
    assert different / pairs < 0.09
    assert covered / (count * len(times)) > 0.88


@pytest.mark.parametrize(("slower", "least"), [(1.05, 0.75), (1.10, 0.99)])
def test_a_slower_file_is_found(slower, least):
    rng, machine, found = np.random.default_rng(2), Machine(starts=0.015, rounds=0.02), 0
    for _ in range(60):
        model = _fitted(machine, rng, {"plain": MS, "slowed": MS * slower})
        found += _gap(model, "slowed", "plain") > 1
    assert found >= least * 60


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.lists(st.floats(0.05, 500), min_size=2, max_size=6))
def test_milliseconds_and_ratios_never_contradict_each_other(seed, times):
    named = {f"v{index}": ms for index, ms in enumerate(times)}
    model = _fitted(Machine(bursts=0.3, hidden=0.2), np.random.default_rng(seed), named)
    for one, other in combinations(named, 2):
        by_ms = model.latency(one).p50 / model.latency(other).p50
        by_ratio = model.speedup(other, "float").ratio / model.speedup(one, "float").ratio
        assert by_ms == pytest.approx(by_ratio, rel=1e-9)
        assert model.speedup(one, other).ratio == pytest.approx(1 / by_ms, rel=1e-9)
    for name in named:
        latency = model.latency(name)
        assert latency.low <= latency.p50 <= latency.high
        assert latency.p50 <= latency.p90


def test_the_scale_and_the_unit_of_time_change_nothing_else():
    rng = np.random.default_rng(3)
    moments = [Machine().moment(rng, {"float": FLOAT_MS, "v": MS}) for _ in range(3)]
    slower = [
        [replace(turn, samples_ms=tuple(10 * ms for ms in turn.samples_ms)) for turn in turns]
        for turns in moments
    ]
    one, ten = time_model.fit(moments), time_model.fit(slower)
    assert ten.latency("v").p50 == pytest.approx(10 * one.latency("v").p50)
    assert ten.speedup("v", "float").ratio == pytest.approx(one.speedup("v", "float").ratio)
    assert ten.speedup("v", "float").low == pytest.approx(one.speedup("v", "float").low)


def test_drift_moves_no_ratio():
    rng = np.random.default_rng(4)
    moments = [Machine().moment(rng, {"float": FLOAT_MS, "v": MS}) for _ in range(2)]
    later = [replace(t, samples_ms=tuple(1.5 * ms for ms in t.samples_ms)) for t in moments[1]]
    still, drifted = time_model.fit(moments), time_model.fit([moments[0], later])
    assert drifted.speedup("v", "float").ratio == pytest.approx(
        still.speedup("v", "float").ratio, rel=0.01
    )
    assert drifted.drift > 0.2 > still.drift


def test_disturbed_turns_are_left_out():
    rng = np.random.default_rng(5)
    machine = Machine(bursts=0.3)
    model = time_model.fit([machine.moment(rng, {"float": FLOAT_MS, "v": MS}, rounds=8)])
    assert model.latency("v").p50 == pytest.approx(MS, rel=0.08)
    assert not model.busy


def test_a_moment_that_never_was_quiet_is_busy_and_still_counts():
    rng = np.random.default_rng(6)
    quiet = [Machine().moment(rng, {"float": FLOAT_MS, "v": MS}) for _ in range(3)]
    busy = Machine(bursts=1.0).moment(rng, {"float": FLOAT_MS, "w": MS})
    model = time_model.fit([*quiet, busy])
    assert model.busy == {3}
    assert model.speedup("w", "float").ratio == pytest.approx(4.0, rel=0.1)


def test_a_process_that_waited_for_its_core_was_disturbed():
    rng = np.random.default_rng(7)
    turns = Machine().moment(rng, {"float": FLOAT_MS, "v": MS})
    waiting = [replace(turn, waited=0.5) for turn in turns]
    assert time_model.fit([turns, waiting]).busy == {1}


def test_a_noisier_moment_has_a_wider_interval():
    rng = np.random.default_rng(8)
    calm, noisy = Machine(starts=0.01), Machine(starts=0.15)
    moments = [calm.moment(rng, {"float": FLOAT_MS, f"v{i}": MS}) for i in range(5)]
    moments.append(noisy.moment(rng, {"float": FLOAT_MS, "noisy": MS}))
    model = time_model.fit(moments)
    widths = {name: model.latency(name).high / model.latency(name).low for name in model.index}
    assert widths["noisy"] > 1.5 * max(widths[f"v{i}"] for i in range(5)) - 0.5


def test_what_float32_wanders_by_itself_is_not_laid_upon_variants():
    """Two variants of one moment are told apart as well as if float32 had been steady."""
    rng = np.random.default_rng(12)
    moments = []
    for number in range(8):
        variants = {"first": MS, f"v{number}": MS}
        wandering = FLOAT_MS * math.exp(rng.normal(0, 0.2))
        moments.append(Machine().moment(rng, {"float": wandering, **variants}))
    model = time_model.fit(moments, {"float": "torch"})
    between = model.speedup("v0", "first")
    over = model.speedup("v0", "torch")
    assert math.log(between.high / between.low) < 0.1 < math.log(over.high / over.low)
    assert between.ratio == pytest.approx(1.0, rel=0.05)


def test_a_file_alone_is_as_fast_as_itself():
    turns = Machine().moment(np.random.default_rng(9), {"float": FLOAT_MS})
    model = time_model.fit([turns])
    speedup = model.speedup("float", "float")
    assert (speedup.ratio, speedup.low, speedup.high, speedup.settled) == (1, 1, 1, True)
    assert model.latency("float").low < model.latency("float").p50


def test_files_of_one_name_are_one_file():
    rng = np.random.default_rng(10)
    moments = [Machine().moment(rng, {digest: FLOAT_MS, "v": MS}) for digest in ("a", "b")]
    model = time_model.fit(moments, {"a": "torch", "b": "torch"})
    assert set(model.index) == {"torch", "v"}
    assert model.latency("torch").starts == 12


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**31),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_few_or_wild_starts_give_wide_intervals_and_no_error(seed, starts, rounds, variants, wild):
    rng, machine = np.random.default_rng(seed), Machine(starts=wild, rounds=wild, hidden=0.3)
    files = [{"float": FLOAT_MS}, *({"float": FLOAT_MS, f"v{i}": MS} for i in range(variants))]
    model = time_model.fit([machine.moment(rng, each, starts, rounds) for each in files])
    assert np.isfinite(model.log_ms).all()
    assert np.isfinite(model.covariance).all()
    for name in model.index:
        speedup = model.speedup(name, "float")
        assert 0 < speedup.low <= speedup.ratio <= speedup.high
        assert math.log(speedup.high / speedup.low) <= 2 * time_model.MAX_HALF_WIDTH + 1e-9


def test_no_turns_are_refused():
    with pytest.raises(ValueError, match="at least one turn"):
        time_model.fit([[]])


def test_the_order_of_moments_changes_nothing():
    rng = np.random.default_rng(11)
    moments: list[tuple[Turn, ...]] = [
        Machine().moment(rng, {"float": FLOAT_MS, f"v{i}": MS}) for i in range(4)
    ]
    one, other = time_model.fit(moments), time_model.fit(moments[::-1])
    for name in one.index:
        assert one.latency(name).p50 == pytest.approx(other.latency(name).p50, rel=1e-6)
        assert one.latency(name).low == pytest.approx(other.latency(name).low, rel=1e-3)
