"""Paired comparison of variants: which differences in latency and accuracy are real.

Latency is compared by the intervals of the time model, accuracy by McNemar's exact test on the same
pictures. All pairs of one comparison are one family, in which at most one in twenty of the
differences claimed is wrong. A difference counts only where it is large enough to matter, too.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from quantcore.decide.budgets import Estimate, Smallest
from quantcore.decide.reference_groups import Floats, Matrix, evaluated_on, same_float
from quantcore.decide.timing import lead
from quantcore.engine import metrics
from quantcore.schema import VariantResult

Correctness = Mapping[str, NDArray[np.bool_]]

ALPHA = 1 - metrics.CONFIDENCE


def difference(only_a: float, only_b: float, images: int) -> Estimate | None:
    """Return a paired difference in points (Agresti and Min 2005: half a picture to each cell)."""
    if not images:
        return None
    value = 100 * (only_a - only_b) / images
    total, share = images + 2, (only_a - only_b) / (images + 2)
    half = metrics.Z_95 * math.sqrt((only_a + only_b + 1) / total - share**2) / math.sqrt(total)
    return Estimate(value, value - 100 * half, value + 100 * half)


def discordant(
    rows: Sequence[VariantResult], right: Correctness
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the pictures only the first of each two gets right, `[K, K]`, and of how many, `[K]`.

    Rows evaluated on different pictures count as equal: nothing is claimed of them.
    """
    only_i = np.zeros((len(rows), len(rows)))
    images = np.zeros(len(rows), dtype=np.int64)
    families: dict[tuple[str, int], list[int]] = {}
    for index, row in enumerate(rows):
        if (pictures := evaluated_on(row)) is not None:
            families.setdefault(pictures, []).append(index)
    for (_, count), indices in families.items():
        images[indices] = count
        family = [rows[index] for index in indices]
        only_i[np.ix_(indices, indices)] = _discordant(family, count, right)
    return only_i, images


def _discordant(rows: Sequence[VariantResult], images: int, right: Correctness) -> Floats:
    shares = np.array([row.accuracy.top1 if row.accuracy else 0.0 for row in rows])
    more = np.round(images * (shares[:, None] - shares[None, :]))
    apart = np.ceil(np.minimum(_independent(shares, images), _by_agreement(rows, images)))
    apart = np.maximum(apart, np.abs(more))
    only_i = (apart + (apart + more) % 2 + more) / 2
    exact = [i for i, row in enumerate(rows) if len(right.get(row.key, ())) == images]
    if exact:
        answers = np.array([right[rows[i].key] for i in exact], dtype=np.float64)
        only_i[np.ix_(exact, exact)] = answers @ (1 - answers).T
    return np.asarray(only_i)


def _independent(shares: NDArray[np.float64], images: int) -> NDArray[np.float64]:
    one, other = shares[:, None], shares[None, :]
    return np.asarray(images * (one * (1 - other) + other * (1 - one)))


def _by_agreement(rows: Sequence[VariantResult], images: int) -> Floats:
    """Return the most pictures two rows can differ on: each one's disagreements with float32.

    It holds for rows of one model and image size only, whose float32 is the same.
    """
    apart = np.array(
        [
            images * (1 - row.agreement)
            if row.agreement is not None and row.fidelity_images == images
            else math.inf
            for row in rows
        ]
    )
    return np.where(same_float(rows), apart[:, None] + apart[None, :], math.inf)


def differences(
    rows: Sequence[VariantResult], only_i: Floats, smallest: Smallest, *, timed: bool = True
) -> tuple[Matrix, Matrix]:
    """Return the pairs of rows of which the first is faster, or more accurate, `[K, K]`.

    Only differences that are real and matter; none is faster where times are not `timed` on what
    it ships to, and then they are no part of what may be found by chance.
    """
    upper = np.triu_indices(len(rows), 1)
    fewest = [(int(only_i[i, j]), int(only_i[j, i])) for i, j in zip(*upper, strict=True)]
    mcnemar = np.array([metrics.mcnemar_counts(min(pair), max(pair)) for pair in fewest])
    ahead, p = lead(rows)
    latency = p[upper] if timed else p[upper][:0]
    real = discoveries(np.concatenate((latency, mcnemar)))
    faster, accurate = np.zeros(only_i.shape, bool), np.zeros(only_i.shape, bool)
    if timed:
        faster[upper] = real[: len(latency)]
    accurate[upper] = real[len(latency) :]
    faster, accurate = faster | faster.T, accurate | accurate.T
    top1 = np.array([row.accuracy.top1 if row.accuracy else 0.0 for row in rows])
    points = 100 * (top1[:, None] - top1[None, :])
    return (
        faster & (ahead >= math.log1p(smallest.share)),
        accurate & (only_i > only_i.T) & (points >= smallest.points),
    )


def discoveries(p: NDArray[np.float64], alpha: float = ALPHA) -> Matrix:
    """Return which hypotheses are rejected; of these, at most a share `alpha` wrongly.

    Benjamini and Hochberg, Controlling the false discovery rate (1995).
    """
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= alpha * np.arange(1, len(p) + 1) / max(1, len(p)))
    rejected = np.zeros(len(p), dtype=bool)
    rejected[order[: passed[-1] + 1 if passed.size else 0]] = True
    return rejected
