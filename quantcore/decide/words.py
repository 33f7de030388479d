"""Figures as a person reads them: two significant digits, a unit, and which way it went."""

import math
from collections import Counter
from collections.abc import Sequence

from quantcore.results import VariantResult
from quantcore.specs import Variant

# Ratios below this are called equal, and below the next are said in per cent, since they would
# read '1×' or '1.1×'.
SAME_RATIO = 1.005
TIMES_RATIO = 1.1
MILLION = 1_000_000


def digits(value: float, count: int = 2) -> str:
    """Return the value with `count` significant digits, without trailing zeros: 0.4, 36, 1,900."""
    if value == 0:
        return "0"
    places = _places(value, count)
    text = f"{round(value, places):,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def enough(value: float, count: int = 2) -> float:
    """Return the value rounded up to `count` significant digits: a limit that suffices."""
    if value == 0:
        return 0.0
    places = _places(value, count)
    near = round(value, places)
    return near if near >= value else round(near + 10.0**-places, places)


def _places(value: float, count: int) -> int:
    return count - 1 - math.floor(math.log10(abs(value)))


def megabytes(size_bytes: float, count: int = 2) -> str:
    """Return bytes as megabytes of 10^6, or a smaller unit where they are few."""
    size = abs(size_bytes)
    unit, divisor = ("MB", 1e6) if size >= 5e4 else ("kB", 1e3) if size >= 1e3 else ("bytes", 1)
    return f"{digits(size_bytes / divisor, count)} {unit}"


def milliseconds(value: float, count: int = 2) -> str:
    """Return milliseconds with their unit."""
    return f"{digits(value, count)} ms"


def points(value: float, count: int = 2) -> str:
    """Return percentage points with their unit."""
    text = digits(value, count)
    return f"{text} point" if text == "1" else f"{text} points"


def versus(ratio: float, more: str, less: str, same: str) -> str:
    """Return a ratio in words: '3.6× smaller', '1.2× larger', '3 % faster' where it is small."""
    over, word = (ratio, more) if ratio > 1 else (1 / ratio, less)
    if over < SAME_RATIO:
        return same
    return (
        f"{digits(over)}× {word}" if over >= TIMES_RATIO else f"{round(100 * over - 100)} % {word}"
    )


def smaller(ratio: float) -> str:
    """Return a size ratio in words."""
    return versus(ratio, "smaller", "larger", "as large")


def faster(ratio: float) -> str:
    """Return a speed ratio in words."""
    return versus(ratio, "faster", "slower", "as fast")


def accurate(lost_points: float) -> str:
    """Return lost points of accuracy in words."""
    if abs(lost_points) < 0.005:
        return "equally accurate"
    return f"{points(abs(lost_points))} {'less' if lost_points > 0 else 'more'} accurate"


def joined(parts: Sequence[str]) -> str:
    """Return the parts as one enumeration: 'a, b and c'."""
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def labels(rows: Sequence[VariantResult]) -> dict[str, str]:
    """Return each row's name by its key; namesakes are told apart by the settings that differ."""
    plain = {row.key: Variant(row.workflow, row.backend).label for row in rows}
    if len({row.model for row in rows}) > 1:
        plain = {row.key: f"{row.model} {plain[row.key]}" for row in rows}
    shared = Counter(plain.values())
    groups = {
        name: [row for row in rows if plain[row.key] == name]
        for name, count in shared.items()
        if count > 1
    }
    return plain | {
        row.key: f"{name} ({_differences(row, group)})"
        for name, group in groups.items()
        for row in group
    }


def _differences(row: VariantResult, group: Sequence[VariantResult]) -> str:
    names = [
        name
        for name in sorted(row.settings)
        if len({repr(other.settings.get(name)) for other in group}) > 1
    ]
    parts = [f"{name.replace('_', ' ')} {setting_text(row.settings[name])}" for name in names]
    return ", ".join(parts) or row.key[:8]


def setting_text(value: object) -> str:
    """Return a setting's value in words."""
    named = {None: "default", True: "yes", False: "no"}
    if value is None or isinstance(value, bool):
        return named[value]
    return "+".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def count_of(number: int) -> str:
    """Return a large number in words, rounded up: 'about 5,000', 'more than a million'."""
    if number > MILLION:
        return "more than a million"
    return f"about {digits(enough(number))}" if number >= 100 else str(number)
