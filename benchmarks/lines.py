"""How a figure is printed: whether it is reached, its value, its limit, what it is held against."""

from collections.abc import Iterable
from dataclasses import dataclass

REACHED, MISSED, UNBOUND = "yes", "no", "-"
INDENT = " " * 5


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        what: in words.
        value: in `unit`.
        unit: `x`, `s`, `MB`, `points`, …
        least: the limit from below, None without one.
        most: the limit from above, None without one.
        against: the peer, or where the limit comes from.
        digits: after the point.
    """

    what: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None
    against: str = ""
    digits: int = 2

    @property
    def mark(self) -> str:
        """Return whether the limit is reached; a dash where there is none."""
        if self.least is None and self.most is None:
            return UNBOUND
        # Written so that a value that is not a number reaches nothing.
        above = self.least is None or self.value >= self.least
        below = self.most is None or self.value <= self.most
        return REACHED if above and below else MISSED

    def __str__(self) -> str:
        against = f"; against {self.against}" if self.against else ""
        value = self._written(self.value)
        return f"{self.mark:<4} {value:>12}  {self._limit():<24}  {self.what}{against}"

    def _limit(self) -> str:
        if self.least is not None and self.most is not None:
            return f"{self.least:.{self.digits}f} to {self._written(self.most)}"
        if self.least is not None:
            return f"at least {self._written(self.least)}"
        return f"at most {self._written(self.most)}" if self.most is not None else ""

    def _written(self, value: float) -> str:
        return f"{value:,.{self.digits}f} {self.unit}"


def at_most(
    what: str, value: float, unit: str, limit: float, against: str = "", digits: int = 2
) -> Figure:
    """Return a figure that must not be above its limit."""
    return Figure(what, value, unit, most=limit, against=against, digits=digits)


def at_least(what: str, value: float, unit: str, limit: float, against: str = "") -> Figure:
    """Return a figure that must not be below its limit."""
    return Figure(what, value, unit, least=limit, against=against)


def near(
    what: str, value: float, unit: str, target: float, tolerance: float, against: str = ""
) -> Figure:
    """Return a figure that must be the target's, give or take the tolerance."""
    low, high = target - tolerance, target + tolerance
    return Figure(what, value, unit, least=low, most=high, against=against, digits=3)


def shown(what: str, value: float, unit: str, against: str = "") -> Figure:
    """Return a figure that nothing limits, for comparison."""
    return Figure(what, value, unit, against=against)


def absent(what: str, why: str) -> str:
    """Return the line of a figure that could not be measured, which counts as missed."""
    return f"{MISSED:<4} {'none':>12}  {'':<24}  {what}: {why}"


def note(text: str) -> str:
    """Return a sentence beside the figures."""
    return f"{INDENT}{text}"


def count(lines: Iterable[str]) -> tuple[int, int]:
    """Return how many of the printed lines are figures that reached, and that missed, a limit."""
    marks = [line.split(maxsplit=1)[0] for line in lines if line[:1].isalpha()]
    return marks.count(REACHED), marks.count(MISSED)
