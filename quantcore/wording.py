"""Figures in words: digits, units and directions, decided here and nowhere else.

A sentence gets two significant digits and no trailing zeros. A figure that stands beside others of
its kind, in a table or a plot, gets three and keeps its zeros, so that neighbours look alike.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime

# Stands for an unknown figure; the sign of a negative difference.
NONE, MINUS = "–", "−"
# Ratios below this are called equal, and below the next are said in per cent, since they would
# read '1×' or '1.1×'.
SAME_RATIO = 1.005
TIMES_RATIO = 1.1
MILLION = 1_000_000


# In sentences


def digits(value: float, count: int = 2) -> str:
    """Return the value with `count` significant digits, without trailing zeros: 0.4, 36, 1,900."""
    if value == 0:
        return "0"
    text = f"{rounded(value, count):,.{max(_decimals(value, count), 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(value: float, count: int = 2) -> float:
    """Return the value rounded to `count` significant digits."""
    return round(value, _decimals(value, count)) if value else value


def enough(value: float, count: int = 2) -> float:
    """Return the value rounded up to `count` significant digits: a limit that suffices."""
    if value == 0:
        return 0.0
    decimals = _decimals(value, count)
    near = round(value, decimals)
    return near if near >= value else round(near + 10.0**-decimals, decimals)


def _decimals(value: float, count: int) -> int:
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


def versus(ratio: float, more: str, less: str, same: str, count: int = 2) -> str:
    """Return a ratio in words: '3.6× smaller', '1.2× larger', '3 % faster' where it is small."""
    over, word = (ratio, more) if ratio > 1 else (1 / ratio, less)
    if over < SAME_RATIO:
        return same
    return (
        f"{digits(over, count)}× {word}"
        if over >= TIMES_RATIO
        else f"{round(100 * over - 100)} % {word}"
    )


def smaller(ratio: float, count: int = 2) -> str:
    """Return a size ratio in words."""
    return versus(ratio, "smaller", "larger", "as large", count)


def faster(ratio: float, count: int = 2) -> str:
    """Return a speed ratio in words."""
    return versus(ratio, "faster", "slower", "as fast", count)


def accurate(lost_points: float, count: int = 2) -> str:
    """Return lost points of accuracy in words."""
    if abs(lost_points) < 0.005:
        return "equally accurate"
    return f"{points(abs(lost_points), count)} {'less' if lost_points > 0 else 'more'} accurate"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 variant`, `17 variants`, `2,000 images`, `2 classes`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def count_of(number: int) -> str:
    """Return a large number in words, rounded up: 'about 5,000', 'more than a million'."""
    if number > MILLION:
        return "more than a million"
    return f"about {digits(enough(number))}" if number >= 100 else str(number)


def capital(text: str) -> str:
    """Return a text with its first letter in upper case and all others as they are."""
    return text[:1].upper() + text[1:]


def joined(parts: Sequence[str]) -> str:
    """Return the parts as one enumeration: 'a, b and c'."""
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names and how many more there are: 'a, b, c and 4 more'."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def either(numbers: Iterable[int]) -> str:
    """Return different numbers as a choice: `1`, `1 or 2`, `1, 2 or 8`."""
    return choice([f"{number:,}" for number in sorted(set(numbers))])


def choice(names: Sequence[str]) -> str:
    """Return names as a choice: `x86`, `x86 or fbgemm`, `x86, fbgemm or qnnpack`."""
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


def time_left(seconds: float | None) -> str:
    """Return how long something will still take: `about 2 min left`; empty when unknown."""
    return "" if seconds is None else f"{about(seconds)} left"


def about(seconds: float) -> str:
    """Return roughly how long: `about 40 s`, `about 2 min`, `about 3 h`."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 100 else f"about {round(minutes / 60)} h"


def until(seconds: float) -> str:
    """Return the time until something happens: `within the hour`, `in 5 h`, `in 6 days`."""
    hours = round(seconds / 3_600)
    if hours < 1:
        return "within the hour"
    return f"in {hours} h" if hours < 48 else f"in {count(round(hours / 24), 'day')}"


def ago(seconds: float) -> str:
    """Return how long ago something was: `just now`, `3 min ago`, `5 h ago`, `12 days ago`."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    hours = minutes // 60
    return f"{hours} h ago" if hours < 24 else f"{count(hours // 24, 'day')} ago"


def day(created: str) -> str:
    """Return the day of an ISO 8601 moment: `24 Nov 2026`; any other text unchanged."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%b %Y}"


# Beside others of their kind


def figure(value: float, unit: str) -> str:
    """Return a measured figure with its unit: `2.72 MB`, `24.1 ms`, `254 MB`."""
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f} {unit}"


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage: `92.9 %`."""
    return f"{100 * share:.{decimals}f} %"


def gained(value: float) -> str:
    """Return percentage points with their sign: `−0.4 points`; what rounds to 0 has none."""
    value = round(value, 1)
    if value == 0:
        return "0.0 points"
    return f"{'+' if value > 0 else MINUS}{abs(value):.1f} points"


def times(ratio: float) -> str:
    """Return a ratio to two significant digits: `4.1×`, `12×`."""
    return f"{ratio:.2f}×" if ratio < 1 else f"{ratio:.1f}×" if ratio < 10 else f"{ratio:,.0f}×"
