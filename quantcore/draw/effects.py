"""How many more pictures, or fewer, drawn so that a loss looks like a loss wherever it stands.

One scale for all: nothing in the middle, losses to its left, striped, in orange and with ▼, gains
to its right, plain, in blue and with ▲. Both sides reach equally far, and every kind of colour
vision tells the two colours apart (Okabe and Ito, "Color Universal Design", 2008).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Pictures that fill the scale at the least: of fewer, one would look like a catastrophe.
LEAST_FULL = 10
ARROWS = {"loss": "▼", "gain": "▲", "same": ""}


@dataclass(frozen=True)
class Effect:
    """A change as it is drawn.

    Attributes:
        kind: `loss`, `gain` or `same`; also the name of its look in the style sheet.
        pictures: how many, without sign.
        share: of the scale's one side that it fills, 0 to 1.
    """

    kind: str
    pictures: int
    share: float

    @property
    def arrow(self) -> str:
        """Return its sign, which needs no colour."""
        return ARROWS[self.kind]


def full_scale(gained: Iterable[int]) -> int:
    """Return how many pictures fill one side of the scale on which all of these are drawn."""
    return max(LEAST_FULL, *map(abs, gained))


def effect(gained: int, full: int) -> Effect:
    """Return a change as it is drawn.

    Args:
        gained: pictures by which the variant does better than float32, below zero where worse.
        full: how many fill one side of the scale.
    """
    kind = "loss" if gained < 0 else "gain" if gained > 0 else "same"
    return Effect(kind, abs(gained), abs(gained) / full)


def gained(confusion: NDArray[Any]) -> NDArray[Any]:
    """Return by how many pictures each cell does better: on the diagonal more, elsewhere fewer.

    Args:
        confusion: how many more pictures of a class (row) are named a class (column).
    """
    return np.where(np.eye(len(confusion), dtype=bool), confusion, -confusion)
