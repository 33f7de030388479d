"""Results: measured figures with their units, as plain frozen data.

The JSON of a `Comparison` is the project's public format, schema 3, written down in
`docs/schema.json`; files of schema 1 and 2 (`docs/schema-1.json`, `docs/schema-2.json`) are read as
well. Each requested cell is either a `VariantResult` or a `Failure`.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from quantcore.errors import RequestError
from quantcore.schema.environment import Environment
from quantcore.schema.request import FLOAT_WORKFLOW, CompareRequest, Setting
from quantcore.schema.statistics import FloatStatistics

# What torch's float32, which needs no backend, is called among references.
TORCH_FLOAT = "torch"


@dataclass(frozen=True)
class Artifact:
    """The file that would ship: the digest of its bytes, its size, and its format."""

    sha256: str
    size_bytes: int
    format: str = "torchscript"


@dataclass(frozen=True)
class Turn:
    """Calls of one file in a row, in one round of one start of its process.

    Attributes:
        file: SHA-256 of the file.
        start: which start of the processes, from 0.
        round: which round within the start, from 0.
        pace_ms: of a fixed piece of work right before or after, the slower: it tells whether
            anybody slowed the processor down.
        waited: share of the time that the process waited for a core.
        samples_ms: of every call, in order.
    """

    file: str
    start: int
    round: int
    pace_ms: float
    waited: float
    samples_ms: tuple[float, ...]


@dataclass(frozen=True)
class Steadying:
    """What kept the processor steady: the cores used (none: any), and what the machine tells.

    Attributes:
        cores: numbers of the logical processors on which all files of the last start ran.
        governor: of the clock; None where the machine does not tell.
        turbo: whether the clock may rise above its base; None where the machine does not tell.
    """

    cores: tuple[int, ...] = ()
    governor: str | None = None
    turbo: bool | None = None


@dataclass(frozen=True)
class Latency:
    """Milliseconds per call: median, 90th percentile, and the median's 95 % interval.

    The interval is that of a machine as fast as it was on average; between the moments at which
    files were timed its speed wandered by `drift`, a standard deviation as a share. `starts` are
    the starts of the process that the interval comes from. Files before schema 3 do not know these.
    """

    p50: float
    p90: float
    low: float = 0.0
    high: float = 0.0
    starts: int = 0
    drift: float = 0.0


@dataclass(frozen=True)
class Speedup:
    """How many times faster than float32, with a 95 % interval from starts of both.

    `settled` is False where the interval is wider than asked, or the machine was busy. `rounds`
    are those of files before schema 3.
    """

    ratio: float
    low: float
    high: float
    starts: int = 0
    settled: bool = True
    rounds: int = 0


@dataclass(frozen=True)
class Accuracy:
    """Share of pictures labelled right (top-1), with a 95 % Wilson interval.

    `right` has a bit for each picture, the first one highest, in base64, so that any two rows can
    be compared picture by picture. Empty where it is unknown. `chance` is the share that always
    naming the most frequent class would get right; 0 in files before schema 3.
    """

    top1: float
    images: int
    low: float
    high: float
    right: str = ""
    chance: float = 0.0


@dataclass(frozen=True)
class Named:
    """The classes that a model names on the evaluation pictures.

    Attributes:
        classes: how many different ones it names at all.
        most: share of the pictures for which it names the one it names most often.
    """

    classes: int
    most: float


@dataclass(frozen=True)
class ColdStart:
    """Milliseconds until a new process has its first answer: what apps pay whenever they open.

    Its runtime's libraries are loaded already, which apps do in other ways than Python.

    Attributes:
        load_ms: to read the file and make it ready; median over starts of the process.
        first_answer_ms: of the first call, for as many pictures as are timed; median.
        total_ms: of both together; median.
        low_ms: of both together, in the quickest start.
        high_ms: of both together, in the slowest start.
    """

    load_ms: float
    first_answer_ms: float
    total_ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class Tuning:
    """What a conversion chose by itself, and what that brought.

    Attributes:
        observer: how the ranges of activations were found.
        sqnr_db: by each observer tried, the logits' signal to quantization noise, decibels, on
            calibration pictures that it had not seen; empty where none was tried.
        reduce_range: activations (torch) or weights (other runtimes) leave one of their 8 bits
            free, so that sums stay exact on processors without 8-bit dot products; else the file
            needs them.
        bias_correction: biases make up for what rounding the weights shifts.
        equalized: neighbouring layers' weights were balanced first.
        kept_float: names of the layers that stay in float, the most harmful first.
        layers: how many layers could have been in 8 bits.
        loss_points: what the file lost in the end on the pictures that chose the float layers, in
            points of top-1 (of agreement where they have no labels); None where none was chosen.
    """

    observer: str
    sqnr_db: dict[str, float] = field(default_factory=dict)
    reduce_range: bool = False
    bias_correction: bool = False
    equalized: bool = False
    kept_float: tuple[str, ...] = ()
    layers: int = 0
    loss_points: float | None = None


@dataclass(frozen=True)
class VariantResult:
    """Everything measured of one variant's artifact, freshly loaded.

    Attributes:
        key: SHA-256 of the request, the weights, and the environment.
        latency_ms: per call of `batch` pictures.
        agreement: share of pictures on which it names the same class as float32; None for
            random weights.
        sqnr_db: signal to quantization noise of the logits, decibels; None for random weights
            and where there is no noise.
        fidelity_images: how many pictures agreement and sqnr_db are over.
        int8_share: share of the float model's multiply-adds that run in 8 bits in the artifact.
        peak_memory_bytes: most resident memory above `memory_baseline_bytes`, which is what the
            process held before it loaded the file.
        machine_busy: other processes used the machine while it was timed.
        cached: the figures come from an earlier run on this machine.
        notes: sentences about this row for its reader.
        predictions: SHA-256 of the stored logits, for comparisons picture by picture.
        speedup: over the float32 of its own backend.
        speedups: over every float32 that took turns with it, by that one's backend; `torch` is
            torch's own. Empty in files of schema 1.
        turns: every timed call of its file and of those that took turns with it. Empty in files
            before schema 3.
        floats: SHA-256 of each float32 file that took turns with it, by name as in `speedups`.
        named: the classes it names; None for random weights and in files before schema 3.
        steadying: what kept the processor steady meanwhile.
        statistics: of torch's float32 on its pictures. None of all other rows, of programs, and
            where accuracy is not measured.
        tuning: what its conversion chose by itself; None where there was nothing to choose.
        cold_start: until its first answer; None in files before it was measured.
    """

    key: str
    model: str
    workflow: str
    backend: str | None
    settings: dict[str, Setting]
    threads: int
    batch: int
    image_size: int
    artifact: Artifact
    state_dict_bytes: int
    latency_ms: Latency
    speedup: Speedup
    accuracy: Accuracy | None
    agreement: float | None
    sqnr_db: float | None
    fidelity_images: int
    int8_share: float
    peak_memory_bytes: int
    memory_baseline_bytes: int
    machine_busy: bool
    conversion_s: float
    cached: bool = False
    notes: tuple[str, ...] = ()
    predictions: str | None = None
    speedups: dict[str, Speedup] = field(default_factory=dict)
    turns: tuple[Turn, ...] = ()
    floats: dict[str, str] = field(default_factory=dict)
    steadying: Steadying = field(default_factory=Steadying)
    named: Named | None = None
    statistics: FloatStatistics | None = None
    tuning: Tuning | None = None
    cold_start: ColdStart | None = None

    @property
    def is_float(self) -> bool:
        """Return whether this is a float32 row."""
        return self.workflow == FLOAT_WORKFLOW

    @property
    def has_speedup(self) -> bool:
        """Return whether a float32 took turns with it: a model that came in 8 bits has none.

        Rows of files before schema 3 bring a speed-up and no turns.
        """
        return bool(self.floats) or not self.turns

    @property
    def float_name(self) -> str:
        """Return the name of a float32 row among the references in `speedups`."""
        return self.backend or TORCH_FLOAT


class Rows(tuple[VariantResult, ...]):
    """Results that are equal to no others but the very same, so that comparing them costs nothing.

    What the job queue read once stays the same object until its row is another one.
    """

    __slots__ = ()

    def __hash__(self) -> int:
        """Return a number that tells these objects from others."""
        return hash(tuple(map(id, self)))

    def __eq__(self, other: object) -> bool:
        """Return whether both hold the very same results in the same order."""
        return (
            isinstance(other, Rows)
            and len(self) == len(other)
            and all(mine is its for mine, its in zip(self, other, strict=True))
        )

    def __ne__(self, other: object) -> bool:
        """Return whether they differ: `tuple.__ne__` would compare the contents."""
        return not self == other


@dataclass(frozen=True)
class Failure:
    """A cell without figures: the reason and the remedy.

    Attributes:
        details: the technical text, if any.
        refused: the variant is not supported; nothing was run.
        died: its process was killed or ended by itself; a user may have it tried once more.
        image_size: requested side in px, as `threads` and `batch`; None in older files.
    """

    key: str
    model: str
    workflow: str
    backend: str | None
    settings: dict[str, Setting]
    reason: str
    remedy: str
    details: str = ""
    refused: bool = True
    died: bool = False
    image_size: int | None = None
    threads: int | None = None
    batch: int | None = None

    @property
    def is_float(self) -> bool:
        """Return whether this is the failure of a float32."""
        return self.workflow == FLOAT_WORKFLOW


@dataclass(frozen=True)
class Comparison:
    """A comparison: the request, the environment, and every cell as a result or a failure.

    `also` holds the further requests of a sweep.
    """

    created: str
    environment: Environment
    request: CompareRequest
    results: tuple[VariantResult, ...]
    failures: tuple[Failure, ...]
    schema: Literal[1, 2, 3] = 3
    also: tuple[CompareRequest, ...] = ()

    @property
    def missing(self) -> int:
        """Return how many of the cells asked for are still to be measured."""
        asked = sum(len(request.variants) for request in (self.request, *self.also))
        return max(0, asked - len(self.results) - len(self.failures))

    def to_json(self) -> str:
        """Return the comparison in the public format, indented."""
        return _COMPARISON.dump_json(self, indent=2).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Comparison":
        """Return the comparison that `to_json` wrote.

        Raises:
            RequestError: the text is of no schema that is known here.
        """
        try:
            return _COMPARISON.validate_json(text)
        except ValueError as error:
            raise RequestError(
                "This file is not a comparison of schema 1 to 3.",
                "Take one that `compare --json` wrote, with this version or an earlier one.",
            ) from error


_COMPARISON = TypeAdapter(Comparison)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the public format, as `docs/schema.json` holds it."""
    return _COMPARISON.json_schema(mode="serialization")
