"""Candidates: rows with their figures, intervals and score against the reference of their group."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantcore.decide.budgets import (
    MEMORY_SHARE,
    MIN_MEMORY_BYTES,
    POINT_COST,
    Estimate,
    Smallest,
    exactly,
)
from quantcore.decide.labels import labels
from quantcore.decide.paired import Correctness, difference, discordant
from quantcore.decide.reference_groups import evaluated_alike, reference_group, references
from quantcore.decide.timing import drift, latency_errors
from quantcore.engine import Z_95
from quantcore.schema import Speedup, VariantResult

# Halving the file is worth as much as being 1.4 times faster.
SIZE_WEIGHT = 0.5
# Halving the memory is worth as much as being 1.2 times faster, where times do not count.
MEMORY_WEIGHT = 0.25
# Shipping int8 has to gain at least as much as being 1.1 times faster; else float32 stays.
WORTHWHILE = 0.1


@dataclass(frozen=True)
class Candidate:
    """One row, as it is evaluated.

    Attributes:
        figures: that budgets are compared with, by the budget's name; unknown ones are missing.
        at_most: the accuracy lost is a bound from the agreement with float32, not a measurement.
        size_ratio: bytes of its group's reference over its own; None without a reference.
        reference: key of its group's reference, if there is one.
        score: how much it gains, on a logarithmic scale; what is not sure or too little to
            matter counts for nothing, nor do times of another machine than it ships to. It depends
            on this row and its reference alone, so that no third row changes which of two comes
            first.
        gains: it is surely smaller, faster or more accurate than float32, by enough to matter.
    """

    row: VariantResult
    label: str
    figures: dict[str, Estimate]
    at_most: bool
    size_ratio: float | None
    reference: str | None
    score: float
    gains: bool

    @property
    def key(self) -> str:
        """Return the row's key."""
        return self.row.key

    @property
    def is_float(self) -> bool:
        """Return whether this is the float32 reference."""
        return self.row.is_float

    @property
    def lost(self) -> Estimate | None:
        """Return the percentage points of accuracy lost against float32, if known."""
        return self.figures.get("accuracy_lost_points")


def candidates(
    rows: Sequence[VariantResult], right: Correctness, smallest: Smallest, *, timed: bool = True
) -> list[Candidate]:
    """Return the rows as candidates, each against the reference of its group.

    Where the times are not `timed` on what it ships to, memory counts in their place.
    """
    names, group_references = labels(rows), references(rows)
    own_scores = [
        _candidate(row, group_references.get(row.key), names[row.key], right, smallest, timed)
        for row in rows
    ]
    if len({reference_group(row) for row in rows}) <= 1:
        return own_scores
    alike = bool(evaluated_alike(rows).all())
    errors = latency_errors(rows)
    return [
        _absolute(one, group_references.get(one.key), alike, float(error), timed)
        for one, error in zip(own_scores, errors, strict=True)
    ]


def _candidate(
    row: VariantResult,
    reference: VariantResult | None,
    label: str,
    right: Correctness,
    smallest: Smallest,
    timed: bool,
) -> Candidate:
    lost, at_most = _lost(row, reference, right)
    ratio = reference.artifact.size_bytes / row.artifact.size_bytes if reference else None
    figures = {
        "size_bytes": exactly(row.artifact.size_bytes),
        **({"latency_ms": _latency(row)} if timed else {}),
        "peak_memory_bytes": exactly(row.peak_memory_bytes),
    }
    if lost:
        figures["accuracy_lost_points"] = lost
    faster = _sure_speed(row.speedup, smallest) if timed else 0.0
    leaner = 0.0 if timed or reference is None else _saved_memory(row, reference)
    smaller, lost_points = _sure(ratio or 1.0, smallest), _sure_loss(lost, smallest)
    score = faster + SIZE_WEIGHT * smaller + MEMORY_WEIGHT * leaner - POINT_COST * lost_points
    bonus = WORTHWHILE if row.is_float else 0.0
    key = reference.key if reference else None
    gains = faster > 0 or smaller > 0 or leaner > 0 or lost_points < 0
    return Candidate(row, label, figures, at_most, ratio, key, score + bonus, gains)


def _sure_speed(speedup: Speedup, smallest: Smallest) -> float:
    """Return the logarithm of a speed-up: a loss as measured, a gain only where it is sure."""
    if speedup.low <= 1.0 < speedup.ratio:
        return 0.0
    return _sure(speedup.ratio, smallest)


def _sure(ratio: float, smallest: Smallest) -> float:
    """Return the logarithm of a ratio; 0 where it is too little to matter."""
    logarithm = math.log(ratio)
    return logarithm if abs(logarithm) >= math.log1p(smallest.share) else 0.0


def _saved_memory(row: VariantResult, reference: VariantResult) -> float:
    """Return the logarithm of how many times less memory a row takes; 0 where it hardly differs."""
    more, less = reference.peak_memory_bytes, row.peak_memory_bytes
    if not differs_in_memory(more, less):
        return 0.0
    return math.log(max(more, 1) / max(less, 1))


def differs_in_memory(one: float, other: float) -> bool:
    """Return whether two amounts of memory differ by enough to count."""
    apart = abs(one - other)
    return apart >= MEMORY_SHARE * max(one, other) and apart >= MIN_MEMORY_BYTES


def _sure_loss(lost: Estimate | None, smallest: Smallest) -> float:
    """Return the points lost as measured, but points gained only where they are sure."""
    if lost is None or (lost.value < 0 <= lost.high) or abs(lost.value) < smallest.points:
        return 0.0
    return lost.value


def preference(candidate: Candidate) -> tuple[float, int, float, str]:
    """Return the sort key of candidates: those that gain most come first."""
    row, figures = candidate.row, candidate.figures
    least = figures.get("latency_ms", figures["peak_memory_bytes"])
    return -candidate.score, row.artifact.size_bytes, least.value, row.key


def _absolute(
    one: Candidate, reference: VariantResult | None, alike: bool, error: float, timed: bool
) -> Candidate:
    """Return the candidate, with the worth of its reference added to its score.

    So a small model in float may come before a large one in 8 bits. Accuracy counts only where all
    are evaluated `alike`. Its milliseconds, no longer read beside one float32, get an `error`.
    """
    base, p50 = reference or one.row, one.row.latency_ms.p50
    spread = math.exp(Z_95 * math.hypot(error, drift(one.row)))
    # Milliseconds times speed-up is what a float32 that has no row took meanwhile.
    float_ms = reference.latency_ms.p50 if reference else p50 * one.row.speedup.ratio
    memory = MEMORY_WEIGHT * math.log(max(base.peak_memory_bytes, 1))
    worth = -SIZE_WEIGHT * math.log(base.artifact.size_bytes)
    worth -= math.log(float_ms) if timed else memory
    if alike and base.accuracy is not None:
        worth += POINT_COST * 100 * base.accuracy.top1
    latency = {"latency_ms": Estimate(p50, p50 / spread, p50 * spread)} if timed else {}
    return replace(one, figures=one.figures | latency, score=one.score + worth)


def _latency(row: VariantResult) -> Estimate:
    latency = row.latency_ms
    if latency.low <= 0:
        return exactly(latency.p50)
    return Estimate(latency.p50, latency.low, latency.high)


def _lost(
    row: VariantResult, reference: VariantResult | None, right: Correctness
) -> tuple[Estimate | None, bool]:
    """Return the points lost against float32, and whether they are only a bound.

    Pictures on which both name the same class are right or wrong together, so no more accuracy
    can be lost than the share on which they disagree.
    """
    if row.is_float:
        evaluated = row.accuracy is not None or row.agreement is not None
        return (exactly(0.0) if evaluated else None), False
    if row.accuracy is None:
        bound = None if row.agreement is None else 100 * (1 - row.agreement)
        return (None if bound is None else Estimate(bound, -bound, bound)), True
    if reference is None or reference.accuracy is None:
        return None, False
    only_i, images = discordant([reference, row], right)
    return difference(only_i[0, 1], only_i[1, 0], int(images[1])), False
