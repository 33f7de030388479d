"""Requests: plain frozen data that hashes, compares, and goes to and from JSON.

Nothing here knows how a request is answered. Keys in the cache are made of digests of specs.
"""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter

from quantcore.errors import RequestError
from quantcore.schema.digests import canonical_json
from quantcore.settings import DEFAULT_TIME_BUDGET_S, Settings

Setting = bool | int | float | str | None | tuple[str, ...]
Options = tuple[tuple[str, Setting], ...]

RANDOM = "@random"
# The workflow that converts nothing, to whose rows all others are compared.
FLOAT_WORKFLOW = "float32"
SOURCES = ("bundled", "torchvision", "upload")
# Where a model is shipped to, with its name for people. None, beside these, is not decided yet.
Target = Literal["server", "phone", "browser"]
TARGETS: dict[Target, str] = {
    "server": "Server or PC",
    "phone": "Phone app",
    "browser": "Browser",
}


# Threads, or pictures, of one timed call. More would only end the process that tries.
MAX_AT_ONCE = 1_024
# One start of a process has no spread.
MIN_STARTS = 2


@dataclass(frozen=True, order=True)
class ModelSpec:
    """A float model: `bundled/NAME`, `torchvision/NAME[@random]` or `upload/TOKEN`."""

    name: str

    def __post_init__(self) -> None:
        if self.source not in SOURCES or not self.architecture:
            raise RequestError(
                f"{self.name!r} does not name a model.",
                "Write bundled/NAME, torchvision/NAME or torchvision/NAME@random; "
                "`python -m quantcore models` lists the names.",
            )

    @property
    def source(self) -> str:
        """Return `bundled`, `torchvision` or `upload`."""
        return self.name.partition("/")[0]

    @property
    def architecture(self) -> str:
        """Return the name without source and mark: `mobilenet_v2`."""
        return self.name.partition("/")[2].removesuffix(RANDOM)

    @property
    def listed(self) -> str:
        """Return the name without mark, as the catalogue lists it: `torchvision/resnet18`."""
        return self.name.removesuffix(RANDOM)

    @property
    def is_random(self) -> bool:
        """Return whether the weights are seeded noise: only sizes and latencies are real then."""
        return self.name.endswith(RANDOM)


@dataclass(frozen=True)
class Variant:
    """One cell: a workflow with its settings, on a backend (None for float32, which needs none)."""

    workflow: str
    backend: str | None
    settings: Options = ()

    @property
    def is_float(self) -> bool:
        """Return whether this is float32, which converts nothing."""
        return self.workflow == FLOAT_WORKFLOW

    @property
    def label(self) -> str:
        """Return the variant in words: `static on x86`."""
        return f"{self.workflow} on {self.backend}" if self.backend else self.workflow


def _require_whole(**values: object) -> None:
    """Raise `RequestError` for a value that is no whole number."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool):
            what = name.replace("_", " ").capitalize()
            raise RequestError(f"{what}: {value!r} is no whole number.", "Give one: 8.")


@dataclass(frozen=True)
class ImageSpec:
    """The pictures of a comparison, and how many of them evaluate the model.

    Attributes:
        source: a folder or zip of pictures, or `upload/TOKEN`; None takes the model's own bundled
            set.
        evaluation_images: how many pictures accuracy and agreement are measured on, at most.
        image_size: side in px the model sees; None takes the model's own.
        seed: of the split into calibration, QAT and evaluation pictures.
    """

    source: str | None = None
    evaluation_images: int = 2_000
    image_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        size = {} if self.image_size is None else {"image_size": self.image_size}
        _require_whole(evaluation_images=self.evaluation_images, seed=self.seed, **size)
        if self.evaluation_images < 1:
            raise RequestError(
                f"{self.evaluation_images} evaluation images measure nothing.",
                "Ask for at least 1.",
            )
        if self.image_size is not None and not 16 <= self.image_size <= 1_024:
            raise RequestError(
                f"An image size of {self.image_size} px is out of range.", "Take 16 to 1,024 px."
            )


@dataclass(frozen=True)
class MeasureSpec:
    """The conditions under which latency is timed.

    Attributes:
        threads: threads the model may use.
        batch: pictures per call.
        starts: how often the processes are started. More after the figures are seen would make
            their intervals too narrow, so the number is fixed.
        rounds: undisturbed turns of each file in each start.
        time_budget_s: seconds after which a variant's disturbed rounds are not repeated any more.
    """

    threads: int = 1
    batch: int = 1
    starts: int = 6
    rounds: int = 4
    time_budget_s: float = DEFAULT_TIME_BUDGET_S

    def __post_init__(self) -> None:
        counts = {"threads": self.threads, "batch": self.batch}
        _require_whole(**counts, starts=self.starts, rounds=self.rounds)
        for name, value in (("threads", self.threads), ("a batch", self.batch)):
            if not 1 <= value <= MAX_AT_ONCE:
                reason = f"{value:,} is out of range for {name}."
                raise RequestError(reason, f"Take 1 to {MAX_AT_ONCE:,}.")
        if self.starts < MIN_STARTS or self.rounds < 1:
            reason = f"{self.starts} starts of {self.rounds} rounds show no spread."
            raise RequestError(reason, f"Take {MIN_STARTS} starts or more, of 1 round or more.")

    @classmethod
    def of(cls, settings: Settings, threads: int | None = None, batch: int = 1) -> "MeasureSpec":
        """Return the conditions that a process's settings ask for; None takes their threads."""
        return cls(
            settings.threads if threads is None else threads,
            batch,
            time_budget_s=settings.time_budget_s,
        )


@dataclass(frozen=True)
class CompareRequest:
    """A request: variants of a model, the pictures, the conditions of timing, and the target.

    The target (None: not decided) decides no figure, only what the figures are weighed for.
    """

    model: ModelSpec
    variants: tuple[Variant, ...]
    images: ImageSpec = field(default_factory=ImageSpec)
    measure: MeasureSpec = field(default_factory=MeasureSpec)
    target: Target | None = None

    @property
    def workflows(self) -> frozenset[str]:
        """Return the names of the workflows that are compared."""
        return frozenset(variant.workflow for variant in self.variants)

    def to_json(self) -> str:
        """Return the request as canonical JSON."""
        return canonical_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> "CompareRequest":
        """Return the request that `to_json` wrote.

        Raises:
            RequestError: the text is not such a request.
        """
        try:
            return _REQUEST.validate_json(text)
        except ValueError as error:
            raise RequestError("This is not a comparison request.", str(error)) from error


_REQUEST = TypeAdapter(CompareRequest)
