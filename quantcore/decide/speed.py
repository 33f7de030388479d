"""Which float32 a speed-up is over: the backend's own, or the fastest that was measured."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from quantcore.decide.reference_groups import ReferenceGroup, own_float_backend, reference_group
from quantcore.schema import TORCH_FLOAT, Speedup, VariantResult


def is_its_own_reference(row: VariantResult) -> bool:
    """Return whether a row's speed-up is over itself, which is known without an error."""
    return row.speedup.low == row.speedup.ratio == row.speedup.high == 1.0


def best_floats(rows: Iterable[VariantResult]) -> dict[ReferenceGroup, VariantResult]:
    """Return the fastest float32 row of each reference group that has one."""
    floats: dict[ReferenceGroup, list[VariantResult]] = {}
    for row in rows:
        if row.is_float:
            floats.setdefault(reference_group(row), []).append(row)
    return {group: max(among, key=_over(among[0])) for group, among in floats.items()}


def _over(base: VariantResult) -> Callable[[VariantResult], float]:
    """Return how a float32 row's speed-up over another one is read: from the rounds they shared."""

    def ratio(row: VariantResult) -> float:
        paired = row.speedups.get(base.float_name)
        return paired.ratio if paired else base.latency_ms.p50 / row.latency_ms.p50

    return ratio


def over_best(row: VariantResult, best: VariantResult | None) -> Speedup:
    """Return a row's speed-up over the best float32, over its own where they never took turns."""
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
