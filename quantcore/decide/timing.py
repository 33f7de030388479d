"""Which row is faster: by milliseconds and their intervals, which come from one fit.

Rows of different reference groups had no float32 in common, so that nothing ties the moments at
which they were timed; their milliseconds are less sure by how much a machine drifts meanwhile.
"""

import math
from collections.abc import Sequence

import numpy as np

from quantcore.decide.reference_groups import Floats, same_reference_group, timed_alike
from quantcore.engine import metrics, time_model
from quantcore.schema import VariantResult

# Standard error, as a share, that milliseconds of moments that nothing ties have at least.
MIN_DRIFT = 0.03


def lead(rows: Sequence[VariantResult]) -> tuple[Floats, Floats]:
    """Return the logarithm of how much faster each row is than each other, and its p-value.

    Both are `[K, K]`. Calls of different batches are not compared.
    """
    times, errors = np.log([row.latency_ms.p50 for row in rows]), latency_errors(rows)
    ahead = np.where(timed_alike(rows), times[None, :] - times[:, None], 0.0)
    both = np.hypot(errors[:, None], errors[None, :])
    wandered = np.array([drift(row) for row in rows])
    apart = np.hypot(both, np.hypot(wandered[:, None], wandered[None, :]))
    both = np.where(same_reference_group(rows), both, apart)
    distance = np.abs(ahead)
    t = np.divide(distance, both, out=np.where(distance > 0, np.inf, 0.0), where=both > 0)
    freedom = min((_degrees(row) for row in rows), default=1)
    return ahead, metrics.student_p(t, freedom)


def drift(row: VariantResult) -> float:
    """Return the standard error of the moment at which a row's group was timed, as a share."""
    return max(MIN_DRIFT, row.latency_ms.drift)


def latency_errors(rows: Sequence[VariantResult]) -> Floats:
    """Return the standard error of the logarithm of each row's milliseconds, `[K]`."""
    return np.array([_log_error(row) for row in rows])


def _log_error(row: VariantResult) -> float:
    latency = row.latency_ms
    if latency.low <= 0:
        return MIN_DRIFT
    return math.log(latency.high / latency.low) / 2 / metrics.student_t(_degrees(row))


def _degrees(row: VariantResult) -> int:
    return time_model.degrees(row.latency_ms.starts)
