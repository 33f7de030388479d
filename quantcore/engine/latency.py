"""Time one artifact against the float artifacts, in alternating rounds.

Each lives in a child process of its own, idle while the others run, so that whatever slows the
machine slows all alike and the ratio of a round stays true. Returns raw samples; what
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
from quantcore.formats import Predictor, file_format
from quantcore.sandbox import Child, ProcessPool, Progress, ShouldStop, Watch, not_an_answer
from quantcore.schema import Latency, MeasureSpec, Options, Speedup

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

    `format` and its options say which runtime loads it; the backend's own unless one is named.
    """

    path: Path
    backend: str | None
    image_size: int
    format: str | None = None
    options: Options = ()

    def loaded(self, threads: int) -> Predictor:
        """Return the file in its runtime. Runs in a child process."""
        backend = runtime(self.backend)
        if self.format is None:
            return backend.load(self.path, threads)
        return file_format(self.format, dict(self.options)).load(self.path, backend, threads)

    @property
    def modules(self) -> tuple[str, ...]:
        """Return the modules of its runtime, which do not count as the file's memory."""
        if self.format is None:
            return runtime(self.backend).format.modules
        return file_format(self.format, dict(self.options)).modules


@dataclass(frozen=True)
class Timing:
    """Raw result of timing one file in turns with others; memory in bytes.

    `speedups` are over each of the others, in their order.
    """

    latency_ms: Latency
    speedups: tuple[Speedup, ...]
    rounds: int
    peak_memory_bytes: int
    memory_baseline_bytes: int
    machine_busy: bool

    @property
    def itself(self) -> Speedup:
        """Return the speed-up over itself, from as many rounds."""
        return Speedup(1.0, 1.0, 1.0, self.rounds, settled=True)

    @property
    def speedup(self) -> Speedup:
        """Return the speed-up over the first of the others; over itself where it ran alone."""
        return self.speedups[0] if self.speedups else self.itself


def time_in_turns(
    pool: ProcessPool,
    subject: TimedFile,
    references: Sequence[TimedFile],
    measure: MeasureSpec,
    watch: Watch,
    should_stop: ShouldStop,
) -> Timing:
    """Return the subject's latency, memory, and speed-up over each reference.

    Rounds alternate until every speed-up's interval is as narrow as asked or the time is used up.

    Raises:
        ChildDiedError: one of the processes died.
        CancelledError: `should_stop` said so.
    """
    with ExitStack() as stack:
        children = [
            stack.enter_context(_timed_child(pool, each, measure))
            for each in (*references, subject)
        ]
        for child in children:
            child.receive(should_stop=should_stop)
        with _busy_meter([child.pid for child in children]) as busy:
            rounds, speedups = _rounds(children, measure, watch, should_stop)
        peak_bytes, baseline_bytes = _memory(children[-1], should_stop)
    samples = [sample for each in rounds for sample in each]
    latency = metrics.latency(samples)
    return Timing(latency, speedups, len(rounds), peak_bytes, baseline_bytes, busy())


def _rounds(
    children: Sequence[Child], measure: MeasureSpec, watch: Watch, should_stop: ShouldStop
) -> tuple[list[list[float]], tuple[Speedup, ...]]:
    """Return the last child's milliseconds by round, and its speed-up over each of the others."""
    rounds: list[list[list[float]]] = [[] for _ in children]
    started = time.monotonic()
    while True:
        done = len(rounds[0])
        # The order changes from round to round, so that no file always finds the caches warm.
        for index in _order(len(children), done):
            rounds[index].append(_samples(children[index], should_stop))
        done += 1
        spent = time.monotonic() - started
        watch(Progress("timing", min(0.95, max(done / (done + 2), spent / measure.time_budget_s))))
        if done < measure.min_rounds:
            continue
        *others, own = rounds
        speedups = tuple(
            metrics.speedup(each, own, measure.target_interval, measure.min_rounds)
            for each in others
        )
        if all(each.settled for each in speedups) or spent > measure.time_budget_s:
            return own, speedups


def _order(count: int, round_index: int) -> list[int]:
    """Return in which order the children take their turns: forwards, then backwards."""
    indices = list(range(count))
    return indices if round_index % 2 == 0 else indices[::-1]


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
    """Yield a function that returns, after the block, whether other processes were busy."""
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

    for name in subject.modules:
        import_module(name)
    baseline_bytes = _status_bytes("VmRSS")
    torch.set_num_threads(measure.threads)
    predictor = subject.loaded(measure.threads)
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
