"""Files on their way from a child process to the store.

A child may be locked in and never sees the store: it puts files in an outbox, a folder that is its
own, and its parent takes them from there once the child has ended. What the child says of a file is
held against the file.
"""

import stat
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Protocol

from quantcore.errors import ChildDiedError, QuantcoreError
from quantcore.sandbox.lockdown.scratch import used_bytes
from quantcore.sandbox.process_pool import ShouldStop
from quantcore.schema import Artifact, file_digest

# Far more than any variant of a model writes.
MAX_FILES = 8
MAX_BYTES = 8 * 10**9
SECONDS_BETWEEN_WEIGHINGS = 1.0


def too_much_written() -> QuantcoreError:
    """Return the error for a child that filled its outbox beyond the limit."""
    return ChildDiedError(
        f"Its process wrote more than the {MAX_BYTES / 1e9:.0f} GB that it may.",
        "Bring a smaller model.",
    )


class FileStore(Protocol):
    """What keeps files by their digest: the cache, and a child's outbox."""

    def add(self, write: Callable[[Path], object], format: str) -> Artifact:
        """Keep the file that `write` makes at the path it is given."""


class Outbox:
    """A child's side: takes files as a store does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, write: Callable[[Path], object], format: str) -> Artifact:
        """Keep the file that `write` makes at the path it is given."""
        draft = self._folder / "draft"
        write(draft)
        artifact = Artifact(file_digest(draft), draft.stat().st_size, format)
        draft.rename(self._folder / f"{artifact.sha256}.{format}")
        return artifact


def take(folder: Path, store: FileStore) -> dict[str, Artifact]:
    """Move what an ended child left in its outbox into the store; return it by digest.

    Raises:
        ChildDiedError: there is something that an outbox never holds.
        StoreError: as `Store.add`.
    """
    # One more than may be there is enough to know; there could be millions.
    found = sorted(islice(folder.iterdir(), MAX_FILES + 1))
    if len(found) > MAX_FILES:
        raise _strange()
    artifacts = [_taken(path, store) for path in found if path.name != "draft"]
    return {artifact.sha256: artifact for artifact in artifacts}


def within_quota(
    folder: Path,
    should_stop: ShouldStop,
    most_bytes: float | None = None,
    too_much: Callable[[], QuantcoreError] = too_much_written,
) -> ShouldStop:
    """Return what asks the same, and now and then weighs a folder that a child may write in.

    It raises what `too_much` returns where there is more than it may hold: an outbox's limit,
    unless another is given.
    """
    limit = MAX_BYTES if most_bytes is None else most_bytes
    weighed_at = -SECONDS_BETWEEN_WEIGHINGS

    def stops() -> bool:
        nonlocal weighed_at
        if should_stop():
            return True
        now = time.monotonic()
        if now - weighed_at >= SECONDS_BETWEEN_WEIGHINGS:
            weighed_at = now
            if used_bytes([folder]) > limit:
                raise too_much()
        return False

    return stops


def is_plain(path: Path) -> bool:
    """Return whether a path is a file of its own: there, no link, and not out of all measure."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size <= MAX_BYTES


def _taken(path: Path, store: FileStore) -> Artifact:
    if not is_plain(path):
        raise _strange()
    named, _, format = path.name.partition(".")
    artifact = store.add(path.rename, format)
    if artifact.sha256 != named:
        raise _strange()
    return artifact


def _strange() -> ChildDiedError:
    return ChildDiedError("Its process left files that are not what it said.", "Run it again.")
