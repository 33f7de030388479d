"""Files on their way from a child process to the store.

A child may be locked in and never sees the store: it puts files on a tray, a folder that is its
own, and its parent takes them from there once the child has ended. What the child says of a file is
held against the file.
"""

import stat
from collections.abc import Callable
from pathlib import Path

from quantcore.bundle import file_digest
from quantcore.errors import ChildDiedError
from quantcore.results import Artifact
from quantcore.store import Store

# Far more than any variant of a model writes.
MOST_FILES = 8
MOST_BYTES = 8 * 10**9


class Tray:
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


def take(folder: Path, store: Store) -> dict[str, Artifact]:
    """Move what an ended child left on its tray into the store; return it by digest.

    Raises:
        ChildDiedError: there is something that a tray never holds.
        StoreError: as `Store.add`.
    """
    found = sorted(folder.iterdir())
    if len(found) > MOST_FILES:
        raise _strange()
    artifacts = [_taken(path, store) for path in found if path.name != "draft"]
    return {artifact.sha256: artifact for artifact in artifacts}


def is_plain(path: Path) -> bool:
    """Return whether a path is a file of its own: there, no link, and not out of all measure."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size <= MOST_BYTES


def _taken(path: Path, store: Store) -> Artifact:
    if not is_plain(path):
        raise _strange()
    named, _, format = path.name.partition(".")
    artifact = store.add(path.rename, format)
    if artifact.sha256 != named:
        raise _strange()
    return artifact


def _strange() -> ChildDiedError:
    return ChildDiedError("Its process left files that are not what it said.", "Run it again.")
