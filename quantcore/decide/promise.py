"""The recipe's promises (4× smaller, 2 to 4× faster, same accuracy), and their outcome."""

from dataclasses import dataclass

from quantcore import wording
from quantcore.decide.causes import accuracy_causes, size_causes, speed_causes
from quantcore.decide.doubts import doubtful_answers
from quantcore.decide.evidence import Evidence, weigh
from quantcore.decide.reference_groups import own_floats
from quantcore.decide.speed import over_own
from quantcore.decide.targets import ONE
from quantcore.decide.thresholds import ACCURATE, FASTER, SMALLER, State, Threshold
from quantcore.schema import Cause, Comparison, VariantResult


@dataclass(frozen=True)
class Promise:
    """One promise, the outcome, the limits it is held against, and why it was not kept."""

    promise: str
    outcome: str
    state: State
    threshold: Threshold
    causes: tuple[Cause, ...] = ()


def promise(
    comparison: Comparison, row: VariantResult, evidence: Evidence | None = None
) -> tuple[Promise, ...]:
    """Return the recipe's three promises as this row kept them: size, speed, accuracy.

    `evidence` of the same rows, where `weigh` was called already. Causes are given where a promise
    is half kept or broken.
    """
    evidence = evidence or weigh(comparison.results, target=comparison.request.target)
    index = next(i for i, c in enumerate(evidence.candidates) if c.key == row.key)
    return (
        _size(evidence, index),
        _speed(evidence, index, comparison),
        _same_accuracy(evidence, index, comparison),
    )


def _size(evidence: Evidence, index: int) -> Promise:
    one, claim = evidence.candidates[index], "4× smaller"
    if one.size_ratio is None:
        return Promise(claim, "float32 was not measured", "unknown", SMALLER)
    state = SMALLER.state(one.size_ratio)
    outcome = SMALLER.shown(one.size_ratio, wording.smaller)
    causes = () if state == "kept" else size_causes(one.row, _own_float(evidence, one.row))
    return Promise(claim, outcome, state, SMALLER, causes)


def _own_float(evidence: Evidence, row: VariantResult) -> VariantResult | None:
    return own_floats([c.row for c in evidence.candidates]).get(row.key)


def _speed(evidence: Evidence, index: int, comparison: Comparison) -> Promise:
    row = evidence.candidates[index].row
    ratio = over_own(row).ratio
    if evidence.target is not None and not evidence.timed:
        here = FASTER.shown(ratio, wording.faster)
        unknown = f"unknown: not timed on {ONE[evidence.target]}; {here} on this machine"
        return Promise("2 to 4× faster", unknown, "unknown", FASTER)
    state, own = FASTER.state(ratio), _own_float(evidence, row)
    causes = () if state == "kept" else speed_causes(row, own, comparison.environment)
    outcome = FASTER.shown(ratio, wording.faster)
    return Promise("2 to 4× faster", outcome, state, FASTER, causes)


def _same_accuracy(evidence: Evidence, index: int, comparison: Comparison) -> Promise:
    one, claim = evidence.candidates[index], "same accuracy"
    reference = evidence.reference(index)
    if one.lost is None or reference is None:
        unknown = "unknown: there are no labels to evaluate with"
        return Promise(claim, unknown, "unknown", ACCURATE)
    doubt = doubtful_answers(evidence, index)
    if doubt:
        return Promise(claim, f"unknown: {doubt}", "unknown", ACCURATE)
    gained = -one.lost.value
    if one.at_most:
        kept: State = "kept" if ACCURATE.state(gained) == "kept" else "unknown"
        return Promise(claim, ACCURATE.shown(gained, _at_most), kept, ACCURATE)
    tie = evidence.tie_in_accuracy(index, reference)
    state = "kept" if tie else ACCURATE.state(gained)
    statistics = evidence.candidates[reference].row.statistics
    causes = () if state == "kept" else accuracy_causes(one.row, statistics, comparison.environment)
    outcome = ACCURATE.shown(gained, _gained) + (", a tie" if tie else "")
    return Promise(claim, outcome, state, ACCURATE, causes)


def _gained(points: float, count: int) -> str:
    return wording.accurate(-points, count)


def _at_most(points: float, count: int) -> str:
    return f"at most {wording.points(-points, count)} lost"
