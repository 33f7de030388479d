"""What is said around the table, as HTML: the verdict, reasons, notes, refusals, the legend."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from quantcore.decide import Verdict
from quantcore.results import Failure, VariantResult
from ui import theme, titles


def verdict(found: Verdict, rows: Mapping[str, VariantResult]) -> str:
    """Return the verdict: what to ship, what it brings, and what is not known."""
    row = rows.get(found.ship or "")
    headline = escape(titles.plain(found.headline, rows.values()))
    mark = theme.glyph(row.workflow, row.backend) if row else ""
    said = titles.plain(found.reason, rows.values())
    reason = said[:1].upper() + said[1:]
    caveats = "".join(f'<p class="qw-caveat">{escape(text)}</p>' for text in found.caveats)
    return (
        f'<section class="qw-verdict" aria-label="Verdict"><h2>{mark}{headline}</h2>'
        f"<p>{escape(reason)}.</p>{caveats}</section>"
    )


def others(found: Verdict, rows: Mapping[str, VariantResult]) -> str:
    """Return one line for each variant that is not shipped, with what speaks against it."""
    known = rows.values()
    return _list(
        (rows[other.key], escape(titles.plain(other.sentence, known))) for other in found.others
    )


def notes(rows: Sequence[VariantResult]) -> str:
    """Return what a reader must know of single rows, as a list; empty where there is nothing."""
    return _list((row, escape(note)) for row in rows for note in row.notes)


def failures(rows: Sequence[Failure]) -> str:
    """Return cells without figures as a list: which, why, what to do; equal reasons once."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for row in rows:
        groups.setdefault((row.reason, row.remedy), []).append(row)
    lines = (
        _item(cells, f"{escape(reason)} <em>{escape(remedy)}</em>")
        for (reason, remedy), cells in groups.items()
    )
    return f'<ul class="qw-list">{"".join(lines)}</ul>'


def technical(details: Sequence[str]) -> str:
    """Return technical texts as they are; `st.code` would load a highlighter of 1.5 MB."""
    return f'<pre class="qw-details" tabindex="0">{escape(chr(10).join(details))}</pre>'


def _item(cells: Sequence[VariantResult | Failure], text: str) -> str:
    side_by_side = "qw-single" if len(cells) == 1 else "qw-several"
    return f'<li class="{side_by_side}">{_names(cells)}<span>{text}</span></li>'


def _names(cells: Sequence[VariantResult | Failure]) -> str:
    names = "".join(
        f'<b class="qw-name">{theme.glyph(cell.workflow, cell.backend)}'
        f"{escape(titles.variant(cell.workflow, cell.backend))}</b>"
        for cell in cells
    )
    return f'<span class="qw-names">{names}</span>'


def _list(lines: Iterable[tuple[VariantResult, str]]) -> str:
    items = "".join(_item([row], text) for row, text in lines)
    return f'<ul class="qw-list">{items}</ul>' if items else ""


def legend(rows: Sequence[VariantResult]) -> str:
    """Return what colours, shapes and areas of the plot mean, for the variants drawn."""
    workflows = list(dict.fromkeys(row.workflow for row in rows))
    drawn = {row.backend for row in rows}
    backends = [name for name in titles.backends() if name in drawn]
    colors = "".join(
        f"<li>{theme.glyph(name, None)}{escape(titles.workflow(name))}</li>" for name in workflows
    )
    shapes = "".join(
        f"<li>{theme.glyph('', name)}{escape(titles.backend(name))}</li>" for name in backends
    )
    groups = [("Colour: workflow", colors), ("Shape: backend", shapes)]
    lists = "".join(f"<strong>{title}</strong><ul>{items}</ul>" for title, items in groups if items)
    return (
        f'<div class="qw-legend">{lists}<strong>Area: file size</strong>'
        "<p>Thin bars are 95 % intervals. Dotted lines are float32.</p></div>"
    )
