"""The outbox: a folder through which a child process hands files to the store.

A locked child never sees the store. It puts files into a folder of its own, and its parent takes
them from there once the child has ended, after checking each file against what the child said.
"""

import stat
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Protocol

from quantcore.errors import ChildDiedError, QuantcoreError
from quantcore.sandbox.lockdown.scratch import used_bytes
from quantcore.sandbox.protocol import ShouldStop
from quantcore.schema import Artifact, file_digest

# Far more than any variant of a model writes.
MAX_FILES = 8
MAX_BYTES = 8 * 10**9
SECONDS_BETWEEN_CHECKS = 1.0
_DRAFT = "draft"


def too_much_written() -> QuantcoreError:
    """Return the error for a child that filled its outbox beyond the limit."""
    return ChildDiedError(
        f"Its process wrote more than the {MAX_BYTES / 1e9:.0f} GB that it may.",
        "Upload a smaller model.",
    )


class FileStore(Protocol):
    """A store of files by their digest: the cache, or a child's outbox."""

    def add(self, write: Callable[[Path], object], format: str) -> Artifact:
        """Keep the file that `write` writes to the path it is called with."""


class Outbox:
    """The child's side of an outbox: adds files as a store does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, write: Callable[[Path], object], format: str) -> Artifact:
        """Keep the file that `write` writes to the path it is called with, under its digest."""
        draft = self._folder / _DRAFT
        write(draft)
        artifact = Artifact(file_digest(draft), draft.stat().st_size, format)
        draft.rename(self._folder / f"{artifact.sha256}.{format}")
        return artifact


def take(folder: Path, store: FileStore) -> dict[str, Artifact]:
    """Move the files of an ended child's outbox into the store; return artifacts by digest.

    Raises:
        ChildDiedError: there are too many files, one is no plain file, or its bytes do not have
            the digest that names it.
        StoreError: as `Store.add`.
    """
    # One more than allowed is enough to know; there could be millions.
    paths = sorted(islice(folder.iterdir(), MAX_FILES + 1))
    if len(paths) > MAX_FILES:
        raise _unexpected()
    artifacts = [_take_file(path, store) for path in paths if path.name != _DRAFT]
    return {artifact.sha256: artifact for artifact in artifacts}


def within_quota(
    folder: Path,
    should_stop: ShouldStop,
    max_bytes: float | None = None,
    too_much: Callable[[], QuantcoreError] = too_much_written,
) -> ShouldStop:
    """Return `should_stop` with a quota check: it now and then measures a child's folder.

    Args:
        folder: in which the child may write.
        should_stop: answered first.
        max_bytes: that the folder may hold; None takes the limit of an outbox.
        too_much: makes the error that is raised where the folder holds more.
    """
    limit = MAX_BYTES if max_bytes is None else max_bytes
    checked_at = -SECONDS_BETWEEN_CHECKS

    def stops() -> bool:
        nonlocal checked_at
        if should_stop():
            return True
        now = time.monotonic()
        if now - checked_at >= SECONDS_BETWEEN_CHECKS:
            checked_at = now
            if used_bytes([folder]) > limit:
                raise too_much()
        return False

    return stops


def is_plain(path: Path) -> bool:
    """Return whether a path is a regular file with one name, at most `MAX_BYTES` long."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size <= MAX_BYTES


def _take_file(path: Path, store: FileStore) -> Artifact:
    if not is_plain(path):
        raise _unexpected()
    sha256, _, format = path.name.partition(".")
    artifact = store.add(path.rename, format)
    if artifact.sha256 != sha256:
        raise _unexpected()
    return artifact


def _unexpected() -> ChildDiedError:
    return ChildDiedError("Its process left files that are not what it said.", "Run it again.")
