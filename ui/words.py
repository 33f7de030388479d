"""Figures in plain words: one place that decides decimals and units."""

from datetime import datetime

MINUS = "−"


def megabytes(size_bytes: float) -> str:
    """Return a size in MB (10^6 bytes): `2.72 MB`, `48.1 MB`, `254 MB`."""
    return f"{_three_digits(size_bytes / 1e6)} MB"


def milliseconds(value: float) -> str:
    """Return a time per call: `1.93 ms`, `24.1 ms`."""
    return f"{_three_digits(value)} ms"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage: `92.9 %`."""
    return f"{100 * share:.{decimals}f} %"


def points(difference: float) -> str:
    """Return a difference of shares in signed percentage points: `−0.4 points`."""
    value = round(100 * difference, 1)
    if value == 0:
        return "0.0 points"
    return f"{'+' if value > 0 else MINUS}{abs(value):.1f} points"


def times(ratio: float) -> str:
    """Return a ratio to two significant digits: `4.1×`, `12×`."""
    return f"{ratio:.2f}×" if ratio < 1 else f"{ratio:.1f}×" if ratio < 10 else f"{ratio:,.0f}×"


def faster(ratio: float) -> str:
    """Return a speed-up in words: `4.1× faster`, `2.3× slower`, `as fast`."""
    if 0.97 <= ratio <= 1.03:
        return "as fast"
    return f"{times(ratio)} faster" if ratio > 1 else f"{times(1 / ratio)} slower"


def smaller(ratio: float) -> str:
    """Return a size ratio in words: `3.5× smaller`, `1.1× larger`, `same size`."""
    if 0.97 <= ratio <= 1.03:
        return "same size"
    return f"{times(ratio)} smaller" if ratio > 1 else f"{times(1 / ratio)} larger"


def time_left(seconds: float | None) -> str:
    """Return how long something will still take: `about 2 min left`; empty when unknown."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"


def day(created: str) -> str:
    """Return the day of an ISO 8601 moment: `24 Nov 2026`."""
    moment = datetime.fromisoformat(created)
    return f"{moment.day} {moment:%b %Y}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 variant`, `17 variants`, `2,000 images`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
