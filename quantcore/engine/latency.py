"""Time one artifact against the float artifact, in rounds that take turns.

The two live in child processes of their own, each idle while the other runs, so that whatever
slows the machine slows both alike and the ratio of a round stays true. Returns raw samples; what
they mean is for `metrics` to say.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, TypeVar

import psutil
from pydantic import Field, PositiveFloat, TypeAdapter

from quantcore.backends import runtime
from quantcore.engine import metrics
from quantcore.formats import TorchScript, exporter
from quantcore.sandbox import Child, ProcessPool, Progress, ShouldStop, Watch, not_an_answer
from quantcore.schema import Latency, MeasureSpec, Settings, Speedup

T = TypeVar("T")
ROUND_S = 0.12
MIN_CALLS_A_ROUND = 3
WARM_UP_S = 0.15
MIN_WARM_UP_CALLS = 6
# Others' use of the processor above which a measurement is marked: a quarter of one core.
BUSY_CORES = 0.25


@dataclass(frozen=True)
class TimedFile:
    """A file to time: where it is, the backend that runs it, and the side of its pictures in px.

    `format` and its options say which runtime loads it; TorchScript's unless another is named.
    """

    path: Path
    backend: str | None
    image_size: int
    format: str = TorchScript.name
    options: Settings = ()


@dataclass(frozen=True)
class Timing:
    """Raw result of timing one subject against the float one; memory in bytes."""

    latency_ms: Latency
    speedup: Speedup
    peak_memory_bytes: int
    memory_baseline_bytes: int
    machine_busy: bool


def time_against_float(
    pool: ProcessPool,
    subject: TimedFile,
    reference: TimedFile,
    measure: MeasureSpec,
    watch: Watch,
    should_stop: ShouldStop,
) -> Timing:
    """Return the subject's latency, memory, and speed-up over the reference.

    Rounds alternate until the speed-up's interval is as narrow as asked or the time is used up.

    Raises:
        ChildDiedError: one of the two processes died.
        CancelledError: `should_stop` said so.
    """
    with ExitStack() as stack:
        pair = [
            stack.enter_context(_timed_child(pool, each, measure)) for each in (reference, subject)
        ]
        for child in pair:
            child.receive(should_stop=should_stop)
        with _busy_meter([child.pid for child in pair]) as busy:
            rounds, speedup = _rounds(pair, measure, watch, should_stop)
        peak_bytes, baseline_bytes = _memory(pair[1], should_stop)
    samples = [sample for each in rounds[1] for sample in each]
    return Timing(metrics.latency(samples), speedup, peak_bytes, baseline_bytes, busy())


def time_alone(
    pool: ProcessPool,
    subject: TimedFile,
    measure: MeasureSpec,
    watch: Watch,
    should_stop: ShouldStop,
) -> Timing:
    """Return the float artifact's own latency and memory; its speed-up over itself is 1."""
    with _timed_child(pool, subject, measure) as child:
        child.receive(should_stop=should_stop)
        with _busy_meter([child.pid]) as busy:
            rounds = []
            for index in range(measure.min_rounds):
                watch(Progress("timing", index / measure.min_rounds))
                rounds.append(_samples(child, should_stop))
        peak_bytes, baseline_bytes = _memory(child, should_stop)
    samples = [sample for each in rounds for sample in each]
    itself = Speedup(1.0, 1.0, 1.0, len(rounds), settled=True)
    return Timing(metrics.latency(samples), itself, peak_bytes, baseline_bytes, busy())


def _rounds(
    pair: Sequence[Child], measure: MeasureSpec, watch: Watch, should_stop: ShouldStop
) -> tuple[tuple[list[list[float]], list[list[float]]], Speedup]:
    rounds: tuple[list[list[float]], list[list[float]]] = ([], [])
    started = time.monotonic()
    while True:
        # Who goes first changes from round to round, so that neither always finds the caches warm.
        order = (0, 1) if len(rounds[0]) % 2 == 0 else (1, 0)
        for index in order:
            rounds[index].append(_samples(pair[index], should_stop))
        done = len(rounds[0])
        spent = time.monotonic() - started
        watch(Progress("timing", min(0.95, max(done / (done + 2), spent / measure.time_budget_s))))
        if done < measure.min_rounds:
            continue
        speedup = metrics.speedup(*rounds, measure.target_interval, measure.min_rounds)
        if speedup.settled or spent > measure.time_budget_s:
            return rounds, speedup


def _samples(child: Child, should_stop: ShouldStop) -> list[float]:
    """Return the milliseconds of one round's calls."""
    child.send("round")
    return _valid(_SAMPLES, child.receive(should_stop=should_stop))


def _memory(child: Child, should_stop: ShouldStop) -> tuple[int, int]:
    """Return peak and baseline in bytes."""
    child.send("memory")
    return _valid(_MEMORY, child.receive(should_stop=should_stop))


def _valid(adapter: TypeAdapter[T], answer: Any) -> T:
    try:
        return adapter.validate_python(answer)
    except ValueError as error:
        raise not_an_answer() from error


_SAMPLES = TypeAdapter(Annotated[list[PositiveFloat], Field(min_length=1)])
_MEMORY = TypeAdapter(tuple[int, int])


@contextmanager
def _timed_child(pool: ProcessPool, subject: TimedFile, measure: MeasureSpec) -> Iterator[Child]:
    function = "quantcore.engine.latency:run_timed_child"
    with pool.spawn(function, subject, measure, reads=(subject.path,)) as child:
        yield child


@contextmanager
def _busy_meter(pids: Sequence[int]) -> Iterator[Any]:
    """Yield a function that tells, after the block, whether others used the processor meanwhile."""
    processes = [psutil.Process(pid) for pid in pids]
    before = _used_s(), sum(_cpu_s(each) for each in processes), time.monotonic()
    verdict: list[bool] = []
    yield lambda: verdict[0]
    elapsed = time.monotonic() - before[2]
    ours = sum(_cpu_s(each) for each in processes) - before[1]
    others = _used_s() - before[0] - ours
    verdict.append(others > BUSY_CORES * elapsed)


def _used_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def run_timed_child(connection: Connection, subject: TimedFile, measure: MeasureSpec) -> str:
    """Load the file in this child, warm it up, then time a round whenever the parent asks."""
    import torch

    made = exporter(subject.format, dict(subject.options))
    for name in made.modules:
        import_module(name)
    baseline_bytes = _status_bytes("VmRSS")
    torch.set_num_threads(measure.threads)
    predictor = made.load(subject.path, runtime(subject.backend), measure.threads)
    side = subject.image_size
    images = torch.randn(measure.batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    return answer_rounds(connection, predictor, images, baseline_bytes)


def answer_rounds(
    connection: Connection, predictor: Callable[[Any], Any], images: Any, baseline_bytes: int
) -> str:
    """Warm up, then answer every `round` with its milliseconds, and `memory` with bytes."""
    calls = _warm_up(predictor, images)
    connection.send("ready")
    while (command := connection.recv()) != "stop":
        if command == "round":
            connection.send(_round(predictor, images, calls))
        else:
            connection.send((_status_bytes("VmHWM") - baseline_bytes, baseline_bytes))
    return "stopped"


def _warm_up(predictor: Any, images: Any) -> int:
    """Call until kernels and caches have settled; return the calls that fill one round."""
    samples: list[float] = []
    started = time.perf_counter()
    while len(samples) < MIN_WARM_UP_CALLS or time.perf_counter() - started < WARM_UP_S:
        samples += _round(predictor, images, 1)
    typical_s = sorted(samples[len(samples) // 2 :])[len(samples) // 4] / 1_000
    return max(MIN_CALLS_A_ROUND, round(ROUND_S / typical_s))


def _round(predictor: Any, images: Any, calls: int) -> list[float]:
    samples = []
    for _ in range(calls):
        started = time.perf_counter_ns()
        predictor(images)
        samples.append(round((time.perf_counter_ns() - started) / 1e6, 5))
    return samples


def _status_bytes(field: str) -> int:
    """Return a memory figure of this process from the kernel, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1_024
    return 0
