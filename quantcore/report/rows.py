"""A comparison as display-ready text: one row per asked-for cell, with units."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quantcore import wording
from quantcore.decide import (
    UNSETTLED,
    best_floats,
    has_several_floats,
    labels,
    over_best,
    reference_group,
    references,
)
from quantcore.draw import tables, tuning
from quantcore.schema import TARGETS, ColdStart, Comparison, Failure, Speedup, VariantResult
from quantcore.wording import NONE

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """One asked-for cell as text with units; what is not known is an en dash.

    Attributes:
        measured: whether there are figures; else `reason` and `remedy` say why not.
        label: the variant in words, distinguished from namesakes: `static on x86`.
        surroundings: what varies from model to model and from call to call, as heading and text.
        differs: the settings that vary, likewise. All rows have the same headings.
    """

    key: str
    label: str
    workflow: str
    backend: str
    measured: bool
    settings: str
    size: str = NONE
    latency: str = NONE
    speedup: str = NONE
    over_best: str = NONE
    top1: str = NONE
    against_float: str = NONE
    int8_share: str = NONE
    agreement: str = NONE
    sqnr: str = NONE
    memory: str = NONE
    start: str = NONE
    conversion: str = NONE
    notes: str = ""
    reason: str = ""
    remedy: str = ""
    surroundings: Pairs = ()
    differs: Pairs = ()


def summary_rows(comparison: Comparison) -> tuple[Row, ...]:
    """Return one row per result, in the order asked for, then one per failure."""
    cells: tuple[VariantResult | Failure, ...] = (*comparison.results, *comparison.failures)
    bases, names = references(comparison.results), labels.names(cells)
    outer, settings = labels.columns(cells)
    several = has_several_floats(comparison.results)
    best = best_floats(comparison.results) if several else {}
    rows = (
        _measured(cell, bases.get(cell.key), best.get(reference_group(cell)), label)
        if isinstance(cell, VariantResult)
        else _not_measured(cell, label)
        for cell, label in zip(cells, names, strict=True)
    )
    return tuple(
        replace(row, surroundings=_pairs(outer, index), differs=_pairs(settings, index))
        for index, row in enumerate(rows)
    )


def _pairs(columns: labels.Columns, index: int) -> Pairs:
    return tuple((heading, texts[index]) for heading, texts in columns.items())


def _measured(
    row: VariantResult, reference: VariantResult | None, best: VariantResult | None, label: str
) -> Row:
    return Row(
        key=row.key,
        label=label,
        workflow=row.workflow,
        backend=row.backend or NONE,
        measured=True,
        settings=_settings(row.settings),
        size=wording.figure(row.artifact.size_bytes / 1e6, "MB"),
        latency=wording.figure(row.latency_ms.p50, "ms"),
        speedup=_speedup(row),
        over_best=NONE if best is None else _ratio(over_best(row, best)),
        top1=_top1(row),
        against_float=_against(row, reference),
        int8_share=tables.share_in_8_bits(row),
        agreement=NONE if row.agreement is None else wording.percent(row.agreement),
        sqnr=NONE if row.sqnr_db is None else f"{row.sqnr_db:.1f} dB",
        memory=wording.figure(row.peak_memory_bytes / 1e6, "MB"),
        start=_start(row.cold_start),
        conversion=f"{row.conversion_s:.1f} s",
        notes=" ".join(_notes(row)),
    )


def _start(cold_start: ColdStart | None) -> str:
    return NONE if cold_start is None else wording.figure(cold_start.total_ms, "ms")


def _speedup(row: VariantResult) -> str:
    if row.is_float:
        return "1.0×"
    return _ratio(row.speedup) if row.has_speedup else NONE


def _not_measured(failure: Failure, label: str) -> Row:
    return Row(
        key=failure.key,
        label=label,
        workflow=failure.workflow,
        backend=failure.backend or NONE,
        measured=False,
        settings=_settings(failure.settings),
        reason=failure.reason,
        remedy=failure.remedy,
    )


def _settings(settings: Mapping[str, object]) -> str:
    return ", ".join(labels.setting(name, value) for name, value in sorted(settings.items()))


def _ratio(speed: Speedup) -> str:
    if speed.low == speed.high:
        return f"{speed.ratio:.1f}×"
    decimals = 1 if speed.low >= 1 else 2
    return f"{speed.ratio:.{decimals}f}× ({speed.low:.{decimals}f}-{speed.high:.{decimals}f})"


def _top1(row: VariantResult) -> str:
    if row.accuracy is None:
        return NONE
    low, high = 100 * row.accuracy.low, 100 * row.accuracy.high
    return f"{wording.percent(row.accuracy.top1)} ({low:.1f}-{high:.1f})"


def lost_points(row: VariantResult, reference: VariantResult | None) -> float | None:
    """Return the percentage points of top-1 below float32, if both are known."""
    if row.accuracy is None or reference is None or reference.accuracy is None:
        return None
    return 100 * (reference.accuracy.top1 - row.accuracy.top1)


def _against(row: VariantResult, reference: VariantResult | None) -> str:
    lost = lost_points(row, reference)
    if lost is None or row.is_float:
        return NONE
    return wording.gained(-lost)


def _notes(row: VariantResult) -> list[str]:
    unsettled = f"{UNSETTLED}." if not row.speedup.settled else ""
    busy = "The machine was busy." if row.machine_busy else ""
    return [note for note in (*tuning.remarks(row), unsettled, busy) if note]


def method(comparison: Comparison) -> str:
    """Return under what conditions the figures were measured, in one sentence."""
    requests = (comparison.request, *comparison.also)
    evaluated = max((row.fidelity_images for row in comparison.results), default=0)
    sizes = sorted({row.image_size for row in comparison.results})
    threads = sorted({request.measure.threads for request in requests})
    parts = [
        *([f"For {TARGETS[target]}"] if (target := comparison.request.target) else []),
        f"{'m' if target else 'M'}easured {wording.day(comparison.created)} on "
        f"{comparison.environment.sentence()}",
        f"{wording.either(threads)} {'thread' if threads == [1] else 'threads'}",
        f"batch {wording.either({request.measure.batch for request in requests})}",
        *(f"{size} px" for size in sizes),
        wording.count(evaluated or comparison.request.images.evaluation_images, "picture"),
    ]
    return ", ".join(parts) + "."
