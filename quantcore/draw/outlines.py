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


def _star(points: int, outer: float, inner: float) -> Callable[[float, float, float], str]:
    turns = [math.pi * index / points for index in range(2 * points)]
    radii = [outer if index % 2 == 0 else inner for index in range(2 * points)]
    pairs = zip(radii, turns, strict=True)
    return _corners(*((r * math.sin(turn), -r * math.cos(turn)) for r, turn in pairs))


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
    "star": _star(5, outer=1.4, inner=0.535),
    "bowtie": _corners((1, 1), (-1, -1), (-1, 1), (1, -1)),
    "triangle-down": _corners((-_SIDE, -0.5), (_SIDE, -0.5), (0, 1)),
    "pentagon": _corners(
        (0, -1), (0.951, -0.309), (0.588, 0.809), (-0.588, 0.809), (-0.951, -0.309),
    ),
}  # fmt: skip
