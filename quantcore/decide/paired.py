"""Pairs of variants: on which pictures they differ, how fast they are, what of it is real.

Latency is judged by the intervals of the paired ratios, accuracy by McNemar's exact test on the
same pictures. All pairs of one comparison are one family, corrected by Holm's method, so that a
comparison without any real difference claims one at most one time in twenty.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from quantcore import metrics
from quantcore.decide.budgets import Estimate
from quantcore.results import VariantResult

Correctness = Mapping[str, NDArray[np.bool_]]
Matrix = NDArray[np.bool_]

ALPHA = 1 - metrics.CONFIDENCE
# Student's t with more degrees than this is close to normal; fewer terms, and on the safe side.
MOST_DEGREES = 100


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
) -> tuple[NDArray[np.float64], int]:
    """Return the pictures only the first of each two gets right, `[K, K]`, and of how many.

    Rows judged on other pictures than the rest count as equal to all: nothing is claimed of them.
    """
    count = len(rows)
    images = max((row.accuracy.images for row in rows if row.accuracy), default=0)
    known = np.array([bool(row.accuracy and row.accuracy.images == images) for row in rows])
    shares = np.array([row.accuracy.top1 if row.accuracy else 0.0 for row in rows])
    if not images or not known.any():
        return np.zeros((count, count)), 0
    more = np.round(images * (shares[:, None] - shares[None, :]))
    apart = np.ceil(np.minimum(_independent(shares, images), _by_agreement(rows, images)))
    apart = np.maximum(apart, np.abs(more))
    only_i = (apart + (apart + more) % 2 + more) / 2
    exact = [i for i, row in enumerate(rows) if len(right.get(row.key, ())) == images]
    if exact:
        answers = np.array([right[rows[i].key] for i in exact], dtype=np.float64)
        only_i[np.ix_(exact, exact)] = answers @ (1 - answers).T
    only_i[~(known[:, None] & known[None, :])] = 0.0
    return only_i, images


def _independent(shares: NDArray[np.float64], images: int) -> NDArray[np.float64]:
    one, other = shares[:, None], shares[None, :]
    return np.asarray(images * (one * (1 - other) + other * (1 - one)))


def _by_agreement(rows: Sequence[VariantResult], images: int) -> NDArray[np.float64]:
    """Return the most pictures two rows can differ on: each one's disagreements with float32."""
    apart = np.array(
        [
            images * (1 - row.agreement)
            if row.agreement is not None and row.fidelity_images == images
            else math.inf
            for row in rows
        ]
    )
    return np.asarray(apart[:, None] + apart[None, :])


def real_differences(
    rows: Sequence[VariantResult], only_i: NDArray[np.float64]
) -> tuple[Matrix, Matrix]:
    """Return who is really faster and who really more accurate than whom, by Holm's method."""
    upper = np.triu_indices(len(rows), 1)
    logs = np.array([math.log(row.speedup.ratio) for row in rows])
    fewest = [(int(only_i[i, j]), int(only_i[j, i])) for i, j in zip(*upper, strict=True)]
    mcnemar = np.array([metrics.mcnemar_counts(min(pair), max(pair)) for pair in fewest])
    latency = _latency_p(rows, logs)[upper]
    real = holm(np.concatenate((latency, mcnemar)))
    faster, accurate = np.zeros(only_i.shape, bool), np.zeros(only_i.shape, bool)
    faster[upper], accurate[upper] = real[: len(latency)], real[len(latency) :]
    faster, accurate = faster | faster.T, accurate | accurate.T
    return faster & (logs[:, None] > logs[None, :]), accurate & (only_i > only_i.T)


def _latency_p(rows: Sequence[VariantResult], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p that two rows are equally fast, `[K, K]`.

    Five rounds tell little about their own spread, so the rows' spreads are pooled (they share a
    machine), and a row noisier than that keeps its own. float32 has none: it is the reference.
    """
    timed = [row for row in rows if row.workflow != "float32" and row.speedup.rounds > 1]
    if not timed:
        return np.ones((len(rows), len(rows)))
    freedom = sum(metrics.degrees(row.speedup.rounds) for row in timed)
    pooled = math.sqrt(float(np.mean([_log_error(row) ** 2 for row in timed])))
    own = [0.0 if row.workflow == "float32" else max(pooled, _log_error(row)) for row in rows]
    errors = np.hypot(*np.meshgrid(own, own))
    apart = np.abs(logs[:, None] - logs[None, :])
    t = np.divide(apart, errors, out=np.where(apart > 0, np.inf, 0.0), where=errors > 0)
    return metrics.student_p(t, min(freedom, MOST_DEGREES))


def _log_error(row: VariantResult) -> float:
    """Return the standard error of the speed-up's logarithm, from its interval."""
    speed = row.speedup
    width = math.log(speed.high / speed.low) / 2
    return width / metrics.student_t(max(1, metrics.degrees(speed.rounds)))


def holm(p: NDArray[np.float64], alpha: float = ALPHA) -> Matrix:
    """Return which of the hypotheses fall, with at most `alpha` chance of one falling wrongly.

    Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = np.argsort(p, kind="stable")
    passed = p[order] <= alpha / np.arange(len(p), 0, -1)
    fallen = np.zeros(len(p), dtype=bool)
    fallen[order[: int(np.argmin(passed)) if not passed.all() else len(p)]] = True
    return fallen
