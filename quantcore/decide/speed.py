"""Which float32 a speed-up is over: the backend's own, or the fastest that was measured."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from quantcore.decide.reference_groups import ReferenceGroup, own_float_backend, reference_group
from quantcore.schema import TORCH_FLOAT, Speedup, VariantResult


def best_floats(rows: Iterable[VariantResult]) -> dict[ReferenceGroup, VariantResult]:
    """Return the fastest float32 row of each reference group that has one."""
    best: dict[ReferenceGroup, VariantResult] = {}
    for row in rows:
        group = reference_group(row)
        if row.is_float and row.latency_ms.p50 < best.get(group, row).latency_ms.p50:
            best[group] = row
        elif row.is_float:
            best.setdefault(group, row)
    return best


def over_best(row: VariantResult, best: VariantResult | None) -> Speedup:
    """Return a row's speed-up over the best float32, over its own where it has no other."""
    return row.speedup if best is None else row.speedups.get(best.float_name, row.speedup)


def over_own(row: VariantResult) -> Speedup:
    """Return a row's speed-up over the float32 of its own backend: the gain by 8 bits there."""
    return row.speedups.get(own_float_backend(row) or TORCH_FLOAT, row.speedup)


def against_best(rows: Sequence[VariantResult]) -> list[VariantResult]:
    """Return the rows with speed-ups over the best float32 of their group, which decide."""
    best = best_floats(rows)
    return [replace(row, speedup=over_best(row, best.get(reference_group(row)))) for row in rows]


def has_several_floats(rows: Iterable[VariantResult]) -> bool:
    """Return whether a reference group has float32 rows of more than one backend."""
    floats = [row for row in rows if row.is_float]
    return len({reference_group(row) for row in floats}) < len(floats)
