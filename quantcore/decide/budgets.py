"""Limits a product has to keep, and whether a candidate keeps them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from quantcore import wording
from quantcore.errors import RequestError
from quantcore.settings import Settings


@dataclass(frozen=True)
class Smallest:
    """The smallest differences that count; what differs by less is called equal.

    Attributes:
        share: of size and of time, 0.02 is 2 %.
        points: percentage points of top-1.
    """

    share: float = 0.02
    points: float = 0.1

    @classmethod
    def of(cls, settings: Settings) -> "Smallest":
        """Return those that a process's settings ask for."""
        return cls(settings.smallest_percent / 100, settings.smallest_points)

    @property
    def sentence(self) -> str:
        """Return them in words."""
        return (
            f"Differences below {wording.percent(self.share, 0)} in size and time and "
            f"{wording.points(self.points)} of accuracy do not count."
        )


@dataclass(frozen=True)
class Budgets:
    """Upper limits of a product; None is no limit.

    Attributes:
        size_bytes: bytes of the artifact.
        latency_ms: median milliseconds per call.
        accuracy_lost_points: percentage points of top-1 below float32; negative asks for a gain.
        peak_memory_bytes: resident bytes above the runtime's own.
        smallest: the differences that count at all.
    """

    size_bytes: float | None = None
    latency_ms: float | None = None
    accuracy_lost_points: float | None = None
    peak_memory_bytes: float | None = None
    smallest: Smallest = field(default_factory=Smallest)

    def __post_init__(self) -> None:
        for name, limit in self.limits().items():
            if not math.isfinite(limit) or (limit < 0 and name != "accuracy_lost_points"):
                raise RequestError(
                    f"A {KINDS[name].noun} budget of {limit} cannot be met.",
                    "Give a number above zero, or leave it out.",
                )

    @classmethod
    def of(cls, limits: Mapping[str, float], settings: Settings) -> "Budgets":
        """Return the limits of these names, with the differences that a process's settings count.

        Raises:
            RequestError: a limit that cannot be met.
        """
        named: dict[str, Any] = dict(limits)
        return cls(**named, smallest=Smallest.of(settings))

    def limits(self) -> dict[str, float]:
        """Return the budgets that are set, by name, in the order they are evaluated."""
        pairs = ((name, getattr(self, name)) for name in KINDS)
        return {name: float(limit) for name, limit in pairs if limit is not None}


class _Text(Protocol):
    def __call__(self, value: float, count: int = 2, /) -> str: ...


@dataclass(frozen=True)
class Kind:
    """The words for one budget and its figure, and a function for how far a value exceeds it."""

    noun: str
    figure: str
    text: _Text
    excess: Callable[[float, float], float]


def _relative(value: float, limit: float) -> float:
    return math.log(value / limit) if limit > 0 and value > 0 else math.inf


def _points(value: float, limit: float) -> float:
    return (value - limit) * POINT_COST


# A difference in memory that counts, as a share and in bytes: it is measured with less precision.
MEMORY_SHARE, MIN_MEMORY_BYTES = 0.1, 1_000_000
# One point of accuracy weighs as much as being 1.4 times slower: ln 1.4.
POINT_COST = 0.35
KINDS = {
    "size_bytes": Kind("size", "size", wording.megabytes, _relative),
    "latency_ms": Kind("latency", "latency", wording.milliseconds, _relative),
    "accuracy_lost_points": Kind("accuracy", "loss of accuracy", wording.points, _points),
    "peak_memory_bytes": Kind("memory", "peak memory", wording.megabytes, _relative),
}


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; low equals high where it is exact."""

    value: float
    low: float
    high: float

    def crosses(self, limit: float) -> bool:
        """Return whether the interval holds values on both sides of the limit."""
        return self.low <= limit < self.high


def exactly(value: float) -> Estimate:
    """Return an estimate without uncertainty."""
    return Estimate(value, value, value)


def broken_budgets(figures: dict[str, Estimate], budgets: Budgets) -> tuple[str, ...]:
    """Return the names of the budgets that the figures break; unknown figures break none."""
    limits = budgets.limits().items()
    return tuple(name for name, limit in limits if name in figures and figures[name].value > limit)


def too_close(figures: dict[str, Estimate], budgets: Budgets) -> tuple[str, ...]:
    """Return the names of the budgets that lie within a figure's interval."""
    limits = budgets.limits().items()
    return tuple(n for n, limit in limits if n in figures and figures[n].crosses(limit))


def over(name: str, value: float, limit: float) -> str:
    """Return 'over the size budget' in words, with as many digits as it takes to differ."""
    kind = KINDS[name]
    count = next((c for c in range(2, 9) if kind.text(value, c) != kind.text(limit, c)), 9)
    lost = " lost" if name == "accuracy_lost_points" else ""
    shown = kind.text(value, count)
    return f"{shown}{lost}, over the {kind.noun} budget of {kind.text(limit, count)}"
