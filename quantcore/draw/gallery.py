"""Pictures on which two variants differ, and the change of every class, as HTML."""

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image

from quantcore import wording
from quantcore.decide import ClassChange, Disagreement

THUMBNAIL_PX = 112
RIGHT_WORDS = {
    "float32": "float32 is right",
    "variant": "the variant is right",
    "neither": "neither is right",
    "unknown": "",
}


def picture(image: Image.Image) -> str:
    """Return a picture as a small data address."""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return address(buffer.getvalue())


def address(png: bytes) -> str:
    """Return a PNG file as a data address."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


def cards(found: Sequence[tuple[Disagreement, str]], labels: Sequence[str], variant: str) -> str:
    """Return one card a picture: what it is, and what each of the two takes it for.

    Args:
        found: disagreements, each with its picture as a data address.
        labels: the classes' names.
        variant: what the variant is called.
    """
    items = "".join(_card(one, source, labels, variant) for one, source in found)
    return f'<ul class="qw-gallery">{items}</ul>'


def _card(one: Disagreement, source: str, labels: Sequence[str], variant: str) -> str:
    title = labels[one.label] if one.label is not None else f"Picture {one.picture + 1}"
    right = f'<small class="qw-right-{one.right}">{RIGHT_WORDS[one.right]}</small>'
    return (
        f'<li><img src="{source}" alt="{escape(title, quote=True)}" width="{THUMBNAIL_PX}" '
        f'height="{THUMBNAIL_PX}"><div><b>{escape(title)}</b>'
        f"{_named('float32', one.before, labels)}{_named(variant, one.after, labels)}"
        f"{right if one.label is not None else ''}</div></li>"
    )


def _named(who: str, guess: tuple[int, float], labels: Sequence[str]) -> str:
    place, share = guess
    return (
        f"<span><em>{escape(who)}</em>: {escape(labels[place])}, {wording.percent(share, 0)}</span>"
    )


def classes(changes: Sequence[ClassChange], labels: Sequence[str], variant: str) -> str:
    """Return what becomes of each class, as a table that is cards on a narrow screen."""
    headings = ("Class", "Images", "float32", variant, "Change")
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in headings)
    body = "".join(_class_row(change, labels, variant) for change in changes)
    return (
        f'<div class="qw-scroll"><table class="qw-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _class_row(change: ClassChange, labels: Sequence[str], variant: str) -> str:
    low, high = change.points.low, change.points.high
    figures = {
        "Images": (f"{change.images:,}", ""),
        "float32": (wording.percent(change.before), ""),
        variant: (wording.percent(change.after), ""),
        "Change": (wording.gained(change.points.value), f"{low:+.1f} to {high:+.1f}"),
    }
    cells = "".join(_figure(title, *figure) for title, figure in figures.items())
    return f'<tr><th scope="row">{escape(labels[change.label])}</th>{cells}</tr>'


def _figure(title: str, text: str, small: str) -> str:
    below = f"<small>{small}</small>" if small else ""
    return f'<td data-label="{escape(title, quote=True)}"><b>{text}</b>{below}</td>'


def confusion(change: NDArray[Any], labels: Sequence[str]) -> go.Figure:
    """Return how many more (or fewer) pictures of each class are named each class, as a heat map.

    Args:
        change: `[classes, classes]`, rows are the right classes.
        labels: their names.
    """
    most = max(1, int(abs(change).max()))
    figure = go.Figure(
        go.Heatmap(
            z=change,
            x=list(labels),
            y=list(labels),
            zmin=-most,
            zmax=most,
            # Blue for fewer, orange for more: told apart by every kind of colour vision.
            colorscale=[[0, "#0072b2"], [0.5, "rgba(127,127,127,0.08)"], [1, "#d55e00"]],
            text=[[f"{value:+d}" if value else "" for value in row] for row in change],
            texttemplate="%{text}",
            hovertemplate="%{y} named %{x}: %{z:+d} pictures<extra></extra>",
            showscale=False,
        )
    )
    figure.update_layout(
        height=120 + 30 * len(labels),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        dragmode=False,
        xaxis={"title": {"text": "named"}, "side": "bottom"},
        yaxis={"title": {"text": "is"}, "autorange": "reversed"},
    )
    return figure


def confusion_text(change: NDArray[Any], labels: Sequence[str]) -> str:
    """Return the greatest changes of the heat map in words."""
    pairs = [
        (int(change[i, j]), labels[i], labels[j])
        for i in range(len(labels))
        for j in range(len(labels))
        if change[i, j] and i != j
    ]
    pairs.sort(key=lambda pair: -abs(pair[0]))
    told = [f"{name} named {other}: {count:+d}" for count, name, other in pairs[:8]]
    return "; ".join(told) or "No class is confused with another more or less often than before."
