"""The plot: one marker a variant, colour by workflow, shape by backend, area by file size."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from quantcore import wording
from quantcore.decide import KINDS, Budgets, best_floats, reference_group, references
from quantcore.draw import marks, titles
from quantcore.draw.axes import AXES, Axis
from quantcore.draw.templating import render
from quantcore.schema import FLOAT_WORKFLOW, VariantResult

LARGEST_MARKER_PX = 30
SMALLEST_MARKER_PX = 9
HEIGHT_PX = 500
OPACITY = 0.9
BEATEN_OPACITY = 0.6
SPOKE_OPACITY = 0.35
LINE_PX = 16
OUTLINE = {"width": 1, "color": "rgba(255,255,255,0.7)"}
# What plotly calls a mark without a filling.
OPEN = "-open"
# More float32 than these would be a thicket of lines and names; the texts at the markers remain.
MAX_NAMED_FLOATS = 8


def plot(
    results: Sequence[VariantResult],
    across: str,
    up: str,
    front: Sequence[str] | None = None,
    budgets: Budgets | None = None,
) -> go.Figure:
    """Return the scatter of the results on two of `AXES`, one trace a workflow.

    Args:
        results: what is drawn; a result without one of the two figures is left out.
        across: the horizontal axis, a name in `AXES`.
        up: the vertical axis.
        front: keys of the results that none really beats; the others are muted. None mutes none.
        budgets: limits, drawn as dashed lines where some are within and some beyond them.
    """
    x, y = AXES[across], AXES[up]
    groups = _groups(results, across, up)
    drawn = [row for rows in groups.values() for row in rows]
    largest = max((r.artifact.size_bytes for r in drawn), default=1)
    named = titles.by_key(drawn)
    figure = go.Figure([_trace(name, rows, x, y, named) for name, rows in groups.items()])
    for trace, rows in zip(figure.data, groups.values(), strict=True):
        trace.marker.size = [_diameter(row.artifact.size_bytes, largest) for row in rows]
        trace.marker.opacity = [_opacity(row, front) for row in rows]
    figure.update_layout(**_layout(x, y))
    _mark_float(figure, drawn, x, y)
    for axis, name in (("x", across), ("y", up)):
        _mark_budget(figure, axis, name, budgets or Budgets(), drawn)
    return figure


def limited(
    figure: go.Figure,
    results: Sequence[VariantResult],
    across: str,
    up: str,
    front: Sequence[str],
    budgets: Budgets,
) -> go.Figure:
    """Return another figure as `plot` draws it under budgets, from the one it drew without any.

    The arguments are those of `plot`. Drawing 200 variants takes ten times as long.
    """
    spec = figure.to_dict()
    groups = _groups(results, across, up)
    # Lines from float32 to its variants stay as they are.
    marked = [trace for trace in spec["data"] if trace["mode"] == "markers"]
    for trace, rows in zip(marked, groups.values(), strict=True):
        trace["marker"]["opacity"] = [_opacity(row, front) for row in rows]
    # It was validated as it was drawn, which is what takes the time.
    other = go.Figure(spec, _validate=False)
    for axis, name in (("x", across), ("y", up)):
        _mark_budget(other, axis, name, budgets, [row for rows in groups.values() for row in rows])
    return other


def _groups(
    results: Sequence[VariantResult], across: str, up: str
) -> dict[str, list[VariantResult]]:
    """Return the rows by workflow, in drawing order: later marks lie upon earlier ones."""
    drawn = with_both(results, across, up)
    # Big markers first, so that no small one is hidden under them; float32's open ones on top.
    drawn.sort(key=lambda result: (result.is_float, -result.artifact.size_bytes))
    groups: dict[str, list[VariantResult]] = {}
    for result in drawn:
        groups.setdefault(result.workflow, []).append(result)
    return groups


def add_exported(
    figure: go.Figure,
    exported: Mapping[str, VariantResult],
    across: str,
    up: str,
    beside: Sequence[VariantResult],
) -> None:
    """Draw exported files beside their variants, with the same marks but open.

    Args:
        figure: what `plot` returned for the same axes.
        exported: figures of each file, by what the file is called.
        across: the horizontal axis, a name in `AXES`.
        up: the vertical axis.
        beside: what `plot` drew; areas are alike in both.
    """
    x, y = AXES[across], AXES[up]
    drawn = {name: row for name, row in exported.items() if with_both([row], across, up)}
    rows = list(drawn.values())
    sizes = [row.artifact.size_bytes for row in with_both(beside, across, up)]
    largest = max(sizes, default=1)
    figure.add_scatter(
        x=[x.value(row) for row in rows],
        y=[y.value(row) for row in rows],
        name="Exported",
        mode="markers",
        marker={
            "symbol": [f"{marks.symbol(row.backend)}{OPEN}" for row in rows],
            "color": [marks.color(row.workflow) for row in rows],
            "size": [_diameter(row.artifact.size_bytes, largest) for row in rows],
            "line": {"width": 2},
        },
        text=[_hover(row, name) for name, row in drawn.items()],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def with_both(results: Sequence[VariantResult], across: str, up: str) -> list[VariantResult]:
    """Return the results that have both figures, which are those that are drawn."""
    x, y = AXES[across], AXES[up]
    return [r for r in results if x.value(r) is not None and y.value(r) is not None]


def _trace(
    workflow: str, rows: Sequence[VariantResult], x: Axis, y: Axis, named: Mapping[str, str]
) -> go.Scatter:
    return go.Scatter(
        x=[x.value(row) for row in rows],
        y=[y.value(row) for row in rows],
        error_x=_bars(x, workflow, rows),
        error_y=_bars(y, workflow, rows),
        name=titles.workflow(workflow),
        mode="markers",
        marker=_shapes(workflow, rows),
        text=[_hover(row, named[row.key]) for row in rows],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def _shapes(workflow: str, rows: Sequence[VariantResult]) -> dict[str, Any]:
    """Return the marks of a workflow's rows; float32's are open, so that those below are seen."""
    symbols, color = [marks.symbol(row.backend) for row in rows], marks.color(workflow)
    if workflow == FLOAT_WORKFLOW:
        line = {"width": 3, "color": color}
        return {"symbol": [f"{symbol}{OPEN}" for symbol in symbols], "color": color, "line": line}
    return {"symbol": symbols, "color": color, "line": OUTLINE}


def _diameter(size_bytes: int, largest: int) -> float:
    """Return the marker's width in px: its area follows the size of the file."""
    return max(SMALLEST_MARKER_PX, LARGEST_MARKER_PX * math.sqrt(size_bytes / largest))


def _opacity(row: VariantResult, front: Sequence[str] | None) -> float:
    beaten = front is not None and row.key not in front and not row.is_float
    return BEATEN_OPACITY if beaten else OPACITY


def _bars(axis: Axis, workflow: str, rows: Sequence[VariantResult]) -> dict[str, Any]:
    """Return the thin bars of the 95 % intervals; a figure without one gets a bar of no length."""
    values = [axis.value(row) or 0.0 for row in rows]
    intervals = [axis.interval(row) for row in rows]
    if not any(intervals):
        return {"visible": False}
    spans = [span or (value, value) for span, value in zip(intervals, values, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for (_, high), value in zip(spans, values, strict=True)],
        "arrayminus": [value - low for (low, _), value in zip(spans, values, strict=True)],
        "color": marks.color(workflow),
        "thickness": 1,
        "width": 0,
    }


def _hover(row: VariantResult, name: str) -> str:
    figures = [
        f"{axis.title}: {axis.text(value)}"
        for axis in AXES.values()
        if (value := axis.value(row)) is not None
    ]
    if not row.is_float and row.has_speedup:
        figures.append(f"Against its own float32: {wording.faster(row.speedup.ratio)}")
    # plotly reads tags in its texts.
    return render("hover.html", name=name, figures=figures)


def _layout(x: Axis, y: Axis) -> dict[str, Any]:
    return {
        "height": HEIGHT_PX,
        "margin": {"l": 8, "r": 12, "t": 16, "b": 8},
        "dragmode": False,
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "xaxis": _axis_layout(x),
        "yaxis": _axis_layout(y),
    }


def _axis_layout(axis: Axis) -> dict[str, Any]:
    # Costs start at zero, so that half as far is half as much; shares would be squeezed flat.
    return {
        "title": {"text": axis.label, "standoff": 10},
        "rangemode": "tozero" if axis.better == "low" else "normal",
        "fixedrange": True,
        "automargin": True,
        "zeroline": False,
        "showgrid": True,
    }


def _mark_float(figure: go.Figure, drawn: Sequence[VariantResult], x: Axis, y: Axis) -> None:
    """Show the reference of every variant: one float32 as dotted lines, several by spokes."""
    floats = best_floats(drawn)
    ends = [x.value(row) or 0.0 for row in drawn]
    middle = (min(ends, default=0.0) + max(ends, default=0.0)) / 2
    if len({reference_group(row) for row in drawn}) > 1:
        if len(floats) <= MAX_NAMED_FLOATS:
            _draw_spokes(figure, drawn, x, y)
            headings = titles.reference_groups(drawn)
            in_order = sorted(floats.items(), key=lambda pair: x.value(pair[1]) or 0.0)
            for index, (where, reference) in enumerate(in_order):
                # Every other name stands higher, so that neighbours do not cover each other.
                heading = render("text.html", text=headings[where])
                _annotate(figure, reference, heading, x, y, middle, lift=index % 2)
        return
    for reference in floats.values():
        line = {"color": marks.NEUTRAL, "width": 1, "dash": "dot"}
        figure.add_vline(x=x.value(reference), line=line, layer="below")
        figure.add_hline(y=y.value(reference), line=line, layer="below")
    floats_here = sorted((row for row in drawn if row.is_float), key=lambda row: x.value(row) or 0)
    for index, row in enumerate(floats_here):
        on = f" on {titles.backend(row.backend)}" if row.backend else ""
        # Float32 of several runtimes lie close to each other, and their names above each other.
        name = f"float32{on if len(floats_here) > 1 else ''}"
        _annotate(figure, row, name, x, y, middle, lift=index)


def _annotate(
    figure: go.Figure,
    row: VariantResult,
    text: str,
    x: Axis,
    y: Axis,
    middle: float,
    lift: int = 0,
) -> None:
    """Write a name above a mark, towards the middle of the plot."""
    is_left = (x.value(row) or 0.0) < middle
    figure.add_annotation(
        x=x.value(row),
        y=y.value(row),
        text=text,
        showarrow=False,
        xshift=12 if is_left else -12,
        xanchor="left" if is_left else "right",
        yshift=30 + lift * LINE_PX,
    )


# Which budget limits which axis, and its unit in that of the axis.
_BUDGETS = {
    "latency": ("latency_ms", 1.0),
    "size": ("size_bytes", 1e6),
    "memory": ("peak_memory_bytes", 1e6),
}


def _mark_budget(
    figure: go.Figure, axis: str, name: str, budgets: Budgets, drawn: Sequence[VariantResult]
) -> None:
    budget, unit = _BUDGETS.get(name, ("", 1.0))
    limit = budgets.limits().get(budget)
    figures = [AXES[name].value(row) or 0.0 for row in drawn]
    if limit is None or not min(figures, default=0.0) <= limit / unit < max(figures, default=0.0):
        return
    text = f"{KINDS[budget].noun} budget {KINDS[budget].text(limit)}"
    line = {"color": marks.BUDGET, "width": 1.5, "dash": "dash"}
    along = {"text": text, "showarrow": False}
    if axis == "x":
        figure.add_vline(x=limit / unit, line=line, layer="below")
        beside = {"xanchor": "left", "yanchor": "bottom", "xshift": 5}
        figure.add_annotation(x=limit / unit, y=0, yref="paper", yshift=4, **beside, **along)
    else:
        figure.add_hline(y=limit / unit, line=line, layer="below")
        figure.add_annotation(
            y=limit / unit, x=1, xref="paper", xanchor="right", yshift=10, **along
        )


def _draw_spokes(figure: go.Figure, drawn: Sequence[VariantResult], x: Axis, y: Axis) -> None:
    """Draw a thin line from each float32 to each of its variants, below the markers."""
    own = references(drawn)
    # A gap after each line keeps them apart within one trace.
    ends = [(own[row.key], row, None) for row in drawn if row.key in own]
    points = [point for line in ends for point in line]
    spokes = go.Scatter(
        x=[point and x.value(point) for point in points],
        y=[point and y.value(point) for point in points],
        mode="lines",
        line={"color": marks.NEUTRAL, "width": 1},
        opacity=SPOKE_OPACITY,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_trace(spokes)
    figure.data = (figure.data[-1], *figure.data[:-1])


def describe(results: Sequence[VariantResult], across: str, up: str) -> str:
    """Return the plot in sentences, for those who cannot see it."""
    x, y = AXES[across], AXES[up]
    head = (
        f"{wording.count(len(results), 'variant')}: {x.title.lower()} across, {y.title.lower()} up."
    )
    named = zip(results, titles.names(results), strict=True)
    return " ".join([head, *(_sentence(result, name, x, y) for result, name in named)])


def _sentence(result: VariantResult, name: str, x: Axis, y: Axis) -> str:
    figures = [
        f"{axis.title.lower()} {axis.text(value)}"
        for axis in (x, y)
        if (value := axis.value(result)) is not None
    ]
    return f"{name}: {', '.join(figures)}."
