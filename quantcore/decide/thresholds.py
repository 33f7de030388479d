"""The recipe's promises as limits: what counts as kept, and what as half kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from quantcore import wording

State = Literal["kept", "half kept", "broken", "unknown"]

# No float64 needs more significant digits.
MAX_DIGITS = 17


@dataclass(frozen=True)
class Threshold:
    """The figure from which a promise is kept, that from which it is half kept, and both in words.

    More is better.
    """

    kept: float
    half: float
    sentence: str

    def state(self, value: float) -> State:
        """Return how a promise came out."""
        return "kept" if value >= self.kept else "half kept" if value >= self.half else "broken"

    def shown(self, value: float, text: Callable[[float, int], str]) -> str:
        """Return a figure in words, with as many digits as it takes to show on which side it is.

        Args:
            value: the figure.
            text: says a figure with that many significant digits.
        """
        state = self.state(value)
        counts = range(2, MAX_DIGITS)
        exact = (count for count in counts if self.state(wording.rounded(value, count)) == state)
        return text(value, next(exact, MAX_DIGITS))


def _ratio(kept: float, half: float, word: str) -> Threshold:
    return Threshold(kept, half, f"Kept from {kept:g}× {word}, half kept from {half:g}×.")


def _lost(kept: float, half: float) -> Threshold:
    """Return limits of lost points, as points gained."""
    most = f"Kept up to {wording.points(kept)} lost, or a tie; half kept up to {half:g} points."
    return Threshold(-kept, -half, most)


SMALLER = _ratio(3.5, 2.0, "smaller")
FASTER = _ratio(2.0, 1.3, "faster")
ACCURATE = _lost(1.0, 3.0)
