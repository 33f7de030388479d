"""Untrusted text, made fit to stand in a sentence that a person reads."""

from collections.abc import Iterable

MAX_CHARACTERS = 80
MAX_LISTED = 3


def shown(name: str) -> str:
    """Return a name from an untrusted file: printable, and at most 80 characters long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name[:100])
    return plain if len(plain) <= MAX_CHARACTERS else f"{plain[: MAX_CHARACTERS - 3]}..."


def listed(names: Iterable[str]) -> str:
    """Return the first names and how many more there are: `a, b, c and 12 more`."""
    every = list(names)
    first = ", ".join(shown(name) for name in every[:MAX_LISTED])
    more = len(every) - MAX_LISTED
    return f"{first} and {more:,} more" if more > 0 else first


def last_line(error: Exception) -> str:
    """Return the last line of an error's text, printable and at most 200 characters long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]
