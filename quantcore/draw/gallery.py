"""Pictures on which two variants differ, and the change of every class, as HTML."""

import io
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from quantcore import wording
from quantcore.decide import ClassChange, Disagreement
from quantcore.draw import effects
from quantcore.draw.templating import render

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


def cards(
    pictures: Sequence[tuple[Disagreement, str]], labels: Sequence[str], variant: str
) -> Markup:
    """Return one card a picture: what it is, and what each of the two takes it for.

    Args:
        pictures: disagreements, each with its picture as a data address.
        labels: the classes' names.
        variant: what the variant is called.
    """
    return render(
        "disagreements.html",
        pictures=[_card(each, address, labels) for each, address in pictures],
        variant=variant,
        side_px=THUMBNAIL_PX,
        right_words=RIGHT_WORDS,
    )


def _card(each: Disagreement, address: str, labels: Sequence[str]) -> dict[str, object]:
    is_labelled = each.label is not None
    return {
        "address": address,
        "title": f"Picture {each.picture + 1}" if each.label is None else labels[each.label],
        "before": _guess(each.before, labels),
        "after": _guess(each.after, labels),
        "right": each.right if is_labelled else "",
    }


def _guess(guess: tuple[int, float], labels: Sequence[str]) -> tuple[str, str]:
    label, share = guess
    return labels[label], wording.percent(share, 0)


def classes(changes: Sequence[ClassChange], labels: Sequence[str], variant: str) -> Markup:
    """Return the changes of each class as a table, which becomes cards on a narrow screen."""
    gained = [round(each.images * (each.after - each.before)) for each in changes]
    full = effects.full_scale(gained)
    headings = ("Class", "Images", "float32", variant, "Change", "Named right")
    rows = [
        (
            labels[each.label],
            list(zip(headings[1:], _figures(each), strict=False)),
            effects.effect(more, full),
            f"{_more(more)} right" if more else "as many right",
        )
        for each, more in zip(changes, gained, strict=True)
    ]
    return render(
        "class_changes.html",
        headings=headings,
        classes=rows,
        entries=[("loss", "▼", "fewer right"), ("gain", "▲", "more right")],
        note=f"A bar is full at {wording.count(full, 'image')}.",
    )


def _more(pictures: int) -> str:
    return f"{abs(pictures):,} {'more' if pictures > 0 else 'fewer'}"


def _figures(change: ClassChange) -> tuple[tuple[str, str], ...]:
    """Return the figures of a class, each with what stands in small below it."""
    points = change.points
    return (
        (f"{change.images:,}", ""),
        (wording.percent(change.before), ""),
        (wording.percent(change.after), ""),
        (wording.gained(points.value), f"{points.low:+.1f} to {points.high:+.1f}"),
    )


def confusion(change: NDArray[Any], labels: Sequence[str]) -> Markup:
    """Return how many more (or fewer) pictures of each class are named each class, as a heat map.

    Args:
        change: `[classes, classes]`, rows are the right classes.
        labels: their names.
    """
    gained = effects.gained(change)
    full = effects.full_scale(gained.flat)
    rows = [
        (
            label,
            [
                (effects.effect(int(gained[i, j]), full), _cell(int(change[i, j]), label, named))
                for j, named in enumerate(labels)
            ],
        )
        for i, label in enumerate(labels)
    ]
    return render(
        "confusion.html",
        labels=labels,
        rows=rows,
        entries=[
            ("loss", "▼", "worse: fewer right (framed), or more mistakes"),
            ("gain", "▲", "better: more right (framed), or fewer mistakes"),
        ],
        note=f"The colour is full at {wording.count(full, 'image')}.",
    )


def _cell(more: int, label: str, named: str) -> str:
    """Return a cell in words: `3 more: Shirt named Coat`; empty where nothing changed."""
    return f"{_more(more)}: {label} named {named}" if more else ""


def confusion_text(change: NDArray[Any], labels: Sequence[str]) -> str:
    """Return the greatest changes among the mistakes in words."""
    pairs = [
        (int(change[i, j]), labels[i], labels[j])
        for i in range(len(labels))
        for j in range(len(labels))
        if change[i, j] and i != j
    ]
    pairs.sort(key=lambda pair: -abs(pair[0]))
    return (
        "; ".join(_cell(*pair) for pair in pairs[:8])
        or "No class is confused with another more or less often than before."
    )
