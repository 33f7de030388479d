"""What a comparison's rows are worth, and what really differs between them.

Size is exact; latency and accuracy count as different only where `paired` finds them so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from quantcore.decide import words
from quantcore.decide.budgets import POINT_COST, Estimate, exactly
from quantcore.decide.paired import (
    ALPHA,
    Correctness,
    Matrix,
    difference,
    discordant,
    real_differences,
)
from quantcore.results import VariantResult

# Halving the file is worth as much as being 1.4 times faster.
SIZE_WEIGHT = 0.5
# Shipping int8 has to bring at least as much as being 1.1 times faster; else float32 stays.
WORTHWHILE = 0.1
# Chance of finding the difference that `images_to_settle` promises, as a normal quantile.
Z_POWER = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class Candidate:
    """One row as it is judged.

    Attributes:
        figures: what budgets are held against, by the budget's name; unknown figures are missing.
        at_most: the accuracy lost is a bound from the agreement with float32, not a measurement.
        size_ratio: bytes of float32 over its own; None without a float32 row.
        score: how much it brings over float32, on a logarithmic scale. It depends on this row and
            float32 alone, so that no third row changes which of two comes first.
    """

    row: VariantResult
    label: str
    figures: dict[str, Estimate]
    at_most: bool
    size_ratio: float | None
    score: float

    @property
    def key(self) -> str:
        """Return the row's key."""
        return self.row.key

    @property
    def is_float(self) -> bool:
        """Return whether this is the float32 reference."""
        return self.row.workflow == "float32"

    @property
    def lost(self) -> Estimate | None:
        """Return the percentage points of accuracy lost against float32, if known."""
        return self.figures.get("accuracy_lost_points")


@dataclass(frozen=True, eq=False)
class Evidence:
    """Candidates, best first, and which of them really beats which: `smaller[i, j]` says i does.

    Attributes:
        beats: really better in something and really worse in nothing, and not behind in order, so
            that no two beat each other in a circle.
        images: pictures that accuracy is measured on; 0 where there is none.
        only_i: pictures only the first of two gets right, `[K, K]`; estimated without answers
            picture by picture.
        z: the normal quantile a difference has to reach after correction for the number of pairs.
    """

    candidates: tuple[Candidate, ...]
    smaller: Matrix
    faster: Matrix
    more_accurate: Matrix
    beats: Matrix
    only_i: NDArray[np.float64]
    images: int
    z: float

    def tie(self, i: int, j: int) -> bool:
        """Return whether nothing tells the two apart: no size, latency or accuracy."""
        claims = (self.smaller, self.faster, self.more_accurate)
        return not any(claim[i, j] or claim[j, i] for claim in claims)

    def tie_in_accuracy(self, i: int, j: int) -> bool:
        """Return whether both have an accuracy and the difference is not real."""
        known = self.candidates[i].row.accuracy and self.candidates[j].row.accuracy
        return bool(known) and not (self.more_accurate[i, j] or self.more_accurate[j, i])

    def images_to_settle(self, i: int, j: int) -> int | None:
        """Return how many more pictures would likely tell the two apart; None if equal so far.

        Likely: in four of five repetitions, should the difference be the one seen here.
        """
        if not self.images:
            return None
        one, other = self.only_i[i, j] / self.images, self.only_i[j, i] / self.images
        if one == other:
            return None
        spread = one + other - (one - other) ** 2
        needed = float((self.z + Z_POWER) ** 2 * spread / (one - other) ** 2)
        return max(1, math.ceil(needed) - self.images)


def weigh(rows: Sequence[VariantResult], correctness: Correctness | None = None) -> Evidence:
    """Return what the rows of one model tell apart.

    Args:
        rows: results of one comparison.
        correctness: by key, which pictures a row gets right, `[N]` of bool, same pictures and order
            for all. Where it is missing, the agreement with float32 bounds on how many pictures two
            rows can differ; where that is missing too, their errors count as independent. Both err
            on the side of calling a tie.
    """
    right = dict(correctness or {})
    reference = next((row for row in rows if row.workflow == "float32"), None)
    names = words.labels(rows)
    found = [_candidate(row, reference, names[row.key], right) for row in rows]
    ordered = sorted(found, key=_preference)
    judged = [candidate.row for candidate in ordered]
    only_i, images = discordant(judged, right)
    faster, more_accurate = real_differences(judged, only_i)
    sizes = np.array([row.artifact.size_bytes for row in judged], dtype=np.float64)
    smaller = sizes[:, None] < sizes[None, :]
    better = smaller | faster | more_accurate
    ahead = np.triu(np.ones(smaller.shape, dtype=bool), 1)
    pairs = max(1, len(judged) * (len(judged) - 1))
    return Evidence(
        candidates=tuple(ordered),
        smaller=smaller,
        faster=faster,
        more_accurate=more_accurate,
        beats=better & ~better.T & ahead,
        only_i=only_i,
        images=images,
        z=NormalDist().inv_cdf(1 - ALPHA / pairs / 2),
    )


def _preference(candidate: Candidate) -> tuple[float, int, float, str]:
    row = candidate.row
    return -candidate.score, row.artifact.size_bytes, row.latency_ms.p50, row.key


def _candidate(
    row: VariantResult, reference: VariantResult | None, label: str, right: Correctness
) -> Candidate:
    lost, at_most = _lost(row, reference, right)
    ratio = reference.artifact.size_bytes / row.artifact.size_bytes if reference else None
    figures = {
        "size_bytes": exactly(row.artifact.size_bytes),
        "latency_ms": _latency(row),
        "peak_memory_bytes": exactly(row.peak_memory_bytes),
    }
    if lost:
        figures["accuracy_lost_points"] = lost
    score = math.log(row.speedup.ratio) + SIZE_WEIGHT * math.log(ratio or 1.0)
    score -= POINT_COST * (lost.value if lost else 0.0)
    bonus = WORTHWHILE if row.workflow == "float32" else 0.0
    return Candidate(row, label, figures, at_most, ratio, score + bonus)


def _latency(row: VariantResult) -> Estimate:
    """Return the median with the relative spread of its speed-up, which is what was repeated."""
    p50, speed = row.latency_ms.p50, row.speedup
    return Estimate(p50, p50 * speed.ratio / speed.high, p50 * speed.ratio / speed.low)


def _lost(
    row: VariantResult, reference: VariantResult | None, right: Correctness
) -> tuple[Estimate | None, bool]:
    """Return the points lost against float32, and whether they are only a bound.

    Pictures on which both name the same class are right or wrong together, so no more accuracy
    can be lost than the share on which they disagree.
    """
    if row.workflow == "float32":
        judged = row.accuracy is not None or row.agreement is not None
        return (exactly(0.0) if judged else None), False
    if row.accuracy is None:
        bound = None if row.agreement is None else 100 * (1 - row.agreement)
        return (None if bound is None else Estimate(bound, -bound, bound)), True
    if reference is None or reference.accuracy is None:
        return None, False
    only_i, images = discordant([reference, row], right)
    return difference(only_i[0, 1], only_i[1, 0], images), False
