"""Rows of a comparison whose milliseconds and ratios come from one fit, so that they agree."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from quantcore.backends import runtime
from quantcore.engine import time_model
from quantcore.schema import TORCH_FLOAT, Latency, Rows, Speedup, VariantResult

# Comparisons that visitors look at.
MAX_CACHED = 100


def timed_together(results: Sequence[VariantResult]) -> tuple[VariantResult, ...]:
    """Return the rows with latency and speed-ups fitted together, in the same order.

    Rows of one model, image size, threads and batch are fitted together, whenever each of them
    was measured; those of files before schema 3 bring one ratio each instead of turns. The very
    same rows give the very same answer while it is cached, since pages ask again and again.
    """
    return _timed_together(Rows(results))


@lru_cache(maxsize=MAX_CACHED)
def _timed_together(results: Rows) -> tuple[VariantResult, ...]:
    groups: dict[object, list[int]] = {}
    for index, row in enumerate(results):
        condition = row.model, row.image_size, row.threads, row.batch, bool(row.turns)
        groups.setdefault(condition, []).append(index)
    fitted = list(results)
    for indices in groups.values():
        rows = [results[index] for index in indices]
        again = _fitted(rows) if rows[0].turns else _aligned(rows)
        for index, row in zip(indices, again, strict=True):
            fitted[index] = row
    return tuple(fitted)


def _fitted(rows: Sequence[VariantResult]) -> list[VariantResult]:
    names = _names(rows)
    model = time_model.fit([row.turns for row in rows], names)
    floats = [name for name in dict.fromkeys(names.values()) if name in model.index]
    return [_row(row, number, model, names, floats) for number, row in enumerate(rows)]


def _names(rows: Iterable[VariantResult]) -> Mapping[str, str]:
    """Return the float32 files' names by their digests."""
    names: dict[str, str] = {}
    for row in rows:
        names |= {sha256: name for name, sha256 in row.floats.items()}
        if row.is_float:
            names[row.artifact.sha256] = row.float_name
    return names


def _row(
    row: VariantResult,
    number: int,
    model: time_model.TimeModel,
    names: Mapping[str, str],
    floats: Sequence[str],
) -> VariantResult:
    file = names.get(row.artifact.sha256, row.artifact.sha256)
    busy = number in model.busy
    speedups = {
        name: replace(speedup, settled=speedup.settled and not busy)
        for name in floats
        for speedup in [model.speedup(file, name)]
    }
    own = runtime(row.backend).float_backend or TORCH_FLOAT
    return replace(
        row,
        latency_ms=model.latency(file),
        speedup=speedups.get(own, next(iter(speedups.values()), row.speedup)),
        speedups=speedups,
        machine_busy=busy,
    )


def _aligned(rows: Sequence[VariantResult]) -> list[VariantResult]:
    """Return rows without turns, their milliseconds those of one float32 and their ratios to it."""
    paired = [row.speedups.get(TORCH_FLOAT, row.speedup) for row in rows]
    meanwhile = [row.latency_ms.p50 * each.ratio for row, each in zip(rows, paired, strict=True)]
    float_ms = math.exp(float(np.median(np.log(meanwhile))))
    seen = float(np.std(np.log(meanwhile), ddof=1)) if len(rows) > 1 else 0.0
    # Rows that were aligned before no longer show how far apart they were.
    drift = max(seen, *(row.latency_ms.drift for row in rows))
    aligned = []
    for row, each in zip(rows, paired, strict=True):
        p50 = float_ms / each.ratio
        latency = Latency(
            p50,
            p50 * row.latency_ms.p90 / row.latency_ms.p50,
            float_ms / each.high,
            float_ms / each.low,
            each.rounds,
            drift,
        )
        aligned.append(replace(row, latency_ms=latency))
    return _reconciled(aligned)


def _reconciled(rows: Sequence[VariantResult]) -> list[VariantResult]:
    """Return rows without turns, their speed-ups over every float32 those of their milliseconds.

    Each row was timed with every float32 by itself; only torch's tied their milliseconds.
    """
    float_ms = {row.float_name: row.latency_ms.p50 for row in rows if row.is_float}
    reconciled = []
    for row in rows:
        speedups = {
            name: _rescaled(speedup, float_ms[name] / row.latency_ms.p50)
            for name, speedup in row.speedups.items()
            if name in float_ms
        }
        own = runtime(row.backend).float_backend or TORCH_FLOAT
        speedup = speedups.get(own, row.speedup)
        reconciled.append(replace(row, speedup=speedup, speedups=row.speedups | speedups))
    return reconciled


def _rescaled(speedup: Speedup, ratio: float) -> Speedup:
    """Return a speed-up with another ratio, known as well as before."""
    times = ratio / speedup.ratio
    return replace(speedup, ratio=ratio, low=speedup.low * times, high=speedup.high * times)
