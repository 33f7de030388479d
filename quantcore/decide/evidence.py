"""What a comparison's rows are worth, and what really differs between them.

Size is exact; latency and accuracy count as different only where `paired` finds them so. Each row
is weighed against its own float32; between models, image sizes, threads and batches, milliseconds,
bytes and accuracy stand by themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from quantcore.decide.candidates import Candidate, candidates, preference
from quantcore.decide.paired import ALPHA, Correctness, discordant, real_differences
from quantcore.decide.reference_groups import (
    Floats,
    Matrix,
    judged_alike,
    reference_group,
    timed_alike,
)
from quantcore.engine import metrics
from quantcore.schema import VariantResult

# Chance of finding the difference that `images_to_settle` promises, as a normal quantile.
Z_POWER = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Candidates, best first, and which of them really beats which: `smaller[i, j]` says i does.

    Attributes:
        beats: really better in something and really worse in nothing, and not behind in order, so
            that no two beat each other in a circle.
        timed_alike: which two are timed with as many pictures a call.
        judged_alike: which two may be compared in accuracy; of others nothing is claimed.
        images: pictures that each one's accuracy is measured on, `[K]`; 0 where there is none.
        only_i: pictures only the first of two gets right, `[K, K]`; estimated without answers
            picture by picture.
        z: the normal quantile a difference has to reach after correction for the number of pairs.
        several: not all are held against one float32: there are more models, sizes, batches.
    """

    candidates: tuple[Candidate, ...]
    smaller: Matrix
    faster: Matrix
    more_accurate: Matrix
    beats: Matrix
    timed_alike: Matrix
    judged_alike: Matrix
    only_i: Floats
    images: NDArray[np.int64]
    z: float
    several: bool

    def reference(self, i: int) -> int | None:
        """Return the place of a candidate's own float32."""
        key = self.candidates[i].reference
        places = (j for j, candidate in enumerate(self.candidates) if candidate.key == key)
        return None if key is None else next(places, None)

    def comparable(self, i: int, j: int) -> bool:
        """Return whether the two can be compared in everything."""
        return bool(self.timed_alike[i, j] and self.judged_alike[i, j])

    def tie(self, i: int, j: int) -> bool:
        """Return whether nothing tells the two apart: no size, latency or accuracy."""
        claims = (self.smaller, self.faster, self.more_accurate)
        return self.comparable(i, j) and not any(claim[i, j] or claim[j, i] for claim in claims)

    def tie_in_accuracy(self, i: int, j: int) -> bool:
        """Return whether both have an accuracy and the difference is not real."""
        known = self.candidates[i].row.accuracy and self.candidates[j].row.accuracy
        real = self.more_accurate[i, j] or self.more_accurate[j, i]
        return bool(known and self.judged_alike[i, j] and not real)

    def images_to_settle(self, i: int, j: int) -> int | None:
        """Return how many more pictures would likely tell the two apart; None if equal so far.

        Likely: in four of five repetitions, should the difference be the one seen here.
        """
        images = int(self.images[i]) if self.judged_alike[i, j] else 0
        if not images:
            return None
        one, other = self.only_i[i, j] / images, self.only_i[j, i] / images
        if one == other:
            return None
        spread = one + other - (one - other) ** 2
        needed = float((self.z + Z_POWER) ** 2 * spread / (one - other) ** 2)
        return max(1, math.ceil(needed) - images)


def weigh(rows: Sequence[VariantResult], correctness: Correctness | None = None) -> Evidence:
    """Return what the rows of one comparison tell apart.

    Args:
        rows: results of one comparison, of one model or more.
        correctness: by key, which pictures a row gets right, `[N]` of bool, same pictures and order
            for all; what the rows say themselves unless given. Where it is missing, the agreement
            with float32 bounds on how many pictures two rows can differ; where that is missing too,
            their errors count as independent. Both err on the side of calling a tie.
    """
    right = {**_told(rows), **(correctness or {})}
    ordered = sorted(candidates(rows, right), key=preference)
    judged = [candidate.row for candidate in ordered]
    only_i, images = discordant(judged, right)
    faster, more_accurate = real_differences(judged, only_i)
    sizes = np.array([row.artifact.size_bytes for row in judged], dtype=np.float64)
    smaller = sizes[:, None] < sizes[None, :]
    better = smaller | faster | more_accurate
    ahead = np.triu(np.ones(smaller.shape, dtype=bool), 1)
    pairs = max(1, len(judged) * (len(judged) - 1))
    timed, answered = timed_alike(judged), judged_alike(judged)
    return Evidence(
        candidates=tuple(ordered),
        smaller=smaller,
        faster=faster,
        more_accurate=more_accurate,
        beats=better & ~better.T & ahead & timed & answered,
        timed_alike=timed,
        judged_alike=answered,
        only_i=only_i,
        images=images,
        z=NormalDist().inv_cdf(1 - ALPHA / pairs / 2),
        several=len({reference_group(row) for row in judged}) > 1,
    )


def _told(rows: Sequence[VariantResult]) -> dict[str, NDArray[np.bool_]]:
    """Return by key which pictures each row says it gets right."""
    known = {row.key: metrics.which_right(row.accuracy) for row in rows if row.accuracy}
    return {key: right for key, right in known.items() if right is not None}
