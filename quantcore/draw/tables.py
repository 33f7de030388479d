"""Results as HTML that is a table on a wide screen and cards on a narrow one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from quantcore import wording
from quantcore.decide import (
    ReferenceGroup,
    best_floats,
    has_several_floats,
    labels,
    over_best,
    reference_group,
    references,
)
from quantcore.draw import marks, titles, tuning
from quantcore.draw.templating import render
from quantcore.schema import Speedup, VariantResult
from quantcore.wording import NONE
from quantcore.workflows import bits_of


@dataclass(frozen=True)
class Figure:
    """A figure in a table: its text, and a qualification in small."""

    figure: str
    small: str = ""


@dataclass(frozen=True)
class Column:
    """A column: title, small subtitle, explanation, and the figure of each row."""

    title: str
    small: str
    help: str
    cell: Callable[[VariantResult, VariantResult | None], Figure]


def _size(result: VariantResult, base: VariantResult | None) -> Figure:
    size = result.artifact.size_bytes
    if base is None or base.key == result.key:
        return Figure(_megabytes(size))
    return Figure(_megabytes(size), wording.smaller(base.artifact.size_bytes / size))


def _latency(result: VariantResult, _: VariantResult | None) -> Figure:
    latency = result.latency_ms
    return Figure(wording.figure(latency.p50, "ms"), wording.figure(latency.p90, "ms"))


def _speedup(result: VariantResult, _: VariantResult | None) -> Figure:
    has_none = result.is_float or not result.has_speedup
    return Figure(NONE) if has_none else _ratio(result.speedup)


def _over_best(
    best: Mapping[ReferenceGroup, VariantResult],
) -> Callable[[VariantResult, VariantResult | None], Figure]:
    """Return the cell of a row's speed-up over the fastest float32 of its group."""

    def cell(result: VariantResult, _: VariantResult | None) -> Figure:
        reference = best.get(reference_group(result))
        if reference is None or reference.key == result.key:
            return Figure(NONE)
        return _ratio(over_best(result, reference))

    return cell


def _ratio(speedup: Speedup) -> Figure:
    unsettled = "" if speedup.settled else ", unsettled"
    return Figure(
        wording.times(speedup.ratio), f"{speedup.low:.2f} to {speedup.high:.2f}×{unsettled}"
    )


def _accuracy(result: VariantResult, _: VariantResult | None) -> Figure:
    accuracy = result.accuracy
    if accuracy is None:
        return Figure(NONE, "unknown")
    spread = f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %"
    return Figure(wording.percent(accuracy.top1), spread)


def _against_float(result: VariantResult, base: VariantResult | None) -> Figure:
    if base is not None and base.key == result.key:
        return Figure(NONE)
    same = "" if result.agreement is None else f"{wording.percent(result.agreement)} same"
    if base is None or base.accuracy is None or result.accuracy is None:
        return Figure(NONE, same or "unknown")
    return Figure(wording.gained(100 * (result.accuracy.top1 - base.accuracy.top1)), same)


def _int8_share(result: VariantResult, _: VariantResult | None) -> Figure:
    return Figure(share_in_8_bits(result))


def share_in_8_bits(result: VariantResult) -> str:
    """Return the share of the arithmetic in 8 bits; of a file of 16 bits, only that."""
    bits = bits_of(result.workflow, result.settings)
    return "16 bits" if bits == 16 else wording.percent(result.int8_share, 0)


def _memory(result: VariantResult, _: VariantResult | None) -> Figure:
    own = _megabytes(result.memory_baseline_bytes)
    return Figure(_megabytes(result.peak_memory_bytes), f"+ {own}")


def _cold_start(result: VariantResult, _: VariantResult | None) -> Figure:
    start = result.cold_start
    if start is None:
        return Figure(NONE)
    ends = f"{wording.digits(start.low_ms)} to {wording.figure(start.high_ms, 'ms')}"
    return Figure(wording.figure(start.total_ms, "ms"), ends)


def _megabytes(size_bytes: int) -> str:
    return wording.figure(size_bytes / 1e6, "MB")


COLUMNS = (
    Column(
        "Size",
        "against float32",
        "Bytes of the file that would ship; 1 MB is 1,000,000 bytes.",
        _size,
    ),
    Column(
        "Latency",
        "9 of 10 within",
        "Time of one call: the median, and what 9 of 10 calls stay within.",
        _latency,
    ),
    Column(
        "Speed-up",
        "95 % interval",
        "How many times faster than float32 on the same backend, timed in turn with it.",
        _speedup,
    ),
    Column("Top-1", "95 % interval", "Share of images labelled right.", _accuracy),
    Column(
        "Against float32",
        "same answers",
        "Accuracy won or lost, in percentage points, and on how many images "
        "it gives float32's answer.",
        _against_float,
    ),
    Column(
        "In 8 bits",
        "of the arithmetic",
        "Share of the multiply-adds that really run in 8 bits, read from the file.",
        _int8_share,
    ),
    Column(
        "Peak memory",
        "+ the runtime's own",
        "Most memory used above what the runtime holds before it loads the file.",
        _memory,
    ),
    Column(
        "Cold start",
        "quickest to slowest",
        "What an app waits for when it opens: loading the file, and the first answer. "
        "The runtime itself is loaded before.",
        _cold_start,
    ),
)


def results(
    rows: Sequence[VariantResult], ship: str | None = None, more: Sequence[Column] = ()
) -> Markup:
    """Return the main table: every variant with its figures and their spread.

    Rows of several models, image sizes or ways of timing stand below a heading each, and are held
    against the float32 there.

    Args:
        rows: the results, in the order they are to stand.
        ship: key of the row that the verdict says to ship, which is marked.
        more: columns that stand after the usual ones.
    """
    columns = (*_columns(rows), *more)
    bases, headings = references(rows), titles.reference_groups(rows)
    groups: dict[ReferenceGroup, list[VariantResult]] = {}
    for row in rows:
        groups.setdefault(reference_group(row), []).append(row)
    return render(
        "results.html",
        columns=columns,
        dense=bool(more),
        groups=[
            {"heading": headings[group], "rows": _rows(members, bases, ship, columns)}
            for group, members in groups.items()
        ],
    )


def _columns(rows: Sequence[VariantResult]) -> tuple[Column, ...]:
    """Return the usual columns; with the best float32's where there is more than one float32."""
    if not has_several_floats(rows):
        return COLUMNS
    at = 1 + [column.cell for column in COLUMNS].index(_speedup)
    best = Column(
        "Over the best float32",
        "95 % interval",
        "How many times faster than the fastest float32 measured, whatever runs it.",
        _over_best(best_floats(rows)),
    )
    return (*COLUMNS[:at], best, *COLUMNS[at:])


def _rows(
    rows: Sequence[VariantResult],
    bases: Mapping[str, VariantResult],
    ship: str | None,
    columns: Sequence[Column],
) -> list[dict[str, object]]:
    locations = titles.locations(rows)
    return [
        {
            "mark": marks.glyph(row.workflow, row.backend),
            "workflow": titles.workflow(row.workflow),
            "tags": _tags(row, row.key == ship),
            "location": locations[row.key],
            "cells": [column.cell(row, bases.get(row.key)) for column in columns],
        }
        for row in rows
    ]


def _tags(result: VariantResult, ship: bool) -> list[str]:
    named = {"ship this": ship, "machine was busy": result.machine_busy}
    return [tag for tag, holds in named.items() if holds]


def figures(rows: Sequence[VariantResult]) -> list[dict[str, Any]]:
    """Return every figure of every variant with its unit in the column's name, for sorting."""
    _, settings = labels.columns(rows)
    titled = titles.models(row.model for row in rows)
    return [
        _names(row, titled)
        | {heading.capitalize(): texts[index] for heading, texts in settings.items()}
        | _figures(row)
        for index, row in enumerate(rows)
    ]


def _names(row: VariantResult, titled: Mapping[str, str]) -> dict[str, str]:
    model = {"Model": titled[row.model]} if len(titled) > 1 else {}
    return model | {"Variant": titles.variant(row.workflow, row.backend)}


def _figures(row: VariantResult) -> dict[str, Any]:
    accuracy = row.accuracy
    return {
        "File, MB": row.artifact.size_bytes / 1e6,
        "State dict, MB": row.state_dict_bytes / 1e6,
        "Latency p50, ms": row.latency_ms.p50,
        "Latency low, ms": row.latency_ms.low or None,
        "Latency high, ms": row.latency_ms.high or None,
        "Latency p90, ms": row.latency_ms.p90,
        "Speed-up, ×": row.speedup.ratio if row.has_speedup else None,
        "Speed-up low, ×": row.speedup.low if row.has_speedup else None,
        "Speed-up high, ×": row.speedup.high if row.has_speedup else None,
        "Starts": row.latency_ms.starts,
        "Top-1, %": accuracy and 100 * accuracy.top1,
        "Top-1 low, %": accuracy and 100 * accuracy.low,
        "Top-1 high, %": accuracy and 100 * accuracy.high,
        "Images": accuracy and accuracy.images,
        "Same answer, %": None if row.agreement is None else 100 * row.agreement,
        "SQNR, dB": row.sqnr_db,
        "In 8 bits, %": None if bits_of(row.workflow, row.settings) == 16 else 100 * row.int8_share,
        "Peak memory, MB": row.peak_memory_bytes / 1e6,
        "Runtime's own memory, MB": row.memory_baseline_bytes / 1e6,
        "Load, ms": row.cold_start and row.cold_start.load_ms,
        "First answer, ms": row.cold_start and row.cold_start.first_answer_ms,
        "Conversion, s": row.conversion_s,
        "Threads": row.threads,
        "Batch": row.batch,
        "Image, px": row.image_size,
        "From cache": row.cached,
        "Machine busy": row.machine_busy,
        "Settings": ", ".join(f"{key} {value}" for key, value in row.settings.items()),
        "Conversion chose": tuning.tuned(row),
        "File's SHA-256": row.artifact.sha256,
    }
