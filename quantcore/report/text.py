"""A comparison as text: a table for a terminal, and Markdown for a ticket."""

import re
import textwrap
from collections.abc import Sequence

from quantcore import decide
from quantcore.report.rows import Row, method, summary_rows
from quantcore.results import Comparison

WIDTH = 100
GAP = "  "
NARROWEST = 8
# Heading and the row's attribute. The last ones go where a terminal is too narrow, down to those
# that must stay: up to and with top-1.
MUST_STAY = 6
COLUMNS = {
    "workflow": "workflow",
    "backend": "backend",
    "size": "size",
    "latency": "latency",
    "speed-up": "speedup",
    "top-1": "top1",
    "vs float": "against_float",
    "int8": "int8_share",
}
MARKDOWN_COLUMNS = {
    "variant": "label",
    **{heading: name for heading, name in COLUMNS.items() if name not in ("workflow", "backend")},
    "agreement": "agreement",
}


def to_text(comparison: Comparison, width: int = WIDTH) -> str:
    """Return verdict, table, failures and method as plain text, no line over `width` columns."""
    verdict = decide.decide(comparison)
    rows = summary_rows(comparison)
    blocks = [
        _wrapped([verdict.sentence, *verdict.caveats], width),
        _table([row for row in rows if row.measured], width),
        _wrapped([_failure(row) for row in rows if not row.measured], width),
        _wrapped([f"{row.label}: {row.notes}" for row in rows if row.notes], width),
        _wrapped([method(comparison)] if comparison.results else [], width),
    ]
    return "\n\n".join(block for block in blocks if block)


def _failure(row: Row) -> str:
    return f"{row.label}: {row.reason} {row.remedy}".strip()


def _wrapped(lines: Sequence[str], width: int) -> str:
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)


def _table(rows: Sequence[Row], width: int) -> str:
    if not rows:
        return ""
    columns = [[heading, *(_cell(row, name) for row in rows)] for heading, name in COLUMNS.items()]
    while _width(columns) > width and len(columns) > MUST_STAY:
        columns.pop()
    spare = max(NARROWEST, width - _width(columns[1:]) - len(GAP))
    columns[0] = [_cut(cell, spare) for cell in columns[0]]
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join(_line(line, widths) for line in lines)


def _cell(row: Row, name: str) -> str:
    """Return the cell's text; the first column carries what tells namesakes apart."""
    if name != "workflow":
        return str(getattr(row, name))
    _, mark, settings = row.label.partition(" (")
    return row.workflow + mark + settings


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) for column in columns) + len(GAP) * (len(columns) - 1)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line: names to the left, figures to the right."""
    pairs = zip(cells, widths, strict=True)
    padded = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(pairs)]
    return GAP.join(padded).rstrip()


def to_markdown(comparison: Comparison) -> str:
    """Return verdict, table, failures and method as Markdown, to paste into a ticket."""
    verdict, rows = decide.decide(comparison), summary_rows(comparison)
    failures = [row for row in rows if not row.measured]
    blocks = [
        f"## {_escaped(comparison.request.model.name)} quantized",
        f"**{_escaped(verdict.headline)}**: {_escaped(verdict.reason)}.",
        "\n".join(f"- {_escaped(caveat)}" for caveat in verdict.caveats),
        _markdown_table([row for row in rows if row.measured]),
        "\n".join(["Without figures:", "", *(_bullet(row) for row in failures)])
        if failures
        else "",
        f"*{_escaped(method(comparison))}*" if comparison.results else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _markdown_table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    aligned = ["---", *["---:"] * (len(MARKDOWN_COLUMNS) - 1)]
    cells = [
        [_escaped(str(getattr(row, name))) for name in MARKDOWN_COLUMNS.values()] for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*MARKDOWN_COLUMNS], aligned, *cells))


def _bullet(row: Row) -> str:
    return f"- **{_escaped(row.label)}**: {_escaped(f'{row.reason} {row.remedy}'.strip())}"


def _escaped(text: str) -> str:
    """Return the text with nothing in it that Markdown would take for markup or a new row."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))
