"""What is said around the table, as HTML: the verdict, reasons, notes, refusals, the legend."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from quantcore import wording
from quantcore.decide import Verdict, labels, reference_group
from quantcore.draw import marks, titles
from quantcore.schema import Failure, VariantResult

# Share of the multiply-adds in 8 bits from which a variant counts as quantized.
REALLY = 0.9


@dataclass(frozen=True)
class Named:
    """A variant as a list names it: its mark in the plot, as HTML, and its name."""

    mark: str
    text: str


EVERY = Named("", "Every variant")


def verdict(found: Verdict, rows: Mapping[str, VariantResult]) -> str:
    """Return the verdict: what to ship, what it brings, and what is not known."""
    row, speak = rows.get(found.ship or ""), titles.speaker(rows.values())
    headline = escape(speak(found.headline))
    mark = marks.glyph(row.workflow, row.backend) if row else ""
    said = speak(found.reason)
    reason = said[:1].upper() + said[1:]
    told = [*([_quantized(row)] if row and row.workflow != "float32" else []), *found.caveats]
    caveats = "".join(f'<p class="qw-caveat">{escape(text)}</p>' for text in told)
    return (
        f'<section class="qw-verdict" aria-label="Verdict"><h2>{mark}{headline}</h2>'
        f"<p>{escape(reason)}.</p>{caveats}</section>"
    )


def _quantized(row: VariantResult) -> str:
    """Return whether the file really runs in 8 bits, and why not where that is known."""
    share = wording.percent(row.int8_share, 0)
    if row.int8_share >= REALLY:
        return f"Really quantized: {share} of its multiply-adds run in 8 bits, read from the file."
    why = " ".join(note for note in row.notes if "float" in note)
    return f"Only {share} of its multiply-adds run in 8 bits, read from the file. {why}".strip()


def others(found: Verdict, rows: Mapping[str, VariantResult]) -> str:
    """Return one line for each variant that is not shipped, with what speaks against it."""
    speak, named = titles.speaker(rows.values()), _named(tuple(rows.values()))
    lines = (([named[other.key]], escape(speak(other.sentence))) for other in found.others)
    return _list(lines)


def notes(rows: Sequence[VariantResult]) -> str:
    """Return what a reader must know of single rows, as a list; empty where there is nothing.

    What is true of all of many rows is said once.
    """
    named = _named(rows)
    noted = [(named[row.key], note) for row in rows for note in row.notes]
    many = Counter(note for _, note in noted)
    shared = [note for note, count in many.items() if count == len(rows) > 1 and _several(rows)]
    lines = [([EVERY], escape(note)) for note in shared]
    return _list([*lines, *(([n], escape(note)) for n, note in noted if note not in shared)])


def failures(rows: Sequence[Failure], beside: Sequence[labels.Cell] = ()) -> str:
    """Return cells without figures as a list: which, why, what to do; equal reasons once.

    Args:
        rows: the cells.
        beside: the other cells of the comparison, from which the names tell them apart.
    """
    groups: dict[tuple[str, str], dict[Named, None]] = {}
    for row, name in zip(rows, _failed_names(rows, beside), strict=True):
        named = Named(marks.glyph(row.workflow, row.backend), name)
        groups.setdefault((row.reason, row.remedy), {})[named] = None
    return _list(
        (list(names), f"{escape(reason)} <em>{escape(remedy)}</em>")
        for (reason, remedy), names in groups.items()
    )


def _failed_names(rows: Sequence[Failure], beside: Sequence[labels.Cell]) -> list[str]:
    """Return the cells' names; what cannot be is so at every image size, number of threads, …."""
    cells = (*rows, *beside)
    titled = titles.models(cell.model for cell in cells)
    several = len(titled) > 1
    return [
        titles.variant(row.workflow, row.backend) + (f" ({titled[row.model]})" if several else "")
        if row.refused
        else name
        for row, name in zip(rows, titles.names(cells), strict=False)
    ]


def technical(details: Sequence[str]) -> str:
    """Return technical texts as they are; `st.code` would load a highlighter of 1.5 MB."""
    return f'<pre class="qw-details" tabindex="0">{escape(chr(10).join(details))}</pre>'


def _named(rows: Sequence[VariantResult]) -> dict[str, Named]:
    return {
        row.key: Named(marks.glyph(row.workflow, row.backend), name)
        for row, name in zip(rows, titles.names(rows), strict=True)
    }


def _several(rows: Sequence[VariantResult]) -> bool:
    return len({reference_group(row) for row in rows}) > 1


def _item(names: Sequence[Named], text: str) -> str:
    side_by_side = "qw-single" if len(names) == 1 else "qw-several"
    marked = "".join(f'<b class="qw-name">{name.mark}{escape(name.text)}</b>' for name in names)
    return (
        f'<li class="{side_by_side}"><span class="qw-names">{marked}</span><span>{text}</span></li>'
    )


def _list(lines: Iterable[tuple[Sequence[Named], str]]) -> str:
    items = "".join(_item(names, text) for names, text in lines)
    return f'<ul class="qw-list">{items}</ul>' if items else ""


def legend(rows: Sequence[VariantResult]) -> str:
    """Return what colours, shapes and areas of the plot mean, for the variants drawn."""
    workflows = list(dict.fromkeys(row.workflow for row in rows))
    drawn = {row.backend for row in rows}
    backends = [name for name in titles.backends() if name in drawn]
    colors = "".join(
        f"<li>{marks.glyph(name, None)}{escape(titles.workflow(name))}</li>" for name in workflows
    )
    shapes = "".join(
        f"<li>{marks.glyph('', name)}{escape(titles.backend(name))}</li>" for name in backends
    )
    lines = (
        "Rings are float32; thin lines lead from each to its variants."
        if _several(rows)
        else "Dotted lines are float32."
    )
    groups = [("Colour: workflow", colors), ("Shape: backend", shapes)]
    lists = "".join(f"<strong>{title}</strong><ul>{items}</ul>" for title, items in groups if items)
    return (
        f'<div class="qw-legend">{lists}<strong>Area: file size</strong>'
        f"<p>Thin bars are 95 % intervals. {lines} Paler marks are beaten or over budget.</p></div>"
    )
