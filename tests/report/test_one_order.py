"""Milliseconds and speed-ups put rows in one order, wherever figures are taken along."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import pytest

from quantcore import report
from quantcore.backends import entry
from quantcore.decide import reference_group
from quantcore.draw import tables
from quantcore.engine import timed_together
from quantcore.jobs import shipped_comparison
from quantcore.schema import TORCH_FLOAT, Comparison, VariantResult
from tests.support import fixtures

# A row's milliseconds, and its speed-ups by the float32 that they are over.
Times = tuple[float, dict[str, float]]
# Figures that are written with all their digits.
SAME = 1e-9

COMPARISONS: dict[str, Callable[[], Comparison]] = {
    **fixtures.NAMED,
    "shipped": shipped_comparison,
}


def own_float(row: VariantResult) -> str:
    backend = entry(row.backend)
    return (backend and backend.float_backend) or TORCH_FLOAT


def in_table(source: Comparison) -> list[Times]:
    figures = tables.figures(source.results)
    return [
        (each["Latency p50, ms"], {own_float(row): each["Speed-up, ×"]})
        for each, row in zip(figures, source.results, strict=True)
    ]


def in_csv(source: Comparison) -> list[Times]:
    lines = csv.DictReader(io.StringIO(report.to_csv(source)))
    return [
        (float(each["latency_p50_ms"]), {own_float(row): float(each["speedup_ratio"])})
        for each, row in zip(lines, source.results, strict=False)
    ]


def in_json(source: Comparison) -> list[Times]:
    rows = Comparison.from_json(report.to_json(source)).results
    return [
        (
            row.latency_ms.p50,
            {own_float(row): row.speedup.ratio}
            | {name: speedup.ratio for name, speedup in row.speedups.items()},
        )
        for row in rows
    ]


def contradictions(rows: Sequence[VariantResult], times: Sequence[Times]) -> Iterator[str]:
    """Yield the pairs of one reference group that are in two orders."""
    for (one, mine), (other, its) in combinations(zip(rows, times, strict=True), 2):
        if reference_group(one) != reference_group(other):
            continue
        for name in mine[1].keys() & its[1].keys():
            by_ms, by_ratio = its[0] / mine[0], mine[1][name] / its[1][name]
            if abs(by_ms / by_ratio - 1) > SAME and (by_ms - 1) * (by_ratio - 1) <= 0:
                yield f"{one.workflow} {one.backend}, {other.workflow} {other.backend}: {name}"


@pytest.mark.parametrize("form", [in_table, in_csv, in_json])
@pytest.mark.parametrize("name", COMPARISONS)
def test_no_two_rows_are_in_one_order_by_time_and_in_another_by_speed_up(
    name: str, form: Callable[[Comparison], list[Times]]
) -> None:
    source = COMPARISONS[name]()
    assert list(contradictions(source.results, form(source))) == []
    together = replace(source, results=timed_together(source.results))
    assert list(contradictions(together.results, form(together))) == []


def test_earlier_files_with_several_float32_are_put_in_one_order() -> None:
    """Each row of schema 2 was timed with every float32 by itself, so its ratios are its own."""
    source = fixtures.two_runtimes()
    drifted = [
        fixtures.over_floats(
            replace(row, latency_ms=fixtures.slowed(row.latency_ms, times)),
            **{
                name: speedup.ratio * times**power
                for power, (name, speedup) in enumerate(row.speedups.items())
            },
        )
        for row, times in zip(source.results, (1.0, 1.3, 0.6, 1.0, 0.5, 2.0), strict=True)
    ]
    before = replace(source, results=tuple(drifted))
    assert list(contradictions(before.results, in_json(before)))
    once = timed_together(drifted)
    for rows in (once, timed_together(once)):
        after = replace(source, results=rows)
        for form in (in_table, in_csv, in_json):
            assert list(contradictions(rows, form(after))) == []


def test_a_contradiction_would_be_found() -> None:
    slow, fast = fixtures.result(ratio=2.0), fixtures.result("static", "fbgemm", ratio=3.0)
    wrong = replace(fast, latency_ms=slow.latency_ms), replace(slow, latency_ms=fast.latency_ms)
    source = fixtures.comparison(wrong)
    for form in (in_table, in_csv, in_json):
        assert len(list(contradictions(source.results, form(source)))) == 1
