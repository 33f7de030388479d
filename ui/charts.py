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
MUTED = 0.6


def plot(
    results: Sequence[VariantResult], across: str, up: str, front: Sequence[str] | None = None
) -> go.Figure:
    """Return the scatter of the results on two of `AXES`.

    Args:
        results: what is drawn; a result without one of the two figures is left out.
        across: the horizontal axis, a name in `AXES`.
        up: the vertical axis.
        front: keys of the results that none really beats; the others are muted. None mutes none.
    """
    x, y = AXES[across], AXES[up]
    drawn = [r for r in results if x.value(r) is not None and y.value(r) is not None]
    largest = max((r.artifact.size_bytes for r in drawn), default=1)
    # Big markers first, so that no small one is hidden under them; float32's ring on top of all.
    drawn.sort(key=lambda result: (result.workflow == "float32", -result.artifact.size_bytes))
    figure = go.Figure([_marker(result, x, y, largest, front) for result in drawn])
    figure.update_layout(**_layout(x, y))
    _mark_float(figure, drawn, x, y)
    return figure


def _marker(
    result: VariantResult, x: Axis, y: Axis, largest: int, front: Sequence[str] | None
) -> go.Scatter:
    color = theme.color(result.workflow)
    muted = front is not None and result.key not in front and result.workflow != "float32"
    return go.Scatter(
        x=[x.value(result)],
        y=[y.value(result)],
        error_x=_bar(x, result, color),
        error_y=_bar(y, result, color),
        name=titles.variant(result.workflow, result.backend),
        mode="markers",
        opacity=MUTED if muted else 1.0,
        marker={
            **(_ring() if result.workflow == "float32" else _shape(result, color)),
            "size": _diameter(result.artifact.size_bytes, largest),
        },
        hovertemplate=_hover(result),
        showlegend=False,
    )


def _ring() -> dict[str, Any]:
    """Return float32's marker: open, so that what lies under it is seen."""
    line = {"width": 3, "color": theme.NEUTRAL}
    return {"symbol": "circle-open", "color": theme.NEUTRAL, "line": line}


def _shape(result: VariantResult, color: str) -> dict[str, Any]:
    line = {"width": 1, "color": "rgba(255,255,255,0.7)"}
    return {"symbol": theme.symbol(result.backend), "color": color, "opacity": 0.85, "line": line}


def _diameter(size_bytes: int, largest: int) -> float:
    """Return the marker's width in px: its area follows the size of the file."""
    return max(SMALLEST_MARKER_PX, LARGEST_MARKER_PX * math.sqrt(size_bytes / largest))


def _bar(axis: Axis, result: VariantResult, color: str) -> dict[str, Any]:
    value, interval = axis.value(result), axis.interval(result)
    if value is None or interval is None:
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [interval[1] - value],
        "arrayminus": [value - interval[0]],
        "color": color,
        "thickness": 1,
        "width": 0,
    }


def _hover(result: VariantResult) -> str:
    lines = [f"<b>{titles.variant(result.workflow, result.backend)}</b>"]
    for axis in AXES.values():
        value = axis.value(result)
        if value is not None:
            lines.append(f"{axis.title}: {axis.text(value)}")
    if result.workflow != "float32":
        lines.append(f"{words.faster(result.speedup.ratio)} than float32")
    return "<br>".join(lines) + "<extra></extra>"


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
