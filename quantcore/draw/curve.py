"""The curve of a fine-tuning run: a line for accuracy, one for loss, and the text of both."""

from collections.abc import Sequence

import plotly.graph_objects as go

from quantcore import wording
from quantcore.fine_tuning import Point

HEIGHT_PX = 260
# Told apart by every kind of colour vision, and by dashes.
RIGHT, LOSS = "#0072b2", "#d55e00"


def figure(curve: Sequence[Point], epochs: int) -> go.Figure:
    """Return held-out accuracy and loss by epoch, on a canvas as wide as all epochs to come."""
    at = [point.epoch for point in curve]
    drawn = go.Figure(
        [
            go.Scatter(
                x=at,
                y=[100 * point.accuracy for point in curve],
                name="Held-out images named right",
                mode="lines+markers",
                line={"color": RIGHT, "width": 3},
                hovertemplate="%{y:.1f} % right<extra></extra>",
            ),
            go.Scatter(
                x=at,
                y=[point.loss for point in curve],
                name="Loss in training",
                mode="lines+markers",
                line={"color": LOSS, "dash": "dot"},
                yaxis="y2",
                hovertemplate="loss %{y:.2f}<extra></extra>",
            ),
        ]
    )
    drawn.update_layout(
        height=HEIGHT_PX,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        dragmode=False,
        hovermode="x unified",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis={"title": {"text": "epoch"}, "range": [-0.2, epochs + 0.2], "tickformat": "d"},
        yaxis={"title": {"text": "right, %"}, "range": [0, 103]},
        yaxis2={
            "title": {"text": "loss"},
            "overlaying": "y",
            "side": "right",
            "range": [0, 1.03 * max([1.0, *(point.loss for point in curve)])],
            "tickmode": "auto",
            "showgrid": False,
        },
    )
    return drawn


def text(curve: Sequence[Point]) -> str:
    """Return the curve in words."""
    first, last = curve[0], curve[-1]
    start = f"{wording.percent(first.accuracy, 0)} of the held-out images right"
    if last.epoch == first.epoch:
        return f"With the new last layer alone, {start}."
    best = max(point.accuracy for point in curve)
    more = f", and {wording.percent(best, 0)} at best" if best > last.accuracy else ""
    return (
        f"With the new last layer alone, {start}; after epoch {last.epoch}, "
        f"{wording.percent(last.accuracy, 0)}{more}. Loss went from {first.loss:.2f} to "
        f"{last.loss:.2f}."
    )
