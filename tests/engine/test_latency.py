"""Timing files in turns: what comes back, and that a known ratio is found again."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from quantcore.engine import Timing, latency, processor, time_in_turns, time_model
from quantcore.engine.latency import MAX_CALLS_A_TURN, MIN_CALLS_A_TURN, TimedFile
from quantcore.errors import CancelledError
from quantcore.formats import torchscript
from quantcore.sandbox import ProcessPool, Progress, ignore_progress, never_stop
from quantcore.schema import MeasureSpec

SIDE = 48
QUICK = MeasureSpec(threads=1, starts=3, rounds=2, time_budget_s=5)
SPIN = "while True: pass"

pytestmark = [pytest.mark.timed, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, TimedFile]:
    """The same convolution once and three times over, as files."""
    folder = tmp_path_factory.mktemp("files")
    return {depth: _file(folder / str(depth), depth) for depth in (1, 3)}


def _file(path: Path, depth: int) -> TimedFile:
    import torch
    from torch import nn

    layers = [nn.Sequential(nn.Conv2d(48, 48, 3, padding=1), nn.ReLU()) for _ in range(2 * depth)]
    model = nn.Sequential(nn.Conv2d(3, 48, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torchscript.export(model.eval(), torch.randn(2, 3, SIDE, SIDE), None, {}, path)
    return TimedFile(path, None, SIDE)


@pytest.fixture(scope="module")
def alone(pool: ProcessPool, files: dict[int, TimedFile]) -> Timing:
    return time_in_turns(pool, {"one": files[1]}, QUICK, ignore_progress, never_stop)


@pytest.fixture
def spinning() -> Iterator[None]:
    """Other processes that keep every core busy, however they make room for one that is pinned."""
    with ExitStack() as stack:
        for _ in range(3 * (psutil.cpu_count() or 1)):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", SPIN]))
            stack.callback(process.kill)
        yield


def test_a_deeper_net_is_slower_about_as_many_times_as_it_is_deeper(
    pool: ProcessPool, files: dict[int, TimedFile]
) -> None:
    both = {"three": files[3], "one": files[1]}
    timing = time_in_turns(pool, both, QUICK, ignore_progress, never_stop)
    cold = timing.cold_start
    assert 0 < cold.low_ms <= cold.total_ms <= cold.high_ms
    assert 0 < cold.load_ms < cold.high_ms
    assert 0 < cold.first_answer_ms < cold.high_ms
    model = time_model.fit([timing.turns])
    # Wide: on a crowded machine a long call is interrupted more often than a short one.
    assert 1.5 < model.speedup("one", "three").ratio < 12
    assert model.speedup("one", "three").ratio == pytest.approx(
        1 / model.speedup("three", "one").ratio
    )


def test_starts_and_rounds_are_as_many_as_asked(alone: Timing) -> None:
    assert {turn.start for turn in alone.turns} >= set(range(QUICK.starts))
    for start in range(QUICK.starts):
        rounds = [turn.round for turn in alone.turns if turn.start == start]
        assert len(rounds) >= QUICK.rounds
        assert rounds == list(range(len(rounds)))


def test_every_call_of_a_turn_is_kept(alone: Timing) -> None:
    for turn in alone.turns:
        assert MIN_CALLS_A_TURN <= len(turn.samples_ms) <= MAX_CALLS_A_TURN
        assert min(turn.samples_ms) > 0
        assert turn.pace_ms > 0
        assert turn.waited >= 0


def test_where_time_is_up_there_is_still_enough_to_see_a_spread(
    pool: ProcessPool, files: dict[int, TimedFile]
) -> None:
    seen: list[Progress] = []
    hurried = MeasureSpec(threads=1, starts=20, rounds=50, time_budget_s=0.1)
    both = {"one": files[1], "again": files[1]}
    timing = time_in_turns(pool, both, hurried, seen.append, never_stop)
    assert len({turn.start for turn in timing.turns}) == time_model.MIN_QUIET_STARTS
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] < 1


def test_memory_is_counted_above_what_the_runtime_takes(
    pool: ProcessPool, files: dict[int, TimedFile], alone: Timing
) -> None:
    assert 50e6 < alone.memory_baseline_bytes < 2e9
    large_batch = MeasureSpec(threads=1, batch=64, starts=2, rounds=1, time_budget_s=0.1)
    many = time_in_turns(pool, {"one": files[1]}, large_batch, ignore_progress, never_stop)
    # 64 pictures hold at least two layers' activations more than one does.
    grown = 63 * 2 * 48 * SIDE * SIDE * 4
    assert many.peak_memory_bytes - alone.peak_memory_bytes > 0.5 * grown
    assert 0 < alone.peak_memory_bytes < 500e6


def test_other_work_on_every_core_marks_the_machine_as_busy(
    pool: ProcessPool, files: dict[int, TimedFile], spinning: None
) -> None:
    del spinning
    hurried = MeasureSpec(threads=1, starts=3, rounds=2, time_budget_s=0.5)
    timing = time_in_turns(pool, {"one": files[1]}, hurried, ignore_progress, never_stop)
    disturbed = [
        turn.waited > processor.MAX_WAITED or not processor.Paces().is_quiet(turn.pace_ms)
        for turn in timing.turns
    ]
    assert any(disturbed)


def test_no_file_is_always_first_nor_takes_two_turns_in_a_row(
    pool: ProcessPool, files: dict[int, TimedFile]
) -> None:
    three = {"one": files[1], "three": files[3], "again": files[1]}
    timing = time_in_turns(pool, three, QUICK, ignore_progress, never_stop)
    by_start = [[t.file for t in timing.turns if t.start == start] for start in range(QUICK.starts)]
    assert {turns[0] for turns in by_start} == set(three)
    for turns in by_start:
        assert all(one != after for one, after in itertools.pairwise(turns[:6]))


@pytest.mark.parametrize("threads", [1, 2])
def test_worker_threads_come_to_rest_before_the_next_file_has_its_turn(
    pool: ProcessPool,
    files: dict[int, TimedFile],
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
) -> None:
    rests: list[float] = []
    monkeypatch.setattr(latency.time, "sleep", rests.append)
    measure = replace(QUICK, threads=threads, starts=2)
    both = {"one": files[1], "three": files[3]}
    timing = time_in_turns(pool, both, measure, ignore_progress, never_stop)
    assert rests.count(latency.SPIN_S) == (len(timing.turns) if threads > 1 else 0)


def test_all_files_of_a_start_run_on_the_same_cores(alone: Timing) -> None:
    here = processor.cores()
    assert set(alone.steadying.cores) <= set(here)
    if len(here) > QUICK.threads:
        assert len(alone.steadying.cores) == QUICK.threads


def test_cancel_ends_all_children(pool: ProcessPool, files: dict[int, TimedFile]) -> None:
    asked: list[Progress] = []
    endless = MeasureSpec(threads=1, starts=1_000, time_budget_s=600)
    both = {"one": files[1], "three": files[3]}
    with pytest.raises(CancelledError):
        time_in_turns(pool, both, endless, asked.append, lambda: len(asked) > 1)
    assert psutil.Process(pool._process.pid).children() == []
