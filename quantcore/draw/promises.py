"""What the recipe promised and what came of it, as HTML."""

from collections.abc import Sequence
from html import escape

from quantcore.decide import Promise
from quantcore.draw import marks
from quantcore.schema import VariantResult

# How a promise or a budget came out: a sign, and the class that colours it.
SIGNS = {
    "kept": ("✓", "good"),
    "half kept": ("◐", "fair"),
    "too close to call": ("◐", "fair"),
    "broken": ("✕", "poor"),
    "unknown": ("?", "open"),
}


def sign(state: str) -> str:
    """Return how something came out, as a sign and in words."""
    mark, kind = SIGNS[state]
    return f'<span class="qw-sign qw-{kind}"><span aria-hidden="true">{mark}</span> {state}</span>'


def promises(found: Sequence[Promise], row: VariantResult, name: str, *, ships: bool) -> str:
    """Return one card a promise.

    Args:
        found: the promises, as one variant kept them.
        row: that variant.
        name: what it is called.
        ships: it is the one that the verdict says to ship.
    """
    mark = marks.glyph(row.workflow, row.backend)
    which = "which ships" if ships else "the nearest in 8 bits"
    cards = "".join(map(_promise, found))
    return (
        f'<p class="qw-which">{mark}<span>The recipe’s promises, held against '
        f"<b>{escape(name)}</b>, {which}.</span></p>"
        f'<ul class="qw-cards">{cards}</ul>'
    )


def _promise(one: Promise) -> str:
    cause = f"<small>{escape(one.cause)}</small>" if one.cause else ""
    # The sign says the state already.
    said = one.outcome.removeprefix(f"{one.state}: ")
    return (
        f"<li><h3>Promised: {escape(one.promise)}</h3>{sign(one.state)}"
        f"<p>{escape(said[:1].upper() + said[1:])}.</p>{cause}</li>"
    )
