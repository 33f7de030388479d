"""Which row is faster: by speed-ups within a reference group, else by milliseconds.

Rows of different reference groups were timed minutes apart, while the machine may have become
faster or slower; what is seen of that is part of the error of their milliseconds.
"""

import math
from collections.abc import Sequence

import numpy as np

from quantcore.decide.reference_groups import (
    Floats,
    reference_group,
    same_reference_group,
    timed_alike,
)
from quantcore.decide.speed import is_its_own_reference
from quantcore.engine import metrics
from quantcore.schema import VariantResult

# Student's t with more degrees than this is close to normal; fewer terms, and on the safe side.
MAX_DEGREES = 100
# Standard error, as a share, that milliseconds timed minutes apart have at least.
MIN_DRIFT = 0.03
# A normal distribution's standard deviation over its median distance from the middle.
DEVIATION_PER_DISTANCE = 1.4826


def lead(rows: Sequence[VariantResult]) -> tuple[Floats, Floats]:
    """Return the logarithm of how much faster each row is than each other, and its p-value.

    Both are `[K, K]`. Calls of different batches are not compared.
    """
    together = same_reference_group(rows)
    ratios = np.log([row.speedup.ratio for row in rows])
    times = np.log([row.latency_ms.p50 for row in rows])
    apart = np.where(timed_alike(rows), times[None, :] - times[:, None], 0.0)
    ahead = np.where(together, ratios[:, None] - ratios[None, :], apart)
    own, alone = ratio_errors(rows), latency_errors(rows)
    errors = np.where(together, _both(own), _both(alone))
    distance = np.abs(ahead)
    t = np.divide(distance, errors, out=np.where(distance > 0, np.inf, 0.0), where=errors > 0)
    return ahead, metrics.student_p(t, _freedom(rows))


def _both(errors: Floats) -> Floats:
    return np.asarray(np.hypot(errors[:, None], errors[None, :]))


def _timed(rows: Sequence[VariantResult]) -> list[VariantResult]:
    return [row for row in rows if not is_its_own_reference(row) and row.speedup.rounds > 1]


def _freedom(rows: Sequence[VariantResult]) -> int:
    freedom = sum(metrics.degrees(row.speedup.rounds) for row in _timed(rows) or rows)
    return max(1, min(freedom, MAX_DEGREES))


def ratio_errors(rows: Sequence[VariantResult]) -> Floats:
    """Return the standard error of each speed-up's logarithm, `[K]`.

    Five rounds tell little about their own spread, so the rows' spreads are pooled (they share a
    machine), and a row noisier than that keeps its own. float32 has none: it is the reference.
    """
    pooled = _pooled_error(rows)
    own = [0.0 if is_its_own_reference(row) else max(pooled, _log_error(row)) for row in rows]
    return np.array(own)


def _pooled_error(rows: Sequence[VariantResult]) -> float:
    timed = _timed(rows)
    return math.sqrt(float(np.mean([_log_error(row) ** 2 for row in timed]))) if timed else 0.0


def latency_errors(rows: Sequence[VariantResult]) -> Floats:
    """Return the standard error of the logarithm of each row's milliseconds, `[K]`.

    Milliseconds times speed-up is what float32 took meanwhile. By how much that wanders among the
    rows of a reference group shows how far the machine drifted; a row that strayed further keeps
    its own.
    """
    strayed = _strayed(rows)
    finite = strayed[np.isfinite(strayed)]
    usual = DEVIATION_PER_DISTANCE * float(np.median(finite)) if finite.size else 0.0
    drift = np.maximum(np.nan_to_num(strayed), max(usual, MIN_DRIFT))
    own = np.maximum(ratio_errors(rows), _pooled_error(rows))
    return np.hypot(own, drift)


def _strayed(rows: Sequence[VariantResult]) -> Floats:
    """Return how far each row's float32 was from that of its group; NaN where it stands alone."""
    meanwhile = np.log([row.latency_ms.p50 * row.speedup.ratio for row in rows])
    distances = np.full(len(rows), np.nan)
    indices: dict[object, list[int]] = {}
    for index, row in enumerate(rows):
        indices.setdefault(reference_group(row), []).append(index)
    for among in indices.values():
        if (count := len(among)) > 1:
            distance = np.abs(meanwhile[among] - np.median(meanwhile[among]))
            distances[among] = distance * math.sqrt(count / (count - 1))
    return distances


def _log_error(row: VariantResult) -> float:
    """Return the standard error of the speed-up's logarithm, from its interval."""
    speed = row.speedup
    width = math.log(speed.high / speed.low) / 2
    return width / metrics.student_t(max(1, metrics.degrees(speed.rounds)))
