"""The recipe's promises and their measured outcomes, as HTML."""

from collections.abc import Sequence

from markupsafe import Markup

from quantcore.decide import Promise
from quantcore.draw import marks
from quantcore.draw.templating import render
from quantcore.schema import VariantResult

# How a promise or a budget came out: a sign, and the class that colours it.
SIGNS = {
    "kept": ("✓", "good"),
    "half kept": ("◐", "fair"),
    "too close to call": ("◐", "fair"),
    "broken": ("✕", "poor"),
    "unknown": ("?", "open"),
}


def sign(state: str) -> Markup:
    """Return an outcome as a sign and in words."""
    mark, kind = SIGNS[state]
    return render("sign.html", sign=mark, kind=kind, state=state)


def promises(promises: Sequence[Promise], row: VariantResult, name: str, *, ships: bool) -> Markup:
    """Return one card a promise.

    Args:
        promises: as one variant kept them.
        row: that variant.
        name: what it is called.
        ships: it is the one that the verdict says to ship.
    """
    return render(
        "promises.html",
        mark=marks.glyph(row.workflow, row.backend),
        name=name,
        ships=ships,
        promises=[_promise(each) for each in promises],
    )


def _promise(promise: Promise) -> dict[str, object]:
    return {
        "title": promise.promise,
        "sign": sign(promise.state),
        # The sign says the state already.
        "outcome": promise.outcome.removeprefix(f"{promise.state}: "),
        "threshold": promise.threshold.sentence,
        "causes": promise.causes,
    }
