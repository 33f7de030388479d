"""The texts around the table, as HTML: the verdict, reasons, notes, refusals, the legend."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from quantcore import wording
from quantcore.decide import Verdict, labels, reference_group
from quantcore.draw import marks, titles, tuning
from quantcore.draw.templating import render
from quantcore.schema import Failure, VariantResult
from quantcore.workflows import bits_of

# Share of the multiply-adds in 8 bits from which a variant counts as quantized.
REALLY = 0.9


@dataclass(frozen=True)
class Named:
    """A variant as a list names it: its mark in the plot, and its name."""

    mark: Markup
    name: str


@dataclass(frozen=True)
class Line:
    """What a list says of some variants; `remedy` is set apart where there is one."""

    variants: Sequence[Named]
    text: str
    remedy: str | None = None


EVERY = Named(Markup(), "Every variant")


def verdict(verdict: Verdict, rows: Mapping[str, VariantResult]) -> Markup:
    """Return the verdict: the variant to ship, its figures, and what is unknown."""
    row, speak = rows.get(verdict.ship or ""), titles.speaker(rows.values())
    quantized = [_quantized(row), tuning.chosen(row.tuning)] if row and not row.is_float else []
    return render(
        "verdict.html",
        mark=marks.glyph(row.workflow, row.backend) if row else "",
        headline=speak(verdict.headline),
        reason=speak(verdict.reason),
        caveats=[*filter(None, quantized), *map(speak, verdict.caveats)],
    )


def _quantized(row: VariantResult) -> str:
    """Return whether the file really runs in 8 bits, and why not where that is known."""
    if bits_of(row.workflow, row.settings) != 8:
        return "Its numbers have 16 bits."
    share = wording.percent(row.int8_share, 0)
    if row.int8_share >= REALLY:
        return f"Really quantized: {share} of its multiply-adds run in 8 bits, read from the file."
    why = " ".join(note for note in row.notes if "float" in note)
    return f"Only {share} of its multiply-adds run in 8 bits, read from the file. {why}".strip()


def others(verdict: Verdict, rows: Mapping[str, VariantResult]) -> Markup:
    """Return one line for each variant that is not shipped, with what speaks against it."""
    speak, named = titles.speaker(rows.values()), _named(tuple(rows.values()))
    return _list([Line([named[other.key]], speak(other.sentence)) for other in verdict.others])


def notes(rows: Sequence[VariantResult]) -> Markup:
    """Return the notes on single rows, as a list; empty where there are none.

    What is true of all of many rows is said once.
    """
    named = _named(rows)
    noted = [(named[row.key], note) for row in rows for note in tuning.remarks(row)]
    many = Counter(note for _, note in noted)
    shared = [note for note, count in many.items() if count == len(rows) > 1 and _several(rows)]
    single = [Line([variant], note) for variant, note in noted if note not in shared]
    return _list([*(Line([EVERY], note) for note in shared), *single])


def failures(rows: Sequence[Failure], beside: Sequence[labels.Cell] = ()) -> Markup:
    """Return cells without figures as a list: which, why, what to do; equal reasons once.

    Args:
        rows: the cells.
        beside: the other cells of the comparison, from which the names tell them apart.
    """
    groups: dict[tuple[str, str], dict[Named, None]] = {}
    for row, name in zip(rows, _failed_names(rows, beside), strict=True):
        named = Named(marks.glyph(row.workflow, row.backend), name)
        groups.setdefault((row.reason, row.remedy), {})[named] = None
    return _list([Line(list(names), *why) for why, names in groups.items()])


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


def technical(details: Sequence[str]) -> Markup:
    """Return technical texts as they are; `st.code` would load a highlighter of 1.5 MB."""
    return render("technical.html", text="\n".join(details))


def _named(rows: Sequence[VariantResult]) -> dict[str, Named]:
    return {
        row.key: Named(marks.glyph(row.workflow, row.backend), name)
        for row, name in zip(rows, titles.names(rows), strict=True)
    }


def _several(rows: Sequence[VariantResult]) -> bool:
    return len({reference_group(row) for row in rows}) > 1


def _list(lines: Sequence[Line]) -> Markup:
    return render("variant_list.html", lines=lines) if lines else Markup()


def legend(rows: Sequence[VariantResult]) -> Markup:
    """Return the meaning of the plot's colours, shapes and areas, for the variants drawn."""
    workflows = list(dict.fromkeys(row.workflow for row in rows))
    drawn = {row.backend for row in rows}
    backends = [name for name in titles.backends() if name in drawn]
    colors = [(marks.glyph(name, None), titles.workflow(name)) for name in workflows]
    shapes = [(marks.glyph("", name), titles.backend(name)) for name in backends]
    if None in drawn:
        shapes.append((marks.glyph("", None), "torch's float32"))
    lines = (
        "Open marks are float32; thin lines lead from each to its variants."
        if _several(rows)
        else "Open marks are float32; dotted lines run through the fastest."
    )
    groups = [("Colour: workflow", colors), ("Shape: backend", shapes)]
    return render("legend.html", groups=groups, lines=lines)
