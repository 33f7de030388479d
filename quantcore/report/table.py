"""A table of plain text that fits a terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from quantcore.report.rows import Row
from quantcore.wording import NONE

GAP = "  "
NARROWEST = 8
# Figures that stay however narrow the terminal: up to and with top-1.
FIGURES_THAT_STAY = 4
FIGURES = {
    "size": "size",
    "latency": "latency",
    "speed-up": "speedup",
    "vs best float": "over_best",
    "top-1": "top1",
    "vs float": "against_float",
    "int8": "int8_share",
    "cold start": "start",
}


@dataclass(frozen=True)
class Column:
    """One column: its heading, of one line or more, its cells, and whether it holds words."""

    heading: tuple[str, ...]
    cells: tuple[str, ...]
    words: bool

    @property
    def width(self) -> int:
        """Return the characters of its widest line."""
        return max(map(len, (*self.heading, *self.cells)))

    def lines(self, headings: int) -> list[str]:
        """Return heading and cells in one width; words stand to the left, figures to the right."""
        above = [""] * (headings - len(self.heading))
        pad: Callable[[str, int], str] = str.ljust if self.words else str.rjust
        return [pad(line, self.width) for line in (*above, *self.heading, *self.cells)]

    def cut(self, width: int) -> "Column":
        """Return the column with nothing in it wider than this."""
        return replace(
            self,
            heading=tuple(_cut(line, width) for line in self.heading),
            cells=tuple(_cut(cell, width) for cell in self.cells),
        )


def table(rows: Sequence[Row], width: int) -> str:
    """Return the rows as a table at most `width` wide; what varies has columns of its own."""
    if not rows:
        return ""
    columns = _fitted(_names(rows), _figures(rows), width)
    headings = max(len(column.heading) for column in columns)
    lines = zip(*(column.lines(headings) for column in columns), strict=True)
    return "\n".join(GAP.join(line).rstrip() for line in lines)


def _names(rows: Sequence[Row]) -> list[Column]:
    return [
        *_varying([row.surroundings for row in rows]),
        _column("workflow", [row.workflow for row in rows], words=True),
        _column("backend", [row.backend for row in rows], words=True),
        *_varying([row.differs for row in rows]),
    ]


def _varying(pairs: Sequence[Sequence[tuple[str, str]]]) -> list[Column]:
    columns = zip(*pairs, strict=True)
    return [_varying_column(column) for column in columns]


def _varying_column(pairs: Sequence[tuple[str, str]]) -> Column:
    texts = [text for _, text in pairs]
    numbers = all(text == NONE or text.replace(".", "").isdigit() for text in texts)
    return _column(pairs[0][0], texts, words=not numbers)


def _column(heading: str, cells: Sequence[str], *, words: bool) -> Column:
    # A setting's name is longer than its values, so it stands in lines of a word each.
    return Column(tuple(heading.split(" ")), tuple(cells), words)


def _figures(rows: Sequence[Row]) -> list[Column]:
    return [
        Column((heading,), tuple(str(getattr(row, name)) for row in rows), words=False)
        for heading, name in FIGURES.items()
        if name != "over_best" or any(row.over_best != NONE for row in rows)
    ]


def _fitted(names: list[Column], figures: list[Column], width: int) -> list[Column]:
    """Return the columns that fit: the last figures go first, the ends of long words last."""
    while _width([*names, *figures]) > width and len(figures) > FIGURES_THAT_STAY:
        figures = figures[:-1]
    if len(names) > 2:
        figures = _narrowed(names, figures, width)
    while (excess := _width([*names, *figures]) - width) > 0:
        widest = max((c for c in names if c.words), key=lambda column: column.width)
        if widest.width <= NARROWEST:
            break
        narrower = widest.cut(max(NARROWEST, widest.width - excess))
        names = [narrower if column is widest else column for column in names]
    return [*names, *figures]


def _narrowed(names: list[Column], figures: list[Column], width: int) -> list[Column]:
    """Return the figures without spreads, then without speed-up, where all else would not fit.

    CSV and JSON have them, and what is left still says enough to choose by.
    """
    if _width([*names, *figures]) > width:
        figures = [replace(c, cells=tuple(map(_without_spread, c.cells))) for c in figures]
    if _width([*names, *figures]) > width:
        figures = [column for column in figures if column.heading != ("speed-up",)]
    return figures


def _without_spread(text: str) -> str:
    return text.partition(" (")[0]


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
