"""The plot as an SVG file: drawn without a browser, for print, for slides, and without scripts.

It shows what `charts.plot` returns, with a legend of its own, since it travels alone.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from quantcore.draw import marks, titles
from quantcore.draw.charts import OPEN
from quantcore.draw.outlines import outline
from quantcore.draw.templating import render
from quantcore.schema import VariantResult

WIDTH_PX, HEIGHT_PX = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 74, 190, 58, 84
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
# A page's style sheet gives these colours for its theme; a file that stands alone has the latter.
TEXT = "var(--qw-text, #17212b)"
MUTED = "var(--qw-muted, #51606f)"
LINE = "var(--qw-line, #dde3ea)"
GROUND = "var(--qw-ground, #ffffff)"
ROOM = 0.06
MAX_TICKS = 7
LEGEND_PX = 22
LEGEND_NOTES = ("Thin bars:", "95 % intervals", "Paler: beaten", "or over budget")


@dataclass(frozen=True)
class Element:
    """One SVG element: its attributes in order, and the text or the title within it."""

    tag: str
    attributes: Mapping[str, str]
    text: str = ""
    title: str = ""


@dataclass(frozen=True)
class Scale:
    """One axis: the range of its values, the pixels that stand for it, and its ticks."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel at which a value stands."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return round values within the range, and how each is written."""
        step = _round_step((self.high - self.low) / MAX_TICKS)
        decimals = max(0, -math.floor(math.log10(step)))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(index * step, f"{index * step:,.{decimals}f}") for index in range(first, last + 1)]


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= least * (1 - 1e-9))


def svg(
    figure: go.Figure, rows: Sequence[VariantResult], title: str = "", note: str = "", alt: str = ""
) -> Markup:
    """Return a figure of `charts.plot` as an `<svg>` element, coloured for a page or for itself.

    Args:
        figure: what to draw.
        rows: the results that it draws, for the legend.
        title: above the picture.
        note: below it: what the figures are true of.
        alt: what a screen reader says instead.
    """
    # Reading plain dicts is many times faster than reading plotly's objects.
    plain = figure.to_plotly_json()
    layout = plain["layout"]
    x = _scale(plain, "x", LEFT, WIDTH_PX - RIGHT)
    y = _scale(plain, "y", HEIGHT_PX - BOTTOM, TOP)
    shapes = [
        _text(LEFT, 30, title, size=17, fill=TEXT, weight=600),
        *_grid(layout, x, y),
        *(_shape(shape, x, y) for shape in layout.get("shapes", ())),
        *(part for trace in plain["data"] for part in _trace(trace, x, y)),
        *(_annotation(each, x, y) for each in layout.get("annotations", ())),
        *_legend(rows),
        _text(LEFT, HEIGHT_PX - 14, note, size=12),
    ]
    return render(
        "plot.svg",
        width=WIDTH_PX,
        height=HEIGHT_PX,
        label=alt or title,
        font=FONT,
        ground=GROUND,
        shapes=[shape for shape in shapes if shape.tag != "text" or shape.text],
    )


def alone(drawn: str) -> str:
    """Return the SVG with the colours of a file of its own, which no style sheet themes."""
    return re.sub(r"var\(--[\w-]+, (#\w+)\)", r"\1", drawn)


def _scale(figure: Mapping[str, Any], name: str, start: float, end: float) -> Scale:
    values = list(_values(figure, name)) or [0.0, 1.0]
    low, high = min(values), max(values)
    from_zero = figure["layout"][f"{name}axis"]["rangemode"] == "tozero"
    room = ROOM * ((high if from_zero else high - low) or abs(high) or 1.0)
    return Scale(0.0 if from_zero else low - room, high + room, start, end)


def _values(figure: Mapping[str, Any], name: str) -> Iterator[float]:
    """Return every value that has to be within the range: points and the ends of their bars."""
    for trace in figure["data"]:
        bars = trace.get(f"error_{name}", {})
        for index, value in enumerate(trace[name]):
            if value is not None:
                yield value
                yield from (end for ends in _bar(bars, value, index) for end in ends)


def _grid(layout: Mapping[str, Any], x: Scale, y: Scale) -> Iterator[Element]:
    for value, text in x.ticks():
        yield _line(x.at(value), y.start, x.at(value), y.end)
        yield _text(x.at(value), y.start + 20, text, anchor="middle")
    for value, text in y.ticks():
        yield _line(x.start, y.at(value), x.end, y.at(value))
        yield _text(x.start - 8, y.at(value) + 4, text, anchor="end")
    across, up = (layout[f"{name}axis"]["title"]["text"] for name in "xy")
    yield _text((x.start + x.end) / 2, y.start + 44, across, size=14, anchor="middle")
    middle = (y.start + y.end) / 2
    turned = f"rotate(-90 20 {middle:.1f})"
    yield _text(20, middle, up, size=14, anchor="middle", transform=turned)


def _shape(shape: Mapping[str, Any], x: Scale, y: Scale) -> Element:
    """Return a line from one end of the plot to the other."""
    line = shape["line"]
    dash = "6 4" if line["dash"] == "dash" else "1.5 3"
    if shape["xref"] == "x":
        ends = x.at(shape["x0"]), y.start, x.at(shape["x0"]), y.end
    else:
        ends = x.start, y.at(shape["y0"]), x.end, y.at(shape["y0"])
    return _line(*ends, stroke=line["color"], dash=dash, width=line["width"])


def _annotation(note: Mapping[str, Any], x: Scale, y: Scale) -> Element:
    left = _position(note["x"], note.get("xref"), x) + note.get("xshift", 0)
    above = _position(note["y"], note.get("yref"), y) - note.get("yshift", 0)
    anchor = {"right": "end", "left": "start"}.get(note.get("xanchor", ""), "middle")
    return _text(left, above + 4, Markup(note["text"]).striptags(), anchor=anchor)


def _position(value: float, reference: str | None, scale: Scale) -> float:
    if reference == "paper":
        return scale.start + value * (scale.end - scale.start)
    return scale.at(value)


def _trace(trace: Mapping[str, Any], x: Scale, y: Scale) -> Iterator[Element]:
    points = list(zip(trace["x"], trace["y"], strict=True))
    if trace["mode"] == "lines":
        yield from _spokes(trace, points, x, y)
        return
    for index, (across, up) in enumerate(points):
        for low, high in _bar(trace["error_x"], across, index):
            yield _line(x.at(low), y.at(up), x.at(high), y.at(up), stroke=trace["error_x"]["color"])
        for low, high in _bar(trace["error_y"], up, index):
            ends = x.at(across), y.at(low), x.at(across), y.at(high)
            yield _line(*ends, stroke=trace["error_y"]["color"])
        yield _marker(trace["marker"], index, x.at(across), y.at(up), trace["text"][index])


def _spokes(
    trace: Mapping[str, Any], points: Sequence[tuple[float, float]], x: Scale, y: Scale
) -> Iterator[Element]:
    for (x0, y0), (x1, y1) in zip(points[::3], points[1::3], strict=True):
        ends = x.at(x0), y.at(y0), x.at(x1), y.at(y1)
        yield _line(*ends, stroke=trace["line"]["color"], opacity=trace["opacity"])


def _bar(bars: Mapping[str, Any], middle: float, index: int) -> list[tuple[float, float]]:
    """Return the ends of an interval; none where there are no intervals."""
    if "array" not in bars:
        return []
    return [(middle - bars["arrayminus"][index], middle + bars["array"][index])]


def _marker(marker: Mapping[str, Any], index: int, x: float, y: float, hover: str) -> Element:
    symbol, color = _each(marker["symbol"], index), marker["color"]
    radius, opacity = marker["size"][index] / 2, marker["opacity"][index]
    # The first line of a hover text is the name.
    name = Markup(hover.partition("<br>")[0]).striptags()
    if symbol.endswith(OPEN):
        style = f"fill:none;stroke:{color};stroke-width:{marker['line']['width']}"
    else:
        style = f"fill:{color};fill-opacity:{opacity};stroke:{GROUND};stroke-opacity:0.7"
    path = outline(symbol.removesuffix(OPEN), x, y, radius)
    return Element("path", {"d": path, "style": style}, title=name)


def _each(value: Any, index: int) -> Any:
    return value[index] if isinstance(value, (tuple, list)) else value


def _legend(rows: Sequence[VariantResult]) -> Iterator[Element]:
    left, y = WIDTH_PX - RIGHT + 26, float(TOP + 6)
    workflows = list(dict.fromkeys(row.workflow for row in rows))
    backends = [name for name in titles.backends() if name in {row.backend for row in rows}]
    groups = (
        ("Colour: workflow", [(titles.workflow(n), marks.color(n), "circle") for n in workflows]),
        ("Shape: backend", [(titles.backend(n), marks.NEUTRAL, marks.symbol(n)) for n in backends]),
    )
    for heading, entries in groups:
        if entries:
            yield _text(left - 6, y + 4, heading, weight=600)
            y += LEGEND_PX
        for name, color, symbol in entries:
            yield Element("path", {"d": outline(symbol, left, y, 6), "style": f"fill:{color}"})
            yield _text(left + 16, y + 4.5, name, fill=TEXT)
            y += LEGEND_PX
        y += LEGEND_PX / 2
    yield _text(left - 6, y + 4, "Area: file size", weight=600)
    for index, line in enumerate(LEGEND_NOTES):
        yield _text(left - 6, y + 4 + (index + 1) * 18, line)


def _line(
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    *,
    stroke: str = LINE,
    dash: str = "",
    width: float = 1,
    opacity: float = 1,
) -> Element:
    dashed = f";stroke-dasharray:{dash}" if dash else ""
    faint = f";stroke-opacity:{opacity}" if opacity < 1 else ""
    style = f"stroke:{stroke};stroke-width:{width}{dashed}{faint}"
    return Element("path", {"d": f"M{x0:.1f},{y0:.1f}L{x1:.1f},{y1:.1f}", "style": style})


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 13,
    fill: str = MUTED,
    weight: int = 400,
    anchor: str = "start",
    transform: str = "",
) -> Element:
    style = f"font-size:{size}px;font-weight:{weight};fill:{fill};text-anchor:{anchor}"
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "style": style}
    if transform:
        attributes["transform"] = transform
    return Element("text", attributes, text=text)
