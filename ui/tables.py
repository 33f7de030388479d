"""Results as HTML that is a table on a wide screen and cards on a narrow one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from quantcore.results import VariantResult
from ui import theme, titles, words

NONE = "–"


@dataclass(frozen=True)
class Cell:
    """One figure as it is read: the number, and in small what qualifies it."""

    figure: str
    small: str = ""

    def html(self, label: str) -> str:
        """Return the table cell; on a narrow screen `label` stands before the figure."""
        small = f"<small>{escape(self.small)}</small>" if self.small else ""
        return f'<td data-label="{escape(label)}"><b>{escape(self.figure)}</b>{small}</td>'


@dataclass(frozen=True)
class Column:
    """One column: its title, what stands in small under it, what it means, and its cells."""

    title: str
    small: str
    help: str
    cell: Callable[[VariantResult, VariantResult | None], Cell]


def _size(result: VariantResult, base: VariantResult | None) -> Cell:
    size = result.artifact.size_bytes
    if base is None or base is result:
        return Cell(words.megabytes(size))
    return Cell(words.megabytes(size), words.smaller(base.artifact.size_bytes / size))


def _latency(result: VariantResult, _: VariantResult | None) -> Cell:
    latency = result.latency_ms
    return Cell(words.milliseconds(latency.p50), words.milliseconds(latency.p90))


def _speedup(result: VariantResult, base: VariantResult | None) -> Cell:
    if base is result:
        return Cell(NONE)
    speedup = result.speedup
    unsettled = "" if speedup.settled else ", unsettled"
    return Cell(words.times(speedup.ratio), f"{speedup.low:.2f} to {speedup.high:.2f}×{unsettled}")


def _accuracy(result: VariantResult, _: VariantResult | None) -> Cell:
    accuracy = result.accuracy
    if accuracy is None:
        return Cell(NONE, "unknown")
    spread = f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %"
    return Cell(words.percent(accuracy.top1), spread)


def _against_float(result: VariantResult, base: VariantResult | None) -> Cell:
    if base is result:
        return Cell(NONE)
    same = "" if result.agreement is None else f"{words.percent(result.agreement)} same"
    if base is None or base.accuracy is None or result.accuracy is None:
        return Cell(NONE, same or "unknown")
    return Cell(words.points(result.accuracy.top1 - base.accuracy.top1), same)


def _int8_share(result: VariantResult, _: VariantResult | None) -> Cell:
    return Cell(words.percent(result.int8_share, 0))


def _memory(result: VariantResult, _: VariantResult | None) -> Cell:
    return Cell(
        words.megabytes(result.peak_memory_bytes),
        f"+ {words.megabytes(result.memory_baseline_bytes)}",
    )


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
        "How many times faster than float32, timed in turn with it on the same machine.",
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
)


def reference(results: Sequence[VariantResult]) -> VariantResult | None:
    """Return the float32 result that the others are held against, if it is there."""
    return next((result for result in results if result.workflow == "float32"), None)


def results(rows: Sequence[VariantResult], ship: str | None = None) -> str:
    """Return the main table: every variant with its figures and their spread.

    Args:
        rows: the results, in the order they are to stand.
        ship: key of the row that the verdict says to ship, which is marked.
    """
    base = reference(rows)
    heads = "".join(
        f'<th scope="col"><abbr title="{escape(column.help)}">{column.title}</abbr>'
        f"<small>{column.small}</small></th>"
        for column in COLUMNS
    )
    names = titles.places(rows)
    body = "".join(_row(row, base, names[row.key], row.key == ship) for row in rows)
    return (
        '<div class="qw-scroll"><table class="qw-table"><caption class="qw-sr">Every variant with '
        f'its figures</caption><thead><tr><th scope="col">Variant</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(result: VariantResult, base: VariantResult | None, where: str, ship: bool) -> str:
    cells = "".join(column.cell(result, base).html(column.title) for column in COLUMNS)
    return f"<tr>{_head(result, where, ship)}{cells}</tr>"


def _head(result: VariantResult, where: str, ship: bool) -> str:
    mark = theme.glyph(result.workflow, result.backend)
    tags = "".join(f'<span class="qw-tag">{escape(tag)}</span>' for tag in _tags(result, ship))
    return (
        f'<th scope="row"><span class="qw-variant">{mark}<span>'
        f"<b>{escape(titles.workflow(result.workflow))}{tags}</b><small>{escape(where)}</small>"
        "</span></span></th>"
    )


def _tags(result: VariantResult, ship: bool) -> list[str]:
    named = {"ship this": ship, "machine was busy": result.machine_busy}
    return [tag for tag, holds in named.items() if holds]


def figures(rows: Sequence[VariantResult]) -> list[dict[str, Any]]:
    """Return every figure of every variant with its unit in the column's name, for sorting."""
    return [_figures(row) for row in rows]


def _figures(row: VariantResult) -> dict[str, Any]:
    accuracy = row.accuracy
    return {
        "Variant": titles.variant(row.workflow, row.backend),
        "File, MB": row.artifact.size_bytes / 1e6,
        "State dict, MB": row.state_dict_bytes / 1e6,
        "Latency p50, ms": row.latency_ms.p50,
        "Latency p90, ms": row.latency_ms.p90,
        "Speed-up, ×": row.speedup.ratio,
        "Speed-up low, ×": row.speedup.low,
        "Speed-up high, ×": row.speedup.high,
        "Rounds": row.speedup.rounds,
        "Top-1, %": accuracy and 100 * accuracy.top1,
        "Top-1 low, %": accuracy and 100 * accuracy.low,
        "Top-1 high, %": accuracy and 100 * accuracy.high,
        "Images": accuracy and accuracy.images,
        "Same answer, %": None if row.agreement is None else 100 * row.agreement,
        "SQNR, dB": row.sqnr_db,
        "In 8 bits, %": 100 * row.int8_share,
        "Peak memory, MB": row.peak_memory_bytes / 1e6,
        "Runtime's own memory, MB": row.memory_baseline_bytes / 1e6,
        "Conversion, s": row.conversion_s,
        "Threads": row.threads,
        "Batch": row.batch,
        "Image, px": row.image_size,
        "From cache": row.cached,
        "Machine busy": row.machine_busy,
        "Settings": ", ".join(f"{key} {value}" for key, value in row.settings.items()),
        "File's SHA-256": row.artifact.sha256,
    }
