"""Timing two files in turns: what comes back, and that a known ratio is found again."""

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from quantcore.engine import Timing, latency, time_in_turns
from quantcore.engine.latency import TimedFile
from quantcore.errors import CancelledError
from quantcore.formats import torchscript
from quantcore.sandbox import ProcessPool, Progress, ignore_progress, never_stop
from quantcore.schema import MeasureSpec

SIDE = 48
QUICK = MeasureSpec(threads=1, min_rounds=3, time_budget_s=0.5)
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
    return time_in_turns(pool, files[1], [], QUICK, ignore_progress, never_stop)


@pytest.fixture
def spinning() -> Iterator[None]:
    """Another process that keeps a core busy."""
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        yield
        process.kill()


def against(
    pool: ProcessPool,
    subject: TimedFile,
    reference: TimedFile,
    spec: MeasureSpec = QUICK,
    watch: Callable[[Progress], None] = ignore_progress,
) -> Timing:
    return time_in_turns(pool, subject, [reference], spec, watch, never_stop)


def test_a_deeper_net_is_slower_about_as_many_times_as_it_is_deeper(
    pool: ProcessPool, files: dict[int, TimedFile]
) -> None:
    slower = against(pool, files[3], files[1]).speedup
    faster = against(pool, files[1], files[3]).speedup
    # Wide: on a crowded machine a long call is interrupted more often than a short one.
    assert 1 / 12 < slower.ratio < 1 / 1.5
    assert 1.5 < faster.ratio < 12
    for speedup in (slower, faster):
        assert speedup.low <= speedup.ratio <= speedup.high


def test_rounds_go_on_until_the_time_is_up_and_say_so(
    pool: ProcessPool, files: dict[int, TimedFile]
) -> None:
    seen: list[Progress] = []
    impossible = MeasureSpec(threads=1, min_rounds=2, target_interval=1e-9, time_budget_s=0.1)
    timing = against(pool, files[1], files[1], impossible, seen.append)
    assert not timing.speedup.settled
    assert timing.speedup.rounds == len(seen) >= 2
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] < 1


def test_rounds_end_as_soon_as_the_interval_is_narrow(
    pool: ProcessPool, files: dict[int, TimedFile]
) -> None:
    easy = MeasureSpec(threads=1, min_rounds=3, target_interval=1e9, time_budget_s=60)
    speedup = against(pool, files[1], files[1], easy).speedup
    assert (speedup.rounds, speedup.settled) == (3, True)


def test_every_sample_is_kept(alone: Timing) -> None:
    samples = alone.latency_ms.samples
    assert len(samples) % QUICK.min_rounds == 0
    assert len(samples) >= QUICK.min_rounds * latency.MIN_CALLS_A_ROUND
    assert min(samples) > 0
    assert alone.latency_ms.p50 == pytest.approx(statistics.median(samples), rel=1e-3)
    assert alone.latency_ms.p50 <= alone.latency_ms.p90 <= max(samples)


def test_float_alone_is_as_fast_as_itself(alone: Timing) -> None:
    speedup = alone.speedup
    assert (speedup.ratio, speedup.low, speedup.high, speedup.rounds) == (1, 1, 1, 3)
    assert speedup.settled


def test_memory_is_counted_above_what_the_runtime_takes(
    pool: ProcessPool, files: dict[int, TimedFile], alone: Timing
) -> None:
    assert 50e6 < alone.memory_baseline_bytes < 2e9
    large_batch = MeasureSpec(threads=1, batch=64, min_rounds=2, time_budget_s=0.1)
    many = time_in_turns(pool, files[1], [], large_batch, ignore_progress, never_stop)
    # 64 pictures hold at least two layers' activations more than one does.
    grown = 63 * 2 * 48 * SIDE * SIDE * 4
    assert many.peak_memory_bytes - alone.peak_memory_bytes > 0.5 * grown
    assert 0 < alone.peak_memory_bytes < 500e6


@pytest.mark.usefixtures("spinning")
def test_other_work_marks_the_machine_as_busy(
    pool: ProcessPool, files: dict[int, TimedFile]
) -> None:
    assert time_in_turns(pool, files[1], [], QUICK, ignore_progress, never_stop).machine_busy


def test_its_own_work_does_not_mark_the_machine_as_busy(
    pool: ProcessPool, files: dict[int, TimedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = psutil.Process(pool._process.pid)
    monkeypatch.setattr(latency, "_used_s", lambda: _spent_s(own))
    timing = time_in_turns(pool, files[1], [], QUICK, ignore_progress, never_stop)
    assert not timing.machine_busy


def _spent_s(pool: psutil.Process) -> float:
    """Return the processor seconds of the children alone, as if nothing else ran."""
    return sum(
        times.user + times.system
        for times in (child.cpu_times() for child in pool.children(recursive=True))
    )


def test_cancel_ends_both_children(pool: ProcessPool, files: dict[int, TimedFile]) -> None:
    asked: list[Progress] = []
    endless = MeasureSpec(threads=1, target_interval=1e-9, time_budget_s=600)
    with pytest.raises(CancelledError):
        time_in_turns(pool, files[1], [files[3]], endless, asked.append, lambda: len(asked) > 1)
    assert psutil.Process(pool._process.pid).children() == []
