"""The recipe's promises (4× smaller, 2 to 4× faster, same accuracy), and their outcome."""

from dataclasses import dataclass
from typing import Literal

from quantcore import wording
from quantcore.backends import entry
from quantcore.decide.evidence import Evidence, weigh
from quantcore.decide.reference_groups import own_floats
from quantcore.decide.speed import over_own
from quantcore.schema import Comparison, VariantResult

State = Literal["kept", "half kept", "broken", "unknown"]

# Below these a model is tiny: what surrounds the arithmetic weighs more than the arithmetic.
TINY_MS = 0.5
TINY_BYTES = 1_000_000
MOSTLY_FLOAT = 0.5
FEW_IMAGES = 32


@dataclass(frozen=True)
class Promise:
    """One promise, the outcome, and the cause where it is known."""

    promise: str
    outcome: str
    state: State
    cause: str = ""


def promise(
    comparison: Comparison, row: VariantResult, evidence: Evidence | None = None
) -> tuple[Promise, ...]:
    """Return the recipe's three promises as this row kept them: size, speed, accuracy.

    `evidence` of the same rows, where `weigh` was called already.

    Kept: 3.5× smaller, 2× faster, a tie or at most 1 point lost. Half kept: 2×, 1.3×, 3 points.
    """
    evidence = evidence or weigh(comparison.results)
    index = next(i for i, c in enumerate(evidence.candidates) if c.key == row.key)
    return (
        _size(evidence, index),
        _speed(evidence, index, comparison),
        _same_accuracy(evidence, index, comparison),
    )


def _state(value: float, kept: float, half: float) -> State:
    return "kept" if value >= kept else "half kept" if value >= half else "broken"


def _size(evidence: Evidence, index: int) -> Promise:
    one, claim = evidence.candidates[index], "4× smaller"
    if one.size_ratio is None:
        return Promise(claim, "float32 was not measured", "unknown")
    state = _state(one.size_ratio, 3.5, 2.0)
    cause = "" if state == "kept" else _size_cause(evidence, one.row)
    return Promise(claim, wording.smaller(one.size_ratio), state, cause)


def _size_cause(evidence: Evidence, row: VariantResult) -> str:
    reference = _own_float(evidence, row)
    if row.int8_share < MOSTLY_FLOAT:
        return _stayed_float(row)
    if reference and reference.state_dict_bytes >= 3.5 * row.state_dict_bytes:
        return "Its weights shrank as promised; the file also carries code, which does not shrink."
    if row.artifact.size_bytes < TINY_BYTES:
        return "The model is tiny, so the file's own records weigh as much as its weights."
    return ""


def _own_float(evidence: Evidence, row: VariantResult) -> VariantResult | None:
    return own_floats([c.row for c in evidence.candidates]).get(row.key)


def _stayed_float(row: VariantResult) -> str:
    share = wording.digits(100 * row.int8_share)
    if row.workflow == "dynamic":
        return f"Convolutions stay float under dynamic: {share} % of the compute runs in int8."
    return f"Only {share} % of the compute runs in int8."


def _speed(evidence: Evidence, index: int, comparison: Comparison) -> Promise:
    row = evidence.candidates[index].row
    ratio = over_own(row).ratio
    state = _state(ratio, 2.0, 1.3)
    cause = "" if state == "kept" else _speed_cause(evidence, row, comparison)
    return Promise("2 to 4× faster", wording.faster(ratio), state, cause)


def _speed_cause(evidence: Evidence, row: VariantResult, comparison: Comparison) -> str:
    environment = comparison.environment
    backend = entry(row.backend)
    reference = _own_float(evidence, row)
    tiny = reference is not None and reference.latency_ms.p50 < TINY_MS
    causes = {
        _stayed_float(row): row.int8_share < MOSTLY_FLOAT,
        backend.speed_cause(environment) if backend else "": True,
        "The model is tiny, so what surrounds the arithmetic takes most of the time.": tiny,
        "The machine was busy while it was timed.": row.machine_busy,
    }
    return " ".join(cause for cause, holds in causes.items() if cause and holds)


def _same_accuracy(evidence: Evidence, index: int, comparison: Comparison) -> Promise:
    one, claim = evidence.candidates[index], "same accuracy"
    reference = evidence.reference(index)
    if one.lost is None or reference is None:
        return Promise(claim, "unknown: there are no labels to evaluate with", "unknown")
    if one.at_most:
        kept: State = "kept" if one.lost.value <= 1.0 else "unknown"
        return Promise(claim, f"at most {wording.points(one.lost.value)} lost", kept)
    tie = evidence.tie_in_accuracy(index, reference)
    state = "kept" if tie else _state(-one.lost.value, -1.0, -3.0)
    cause = "" if state == "kept" else _accuracy_cause(one.row, comparison)
    outcome = wording.accurate(one.lost.value) + (", a tie" if tie else "")
    return Promise(claim, outcome, state, cause)


def _accuracy_cause(row: VariantResult, comparison: Comparison) -> str:
    backend, images = entry(row.backend), row.settings.get("calibration_images")
    causes = {
        backend.accuracy_cause(row.settings, comparison.environment) if backend else "": True,
        "It was calibrated on few images.": isinstance(images, int) and images < FEW_IMAGES,
    }
    return " ".join(cause for cause, holds in causes.items() if cause and holds)
