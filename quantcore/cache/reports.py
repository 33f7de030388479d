"""Reports about the cache: its entries, what was removed, what is damaged."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quantcore.cache.facts import FactRow


@dataclass(frozen=True)
class Entry:
    """One line of `cache list`.

    Attributes:
        kind: what the fact is about.
        key: what it answers.
        what: the same in a few words.
        size_bytes: of those files it refers to that are kept; entries may share a file.
        created: time in UTC, ISO 8601.
        last_used: time in UTC, ISO 8601, right to a minute.
    """

    kind: str
    key: str
    what: str
    size_bytes: int
    created: str
    last_used: str


@dataclass(frozen=True)
class Freed:
    """What was removed, and how many artifacts stayed because they are in use."""

    artifacts: int = 0
    bytes: int = 0
    facts: int = 0
    in_use: int = 0


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of `verify`, by SHA-256.

    Attributes:
        checked: how many files were read.
        damaged: files whose bytes changed; they were moved aside and their facts removed.
        missing: files that a fact promised and that were not there; the facts were removed.
        orphans: intact files that no fact refers to; they do no harm and are evicted in turn.
    """

    checked: int
    damaged: tuple[str, ...]
    missing: tuple[str, ...]
    orphans: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Return whether every promise was kept."""
        return not self.damaged and not self.missing

    def sentence(self) -> str:
        """Return the report in words."""
        if self.is_clean:
            return f"All {self.checked} files are whole."
        return (
            f"{len(self.damaged)} of {self.checked} files were damaged and are now in quarantine/, "
            f"{len(self.missing)} were missing. They are made anew when they are asked for."
        )


def entry(row: FactRow, sizes: Mapping[str, int]) -> Entry:
    """Return the line of a fact, given the bytes of each file that is there."""
    return Entry(
        kind=row.kind,
        key=row.key,
        what=row.what,
        size_bytes=sum(sizes.get(sha256, 0) for sha256 in row.sha256s),
        created=_iso(row.created),
        last_used=_iso(row.last_used),
    )


def describe(value: str) -> str:
    """Return a fact's JSON in a few words: `bundled/resnet18, static on x86`, or nothing."""
    try:
        fact = json.loads(value)
    except ValueError:
        return ""
    if not isinstance(fact, dict):
        return ""
    model, workflow, backend = (_name(fact.get(key)) for key in ("model", "workflow", "backend"))
    how = f"{workflow} on {backend}" if workflow and backend else workflow or backend
    return ", ".join(part for part in (model, how) if part)


def _name(value: Any) -> str:
    """Return a name that stands as text, or as the `name` of an object."""
    named = value.get("name") if isinstance(value, dict) else value
    return named if isinstance(named, str) else ""


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
