"""The plot: one marker a variant, colour by workflow, shape by backend, area by file size."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from quantcore.results import VariantResult
from ui import theme, titles, words
from ui.axes import AXES, Axis

LARGEST_MARKER_PX = 30
SMALLEST_MARKER_PX = 9
HEIGHT_PX = 500
OPACITY = 0.9
BEATEN_OPACITY = 0.6


def plot(
    results: Sequence[VariantResult], across: str, up: str, front: Sequence[str] | None = None
) -> go.Figure:
    """Return the scatter of the results on two of `AXES`, one trace a workflow.

    Args:
        results: what is drawn; a result without one of the two figures is left out.
        across: the horizontal axis, a name in `AXES`.
        up: the vertical axis.
        front: keys of the results that none really beats; the others are muted. None mutes none.
    """
    x, y = AXES[across], AXES[up]
    drawn = [r for r in results if x.value(r) is not None and y.value(r) is not None]
    # Big markers first, so that no small one is hidden under them; float32's ring on top of all.
    drawn.sort(key=lambda result: (result.workflow == "float32", -result.artifact.size_bytes))
    largest = max((r.artifact.size_bytes for r in drawn), default=1)
    groups: dict[str, list[VariantResult]] = {}
    for result in drawn:
        groups.setdefault(result.workflow, []).append(result)
    figure = go.Figure([_trace(name, rows, x, y) for name, rows in groups.items()])
    for trace, rows in zip(figure.data, groups.values(), strict=True):
        trace.marker.size = [_diameter(row.artifact.size_bytes, largest) for row in rows]
        trace.marker.opacity = [_opacity(row, front) for row in rows]
    figure.update_layout(**_layout(x, y))
    _mark_float(figure, drawn, x, y)
    return figure


def _trace(workflow: str, rows: Sequence[VariantResult], x: Axis, y: Axis) -> go.Scatter:
    return go.Scatter(
        x=[x.value(row) for row in rows],
        y=[y.value(row) for row in rows],
        error_x=_bars(x, workflow, rows),
        error_y=_bars(y, workflow, rows),
        name=titles.workflow(workflow),
        mode="markers",
        marker=_RING if workflow == "float32" else _shapes(workflow, rows),
        text=[_hover(row) for row in rows],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


# float32's marker is open, so that what lies under it is seen.
_RING = {
    "symbol": "circle-open",
    "color": theme.NEUTRAL,
    "line": {"width": 3, "color": theme.NEUTRAL},
}


def _shapes(workflow: str, rows: Sequence[VariantResult]) -> dict[str, Any]:
    return {
        "symbol": [theme.symbol(row.backend) for row in rows],
        "color": theme.color(workflow),
        "line": {"width": 1, "color": "rgba(255,255,255,0.7)"},
    }


def _diameter(size_bytes: int, largest: int) -> float:
    """Return the marker's width in px: its area follows the size of the file."""
    return max(SMALLEST_MARKER_PX, LARGEST_MARKER_PX * math.sqrt(size_bytes / largest))


def _opacity(row: VariantResult, front: Sequence[str] | None) -> float:
    beaten = front is not None and row.key not in front and row.workflow != "float32"
    return BEATEN_OPACITY if beaten else OPACITY


def _bars(axis: Axis, workflow: str, rows: Sequence[VariantResult]) -> dict[str, Any]:
    """Return the thin bars of the 95 % intervals; a figure without one gets a bar of no length."""
    values = [axis.value(row) or 0.0 for row in rows]
    found = [axis.interval(row) for row in rows]
    if not any(found):
        return {"visible": False}
    spans = [span or (value, value) for span, value in zip(found, values, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for (_, high), value in zip(spans, values, strict=True)],
        "arrayminus": [value - low for (low, _), value in zip(spans, values, strict=True)],
        "color": theme.color(workflow),
        "thickness": 1,
        "width": 0,
    }


def _hover(row: VariantResult) -> str:
    figures = [
        f"{axis.title}: {axis.text(value)}"
        for axis in AXES.values()
        if (value := axis.value(row)) is not None
    ]
    if row.workflow != "float32":
        figures.append(f"{words.faster(row.speedup.ratio)} than float32")
    return "<br>".join([f"<b>{titles.variant(row.workflow, row.backend)}</b>", *figures])


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
    """Draw float32's two figures as dotted lines: what every other variant is held against."""
    reference = next((result for result in drawn if result.workflow == "float32"), None)
    if reference is None:
        return
    line = {"color": theme.NEUTRAL, "width": 1, "dash": "dot"}
    figure.add_vline(x=x.value(reference), line=line, layer="below")
    figure.add_hline(y=y.value(reference), line=line, layer="below")
    figure.add_annotation(
        x=x.value(reference),
        y=y.value(reference),
        text="float32",
        showarrow=False,
        xshift=-12 if x.better == "low" else 12,
        xanchor="right" if x.better == "low" else "left",
        yshift=30,
    )


def describe(results: Sequence[VariantResult], across: str, up: str) -> str:
    """Return the plot in sentences, for those who cannot see it."""
    x, y = AXES[across], AXES[up]
    head = (
        f"{words.count(len(results), 'variant')}: {x.title.lower()} across, {y.title.lower()} up."
    )
    return " ".join([head, *(_sentence(result, x, y) for result in results)])


def _sentence(result: VariantResult, x: Axis, y: Axis) -> str:
    figures = [
        f"{axis.title.lower()} {axis.text(value)}"
        for axis in (x, y)
        if (value := axis.value(result)) is not None
    ]
    return f"{titles.variant(result.workflow, result.backend)}: {', '.join(figures)}."
