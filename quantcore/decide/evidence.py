"""Evidence: the candidates of a comparison, and the differences between them that are real.

Size is exact; latency and accuracy count as different only where `paired` finds them so, and
nothing does that differs too little to matter. Each row is compared with the reference of its
group; between models, image sizes, threads and batches, milliseconds, bytes and accuracy stand by
themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from quantcore.decide.budgets import Smallest
from quantcore.decide.candidates import (
    Candidate,
    candidates,
    differs_in_memory,
    preference,
)
from quantcore.decide.paired import ALPHA, Correctness, differences, discordant
from quantcore.decide.reference_groups import (
    Floats,
    Matrix,
    evaluated_alike,
    reference_group,
    timed_alike,
)
from quantcore.decide.speed import against_best, best_floats, has_several_floats
from quantcore.decide.targets import misfit, times_count
from quantcore.engine import metrics
from quantcore.schema import Target, VariantResult

# Chance of finding the difference that `images_to_settle` promises, as a normal quantile.
Z_POWER = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Candidates, best first, and the real differences: `smaller[i, j]` where i is smaller than j.

    Attributes:
        beats: really better in something and really worse in nothing, and not behind in order, so
            that no two beat each other in a circle.
        leaner: which one takes less memory of two; none where times count.
        timed_alike: which two are timed with as many pictures a call; all where times do not count.
        evaluated_alike: which two may be compared in accuracy.
        images: pictures that each one's accuracy is measured on, `[K]`; 0 where there is none.
        only_i: pictures only the first of two gets right, `[K, K]`; estimated without answers
            picture by picture.
        z: the normal quantile a difference has to reach.
        several: there is more than one reference group.
        several_floats: speed-ups are over the best of several float32 rows.
        best_float: key of the fastest float32 of each candidate's group that may ship; None
            without one.
        smallest: the differences that count.
        target: where it will run; None where that is not decided.
    """

    candidates: tuple[Candidate, ...]
    smaller: Matrix
    faster: Matrix
    more_accurate: Matrix
    leaner: Matrix
    beats: Matrix
    timed_alike: Matrix
    evaluated_alike: Matrix
    only_i: Floats
    images: NDArray[np.int64]
    z: float
    several: bool
    several_floats: bool
    best_float: tuple[str | None, ...]
    smallest: Smallest
    target: Target | None = None

    @property
    def timed(self) -> bool:
        """Return whether the times that were measured say how fast the target is."""
        return times_count(self.target)

    def fits(self, i: int) -> bool:
        """Return whether a candidate is made for the target."""
        return not misfit(self.candidates[i].row, self.target)

    def index(self, key: str | None) -> int | None:
        """Return the index of the candidate of this key; None where there is none."""
        indices = (j for j, candidate in enumerate(self.candidates) if candidate.key == key)
        return None if key is None else next(indices, None)

    def reference(self, i: int) -> int | None:
        """Return the index of the reference of a candidate's group."""
        return self.index(self.candidates[i].reference)

    def comparable(self, i: int, j: int) -> bool:
        """Return whether the two can be compared in everything."""
        return bool(self.timed_alike[i, j] and self.evaluated_alike[i, j])

    def tie(self, i: int, j: int) -> bool:
        """Return whether the two differ in nothing: neither size, latency, accuracy nor memory."""
        claims = (self.smaller, self.faster, self.more_accurate, self.leaner)
        return self.comparable(i, j) and not any(claim[i, j] or claim[j, i] for claim in claims)

    def tie_in_accuracy(self, i: int, j: int) -> bool:
        """Return whether both have an accuracy and the difference is not real."""
        measured = self.candidates[i].row.accuracy and self.candidates[j].row.accuracy
        real = self.more_accurate[i, j] or self.more_accurate[j, i]
        return bool(measured and self.evaluated_alike[i, j] and not real)

    def images_to_settle(self, i: int, j: int) -> int | None:
        """Return how many more pictures would likely show a difference; None if equal so far.

        Likely: in four of five repetitions, should the difference be the one seen here.
        """
        images = int(self.images[i]) if self.evaluated_alike[i, j] else 0
        if not images:
            return None
        one, other = self.only_i[i, j] / images, self.only_i[j, i] / images
        if one == other:
            return None
        spread = one + other - (one - other) ** 2
        needed = float((self.z + Z_POWER) ** 2 * spread / (one - other) ** 2)
        return max(1, math.ceil(needed) - images)


def weigh(
    rows: Sequence[VariantResult],
    correctness: Correctness | None = None,
    smallest: Smallest | None = None,
    target: Target | None = None,
) -> Evidence:
    """Return the candidates of one comparison and the real differences between them.

    Args:
        rows: results of one comparison, of one model or more.
        correctness: by key, which pictures a row gets right, `[N]` of bool, same pictures and order
            for all; the rows' own answers by default. Where it is missing, the agreement
            with float32 bounds on how many pictures two rows can differ; where that is missing too,
            their errors count as independent. Both err on the side of calling a tie.
        smallest: the differences that count; None takes the usual ones.
        target: where it will run. Milliseconds of this machine count for servers, and where nothing
            is decided; for other targets memory does.
    """
    timed = times_count(target)
    smallest = smallest or Smallest()
    right = {**_own_answers(rows), **(correctness or {})}
    ordered = sorted(candidates(against_best(rows), right, smallest, timed=timed), key=preference)
    ordered_rows = [candidate.row for candidate in ordered]
    only_i, images = discordant(ordered_rows, right)
    faster, more_accurate = differences(ordered_rows, only_i, smallest, timed=timed)
    sizes = np.array([row.artifact.size_bytes for row in ordered_rows], dtype=np.float64)
    smaller = sizes[:, None] * (1 + smallest.share) <= sizes[None, :]
    leaner = np.zeros_like(smaller) if timed else _leaner(ordered_rows)
    better = smaller | faster | more_accurate | leaner
    ahead = np.triu(np.ones(smaller.shape, dtype=bool), 1)
    best = best_floats([row for row in ordered_rows if not misfit(row, target)])
    alike = timed_alike(ordered_rows) if timed else np.ones_like(smaller)
    evaluated = evaluated_alike(ordered_rows)
    return Evidence(
        candidates=tuple(ordered),
        smaller=smaller,
        faster=faster,
        more_accurate=more_accurate,
        leaner=leaner,
        beats=better & ~better.T & ahead & alike & evaluated,
        timed_alike=alike,
        evaluated_alike=evaluated,
        only_i=only_i,
        images=images,
        z=NormalDist().inv_cdf(1 - ALPHA / 2),
        several=len({reference_group(row) for row in ordered_rows}) > 1,
        several_floats=has_several_floats(rows),
        best_float=tuple(
            fastest.key if (fastest := best.get(reference_group(row))) else None
            for row in ordered_rows
        ),
        smallest=smallest,
        target=target,
    )


def _leaner(rows: Sequence[VariantResult]) -> Matrix:
    """Return where one row takes less memory than another, by enough to count, `[K, K]`."""
    taken = [row.peak_memory_bytes for row in rows]
    return np.array([[a < b and differs_in_memory(a, b) for b in taken] for a in taken], dtype=bool)


def _own_answers(rows: Sequence[VariantResult]) -> dict[str, NDArray[np.bool_]]:
    """Return, by key, which pictures each row gets right, `[N]`."""
    answers = {row.key: metrics.which_right(row.accuracy) for row in rows if row.accuracy}
    return {key: right for key, right in answers.items() if right is not None}
