"""The figures that can be drawn: value, 95 % interval, words and unit of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantcore import wording
from quantcore.engine import metrics
from quantcore.schema import VariantResult

Interval = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One figure that can be drawn: its value, its 95 % interval, and how it reads.

    Attributes:
        value: the figure in the axis' unit; None where the variant has none.
        interval: its 95 % interval in the same unit; None where it is exact or unknown.
        better: which end of the axis is the good one, `low` or `high`.
    """

    title: str
    label: str
    value: Callable[[VariantResult], float | None]
    interval: Callable[[VariantResult], Interval | None]
    better: str
    text: Callable[[float], str]


def _exact(_: VariantResult) -> None:
    return None


def _latency_interval(result: VariantResult) -> Interval | None:
    latency = result.latency_ms
    return (latency.low, latency.high) if 0 < latency.low < latency.high else None


def _accuracy(result: VariantResult) -> float | None:
    return None if result.accuracy is None else 100 * result.accuracy.top1


def _accuracy_interval(result: VariantResult) -> Interval | None:
    accuracy = result.accuracy
    return None if accuracy is None else (100 * accuracy.low, 100 * accuracy.high)


def _agreement(result: VariantResult) -> float | None:
    return None if result.agreement is None else 100 * result.agreement


def _agreement_interval(result: VariantResult) -> Interval | None:
    if result.agreement is None or result.is_float or not result.fidelity_images:
        return None
    same = round(result.agreement * result.fidelity_images)
    low, high = metrics.wilson(same, result.fidelity_images)
    return 100 * low, 100 * high


def _percent(value: float) -> str:
    return wording.percent(value / 100)


AXES = {
    "latency": Axis(
        "Latency",
        "Latency, ms per call (median)",
        lambda result: result.latency_ms.p50,
        _latency_interval,
        "low",
        lambda value: wording.figure(value, "ms"),
    ),
    "size": Axis(
        "File size",
        "File size, MB",
        lambda result: result.artifact.size_bytes / 1e6,
        _exact,
        "low",
        lambda value: wording.figure(value, "MB"),
    ),
    "accuracy": Axis(
        "Accuracy", "Accuracy, top-1 %", _accuracy, _accuracy_interval, "high", _percent
    ),
    "agreement": Axis(
        "Same answer as float32",
        "Same answer as float32, % of images",
        _agreement,
        _agreement_interval,
        "high",
        _percent,
    ),
    "memory": Axis(
        "Peak memory",
        "Peak memory, MB above the runtime's own",
        lambda result: result.peak_memory_bytes / 1e6,
        _exact,
        "low",
        lambda value: wording.figure(value, "MB"),
    ),
}
# What stands in for a figure no variant has, best first.
STAND_INS = {"accuracy": ("agreement", "size"), "agreement": ("accuracy", "size")}
_MISSING = {
    "accuracy": "No labels here, so accuracy is unknown",
    "agreement": "Nothing to compare answers on",
}


def drawable(name: str, results: Sequence[VariantResult]) -> tuple[str, str]:
    """Return the axis to draw instead of `name` where no variant has that figure, and a note."""
    if _has_values(name, results) or name not in STAND_INS:
        return name, ""
    instead = next((each for each in STAND_INS[name] if _has_values(each, results)), "size")
    return instead, f"{_MISSING[name]}; the plot shows “{AXES[instead].title.lower()}” instead."


def _has_values(name: str, results: Sequence[VariantResult]) -> bool:
    return any(AXES[name].value(result) is not None for result in results)
