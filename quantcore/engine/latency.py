"""Time one artifact in turns with others, through several starts of all their processes.

Every start of a process has a level of its own, so a file is started several times. In each start
the files take turns, round by round, on the same cores, idle while the others run. Turns in which
the processor was disturbed are repeated. Returns every turn; what they mean is for `time_model` to
say.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import PositiveFloat, TypeAdapter

from quantcore.backends import runtime
from quantcore.engine import processor
from quantcore.engine.time_model import MIN_QUIET_STARTS
from quantcore.formats import Predictor, file_format
from quantcore.sandbox import Child, ProcessPool, Progress, ShouldStop, Watch, not_an_answer
from quantcore.schema import ColdStart, MeasureSpec, Options, Steadying, Turn

TURN_S = 0.015
MIN_CALLS_A_TURN, MAX_CALLS_A_TURN = 3, 16
# The first calls of a turn find the caches filled by the file before; they are not recorded.
TURN_WARM_UP_S = 0.008
WARM_UP_S = 0.05
MIN_WARM_UP_CALLS = 6
# Disturbed rounds that are repeated in one start, and disturbed starts in all.
MAX_REPEATED_ROUNDS = 3
MAX_REPEATED_STARTS = 3
# Somebody else's burst of work is often over after this time.
PAUSE_S = 0.05
# Worker threads wait for more work on their cores for some milliseconds after a call; whoever is
# next would share these with them.
SPIN_S = 0.02


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
    """Raw result of timing one file in turns with others; memory and cold start are the first's."""

    turns: tuple[Turn, ...]
    peak_memory_bytes: int
    memory_baseline_bytes: int
    steadying: Steadying
    cold_start: ColdStart


@dataclass(frozen=True)
class _Spell:
    """One turn as its child reports it: whether it was disturbed shows in `pace_ms` and `waited`.

    Its fields are those of `Turn`.
    """

    pace_ms: PositiveFloat
    waited: float
    samples_ms: tuple[PositiveFloat, ...]


@dataclass(frozen=True)
class _Began:
    """How a child reports its start; the fields are those of `ColdStart`."""

    load_ms: PositiveFloat
    first_answer_ms: PositiveFloat


_SPELL = TypeAdapter(_Spell)
_BEGAN = TypeAdapter(_Began)
_MEMORY = TypeAdapter(tuple[int, int])
_PACE = TypeAdapter(PositiveFloat)
# What this process has seen of its machine, whichever files it timed.
_PACES = processor.Paces()


def time_in_turns(
    pool: ProcessPool,
    files: dict[str, TimedFile],
    measure: MeasureSpec,
    watch: Watch,
    should_stop: ShouldStop,
) -> Timing:
    """Return every turn of some files, and the memory that the first of them takes.

    Args:
        pool: that starts their processes.
        files: by the name that their turns bear, the file in question first.
        measure: starts, rounds, threads, and the time after which nothing is repeated.
        watch: told how far it is.
        should_stop: asked at every turn.

    Raises:
        ChildDiedError: one of the processes died.
        CancelledError: `should_stop` said so.
    """
    race = _Race(pool, files, measure, watch, should_stop)
    while not race.is_over:
        race.start()
    return race.timing()


class _Race:
    """Starts of the same files, until enough of them were undisturbed."""

    def __init__(
        self,
        pool: ProcessPool,
        files: dict[str, TimedFile],
        measure: MeasureSpec,
        watch: Watch,
        should_stop: ShouldStop,
    ) -> None:
        self._pool = pool
        self._files = files
        self._measure = measure
        self._watch = watch
        self._should_stop = should_stop
        self._began = time.monotonic()
        self._turns: list[Turn] = []
        self._starts = 0
        self._quiet_starts = 0
        self._memory = 0, 0
        self._began_ms: list[_Began] = []
        self._cores: list[int] = []

    @property
    def is_over(self) -> bool:
        """Return whether there are starts enough, or no time for more than what must be."""
        wanted = self._measure.starts
        if self._quiet_starts >= wanted or self._starts >= wanted + MAX_REPEATED_STARTS:
            return True
        return self._is_late and self._starts >= min(wanted, MIN_QUIET_STARTS)

    @property
    def _is_late(self) -> bool:
        return time.monotonic() - self._began > self._measure.time_budget_s

    def timing(self) -> Timing:
        """Return what was measured."""
        steadying = processor.steadying(self._cores)
        return Timing(tuple(self._turns), *self._memory, steadying, _cold_start(self._began_ms))

    def start(self) -> None:
        """Start all files, and let them take turns until enough rounds were undisturbed."""
        with ExitStack() as stack:
            # Whoever starts, or takes its turn, first or after whom is better or worse off.
            children = {
                name: stack.enter_context(self._child(self._files[name]))
                for name in _rotated(list(self._files), self._starts)
            }
            began = {
                name: self._valid(child.receive(should_stop=self._should_stop), _BEGAN)
                for name, child in children.items()
            }
            self._began_ms.append(began[next(iter(self._files))])
            self._settle(children)
            quiet = self._rounds(children)
            if not self._starts:
                first = next(iter(self._files))
                self._memory = self._ask(children[first], "memory", _MEMORY)
        self._starts += 1
        self._quiet_starts += quiet > 0
        share = max(self._quiet_starts, self._starts - 1) / self._measure.starts
        self._watch(Progress("timing", min(0.95, share)))

    def _rounds(self, children: dict[str, Child]) -> int:
        """Take turns until every file had undisturbed ones; return how many the least one had."""
        quiet = dict.fromkeys(children, 0)
        for index in range(self._measure.rounds + MAX_REPEATED_ROUNDS):
            lacking = [name for name in children if quiet[name] < self._measure.rounds]
            if not lacking or (index and self._is_late):
                break
            turns = [self._turn(children, name, index) for name in _rotated(lacking, index)]
            self._turns += turns
            for turn in turns:
                quiet[turn.file] += _is_quiet(turn)
            if min(quiet[name] for name in lacking) <= index:
                self._settle(children)
        return min(quiet.values())

    def _turn(self, children: dict[str, Child], name: str, index: int) -> Turn:
        if self._measure.threads > 1:
            time.sleep(SPIN_S)
        spell = self._ask(children[name], "turn", _SPELL)
        _PACES.note(spell.pace_ms)
        return Turn(name, self._starts, index, spell.pace_ms, spell.waited, spell.samples_ms)

    def _settle(self, children: dict[str, Child]) -> None:
        """Move all to the cores that nobody slows down; where all are slow, wait a little."""
        every = processor.cores()
        first = next(iter(children.values()))
        if self._measure.threads < len(every):
            paces = {}
            for core in every[: max(processor.MAX_CORES_TRIED, self._measure.threads)]:
                processor.pin(first.pid, [core])
                paces[core] = self._ask(first, "pace", _PACE)
            self._cores = sorted(paces, key=paces.__getitem__)[: self._measure.threads]
            pace = max(paces[core] for core in self._cores)
        else:
            self._cores = []
            pace = self._ask(first, "pace", _PACE)
        for child in children.values():
            processor.pin(child.pid, self._cores)
        if not _PACES.is_quiet(pace) and not self._is_late:
            time.sleep(PAUSE_S)

    def _ask(self, child: Child, question: str, answer: TypeAdapter[Any]) -> Any:
        child.send(question)
        return self._valid(child.receive(should_stop=self._should_stop), answer)

    @staticmethod
    def _valid(reply: Any, answer: TypeAdapter[Any]) -> Any:
        try:
            return answer.validate_python(reply)
        except ValueError as error:
            raise not_an_answer() from error

    @contextmanager
    def _child(self, file: TimedFile) -> Iterator[Child]:
        function = "quantcore.engine.latency:run_timed_child"
        with self._pool.spawn(function, file, self._measure, reads=(file.path,)) as child:
            yield child


def _rotated(names: list[str], by: int) -> list[str]:
    """Return the names in an order that begins with another one each time."""
    first = by % len(names)
    return names[first:] + names[:first]


def _cold_start(starts: list[_Began]) -> ColdStart:
    totals = [start.load_ms + start.first_answer_ms for start in starts]
    return ColdStart(
        load_ms=round(median(start.load_ms for start in starts), 3),
        first_answer_ms=round(median(start.first_answer_ms for start in starts), 3),
        total_ms=round(median(totals), 3),
        low_ms=round(min(totals), 3),
        high_ms=round(max(totals), 3),
    )


def _is_quiet(turn: Turn) -> bool:
    return _PACES.is_quiet(turn.pace_ms) and turn.waited <= processor.MAX_WAITED


def run_timed_child(connection: Connection, subject: TimedFile, measure: MeasureSpec) -> str:
    """Load the file in this child, warm it up, then take a turn whenever the parent asks."""
    import torch

    for name in subject.modules:
        import_module(name)
    baseline_bytes = _status_bytes("VmRSS")
    torch.set_num_threads(measure.threads)
    side = subject.image_size
    images = torch.randn(measure.batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    return answer_turns(connection, lambda: subject.loaded(measure.threads), images, baseline_bytes)


def answer_turns(
    connection: Connection,
    load: Callable[[], Callable[[Any], Any]],
    images: Any,
    baseline_bytes: int,
) -> str:
    """Load a file, call it once and send what that took, then warm up.

    After that every `turn` is answered with its calls, `pace` with ms, and `memory` with bytes.
    """
    started = time.perf_counter_ns()
    predictor = load()
    load_ms = (time.perf_counter_ns() - started) / 1e6
    (first_answer_ms,) = _calls(predictor, images, 1)
    typical_s = _warm_up(predictor, images)
    answers: dict[str, Callable[[], Any]] = {
        "turn": lambda: _spell(predictor, images, typical_s),
        "pace": processor.pace_ms,
        "memory": lambda: (_status_bytes("VmHWM") - baseline_bytes, baseline_bytes),
    }
    connection.send({"load_ms": load_ms, "first_answer_ms": first_answer_ms})
    while (command := connection.recv()) != "stop":
        connection.send(answers[command]())
    return "stopped"


def _warm_up(predictor: Any, images: Any) -> float:
    """Call until kernels and caches have settled; return the seconds of a typical call."""
    samples: list[float] = []
    started = time.perf_counter()
    while len(samples) < MIN_WARM_UP_CALLS or time.perf_counter() - started < WARM_UP_S:
        samples += _calls(predictor, images, 1)
    return sorted(samples[len(samples) // 2 :])[len(samples) // 4] / 1_000


def _spell(predictor: Any, images: Any, typical_s: float) -> dict[str, Any]:
    """Return one turn: the pace before and after, how long it waited, and its calls."""
    _calls(predictor, images, max(1, round(TURN_WARM_UP_S / typical_s)))
    count = min(MAX_CALLS_A_TURN, max(MIN_CALLS_A_TURN, round(TURN_S / typical_s)))
    before, waited, began = processor.pace_ms(), processor.waited_ns(), time.perf_counter_ns()
    samples = _calls(predictor, images, count)
    elapsed = time.perf_counter_ns() - began
    waited = processor.waited_ns() - waited
    return {
        "pace_ms": round(max(before, processor.pace_ms()), 4),
        "waited": round(max(0.0, waited / elapsed), 4),
        "samples_ms": [float(f"{ms:.4g}") for ms in samples],
    }


def _calls(predictor: Any, images: Any, count: int) -> list[float]:
    samples = []
    for _ in range(count):
        started = time.perf_counter_ns()
        predictor(images)
        samples.append((time.perf_counter_ns() - started) / 1e6)
    return samples


def _status_bytes(field: str) -> int:
    """Return a memory figure of this process from the kernel, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1_024
    return 0
