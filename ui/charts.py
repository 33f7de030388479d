"""The plot: one marker a variant, colour by workflow, shape by backend, area by file size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from quantcore.metrics import wilson
from quantcore.results import VariantResult
from ui import theme, titles, words

Interval = tuple[float, float]
LARGEST_MARKER_PX = 30
SMALLEST_MARKER_PX = 9
HEIGHT_PX = 440
MUTED = 0.45


@dataclass(frozen=True)
class Axis:
    """One figure that can be drawn: its value, its 95 % interval, and how it reads.

    Attributes:
        value: the figure in the axis' unit; None where the variant has none.
        interval: its 95 % interval in the same unit; None where it is exact or unknown.
        better: which end of the axis is the good one, `low` or `high`.
    """

    title: str
    label: str
    value: Callable[[VariantResult], float | None]
    interval: Callable[[VariantResult], Interval | None]
    better: str
    text: Callable[[float], str]


def _exact(_: VariantResult) -> None:
    return None


def _latency_interval(result: VariantResult) -> Interval | None:
    """Return the interval of the paired speed-up, carried over to the latency it stands for."""
    speedup = result.speedup
    if result.workflow == "float32" or speedup.low <= 0:
        return None
    p50 = result.latency_ms.p50
    return p50 * speedup.ratio / speedup.high, p50 * speedup.ratio / speedup.low


def _accuracy(result: VariantResult) -> float | None:
    return None if result.accuracy is None else 100 * result.accuracy.top1


def _accuracy_interval(result: VariantResult) -> Interval | None:
    accuracy = result.accuracy
    return None if accuracy is None else (100 * accuracy.low, 100 * accuracy.high)


def _agreement(result: VariantResult) -> float | None:
    return None if result.agreement is None else 100 * result.agreement


def _agreement_interval(result: VariantResult) -> Interval | None:
    if result.agreement is None or result.workflow == "float32" or not result.fidelity_images:
        return None
    same = round(result.agreement * result.fidelity_images)
    low, high = wilson(same, result.fidelity_images)
    return 100 * low, 100 * high


def _percent(value: float) -> str:
    return words.percent(value / 100)


AXES = {
    "latency": Axis(
        "Latency",
        "Latency, ms per call (median)",
        lambda result: result.latency_ms.p50,
        _latency_interval,
        "low",
        words.milliseconds,
    ),
    "size": Axis(
        "File size",
        "File size, MB",
        lambda result: result.artifact.size_bytes / 1e6,
        _exact,
        "low",
        lambda value: words.megabytes(value * 1e6),
    ),
    "accuracy": Axis(
        "Accuracy", "Accuracy, top-1 %", _accuracy, _accuracy_interval, "high", _percent
    ),
    "agreement": Axis(
        "Same answer as float32",
        "Same answer as float32, % of images",
        _agreement,
        _agreement_interval,
        "high",
        _percent,
    ),
    "memory": Axis(
        "Peak memory",
        "Peak memory, MB above the runtime's own",
        lambda result: result.peak_memory_bytes / 1e6,
        _exact,
        "low",
        lambda value: words.megabytes(value * 1e6),
    ),
}
# What stands in for a figure no variant has, best first.
STAND_INS = {"accuracy": ("agreement", "size"), "agreement": ("accuracy", "size")}
_MISSING = {
    "accuracy": "No labels here, so accuracy is unknown",
    "agreement": "Nothing to compare answers on",
}


def drawable(asked: str, results: Sequence[VariantResult]) -> tuple[str, str]:
    """Return the axis to draw instead of `asked` where no variant has that figure, and a note."""
    if _has_values(asked, results) or asked not in STAND_INS:
        return asked, ""
    instead = next((name for name in STAND_INS[asked] if _has_values(name, results)), "size")
    return instead, f"{_MISSING[asked]}; the plot shows {AXES[instead].title.lower()} instead."


def _has_values(name: str, results: Sequence[VariantResult]) -> bool:
    return any(AXES[name].value(result) is not None for result in results)


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
    return max(SMALLEST_MARKER_PX, LARGEST_MARKER_PX * float(size_bytes / largest) ** 0.5)


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
