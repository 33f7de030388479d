"""The outlines of markers as SVG paths, of the size that plotly gives them."""

import math
from collections.abc import Callable


def outline(symbol: str, x: float, y: float, radius: float) -> str:
    """Return the path of one of the shapes of `marks`, around a middle, in px."""
    return _OUTLINES[symbol](x, y, radius)


def _corners(*points: tuple[float, float]) -> Callable[[float, float, float], str]:
    def path(x: float, y: float, radius: float) -> str:
        placed = (f"{x + radius * dx:.1f},{y + radius * dy:.1f}" for dx, dy in points)
        return f"M{'L'.join(placed)}Z"

    return path


def _disc(x: float, y: float, radius: float) -> str:
    arc = f"A{radius:.1f},{radius:.1f} 0 1 0"
    return f"M{x - radius:.1f},{y:.1f}{arc} {x + radius:.1f},{y:.1f}{arc} {x - radius:.1f},{y:.1f}Z"


# As plotly draws them, in radii around the middle.
_SIDE = 2 / math.sqrt(3)
_ARM, _REACH = 0.4, 1.2
_OUTLINES = {
    "circle": _disc,
    "square": _corners((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "diamond": _corners((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    "triangle-up": _corners((-_SIDE, 0.5), (_SIDE, 0.5), (0, -1)),
    "cross": _corners(
        (_REACH, _ARM), (_ARM, _ARM), (_ARM, _REACH), (-_ARM, _REACH), (-_ARM, _ARM),
        (-_REACH, _ARM), (-_REACH, -_ARM), (-_ARM, -_ARM), (-_ARM, -_REACH), (_ARM, -_REACH),
        (_ARM, -_ARM), (_REACH, -_ARM),
    ),
    "hexagon": _corners((0, -1), (0.87, -0.5), (0.87, 0.5), (0, 1), (-0.87, 0.5), (-0.87, -0.5)),
}  # fmt: skip
