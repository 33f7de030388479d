"""The artifacts: files named by the SHA-256 of their bytes, never seen half written."""

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from quantcore.cache import locks
from quantcore.errors import DamagedArtifactError
from quantcore.sandbox import discard

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredFile:
    """An artifact on disk; `used` is when it was last added or used, in seconds since 1970."""

    sha256: str
    size_bytes: int
    used: float


class Files:
    """The folders under the data folder, and what is done to the files in them.

    A file in use is locked shared, the one that removes it locks it exclusively. Work in `tmp/`
    holds a lock of the same name in `locks/`, so that what the dead left can be told from the rest.
    """

    def __init__(self, root: Path) -> None:
        self._artifacts = root / "artifacts"
        self._tmp = root / "tmp"
        self._quarantine = root / "quarantine"
        self._locks = root / "locks"
        for folder in (self._artifacts, self._tmp, self._quarantine, self._locks):
            folder.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what dead processes left in `tmp/` and `locks/`."""
        for folder in list(self._tmp.iterdir()):
            with locks.unused(self._locks / folder.name, create=True) as is_dead:
                if is_dead:
                    _clear(folder)
        for lock in list(self._locks.iterdir()):
            with locks.unused(lock) as is_dead:
                if is_dead:
                    lock.unlink(missing_ok=True)

    def location(self, sha256: str) -> Path:
        """Return the path of an artifact, whether or not it is there.

        Raises:
            DamagedArtifactError: the text is not a SHA-256, so nothing is stored under it.
        """
        if not _SHA256.fullmatch(sha256):
            raise DamagedArtifactError(
                f"{sha256[:80]!r} is not the digest of a file in the cache.",
                "Take one that `python -m quantcore cache list` knows.",
            )
        return self._artifacts / sha256[:2] / sha256

    def exists(self, sha256: str) -> bool:
        """Return whether an artifact is there."""
        return self.location(sha256).exists()

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield an empty folder that is gone afterwards, even if this process is killed."""
        name = uuid.uuid4().hex
        folder = self._tmp / name
        with locks.exclusive(self._locks / name):
            folder.mkdir()
            try:
                yield folder
            finally:
                _clear(folder)

    @contextmanager
    def admitted(self, draft: Path, sha256: str) -> Iterator[None]:
        """Move a finished file to its digest's path, and keep it in use inside."""
        target = self.location(sha256)
        with ExitStack() as lease:
            with self._alone(sha256):
                if not self._is_kept(target, lease):
                    # The lock is the file's, not the name's: it is in use from its first moment.
                    lease.enter_context(locks.shared(draft))
                    _fsync(draft)
                    self._move_aside(target)
                    _rename_durably(draft, target)
            yield

    @contextmanager
    def in_use(self, sha256: str) -> Iterator[Path]:
        """Keep an artifact from being removed, by any process, and yield its path.

        Raises:
            FileNotFoundError: it is not there.
        """
        path = self.location(sha256)
        with locks.shared(path):
            os.utime(path)
            yield path

    def remove(self, sha256: str) -> bool:
        """Remove an artifact that nobody uses; return whether that was so."""
        path = self.location(sha256)
        with locks.unused(path) as is_unused:
            if is_unused:
                path.unlink()
            return is_unused

    def set_aside_if_damaged(self, sha256: str, then: Callable[[], object]) -> bool:
        """Move a file whose bytes changed to `quarantine/`, call `then`, return whether it was."""
        path = self.location(sha256)
        with self._alone(sha256):
            is_damaged = _is_changed(path)
            if is_damaged:
                self._move_aside(path)
                then()
            return is_damaged

    def scan(self) -> list[StoredFile]:
        """Return every artifact on disk, in no order."""
        return [
            file
            for folder in os.scandir(self._artifacts)
            if folder.is_dir()
            for file in _stored_in(folder)
        ]

    def empty_quarantine(self) -> int:
        """Remove what was moved aside and return its bytes."""
        aside = list(self._quarantine.iterdir())
        size_bytes = sum(path.stat().st_size for path in aside)
        for path in aside:
            path.unlink(missing_ok=True)
        return size_bytes

    def turn(self, key: str) -> Path:
        """Return the lock file whose holder alone works on `key`, which may be any text."""
        return self._locks / f"once-{hashlib.sha256(key.encode()).hexdigest()}"

    @contextmanager
    def _alone(self, sha256: str) -> Iterator[None]:
        with locks.exclusive(self._locks / f"place-{sha256}"):
            yield

    def _is_kept(self, target: Path, lease: ExitStack) -> bool:
        """Take an intact file that is already there into use; return whether there was one."""
        try:
            lease.enter_context(locks.shared(target))
        except FileNotFoundError:
            return False
        os.utime(target)
        return file_digest(target) == target.name

    def _move_aside(self, path: Path) -> None:
        if path.exists():
            path.replace(self._quarantine / f"{path.name}-{uuid.uuid4().hex[:8]}")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_changed(path: Path) -> bool:
    try:
        return file_digest(path) != path.name
    except FileNotFoundError:
        return False


def _stored_in(folder: os.DirEntry[str]) -> Iterator[StoredFile]:
    for entry in os.scandir(folder):
        if not _SHA256.fullmatch(entry.name):
            continue
        try:
            stat = entry.stat()
        except FileNotFoundError:
            continue
        yield StoredFile(entry.name, stat.st_size, stat.st_mtime)


def _rename_durably(source: Path, target: Path) -> None:
    if not target.parent.exists():
        target.parent.mkdir(exist_ok=True)
        _fsync(target.parent.parent)
    source.replace(target)
    _fsync(target.parent)


def _clear(folder: Path) -> None:
    """Remove a folder that a hostile process may have written in, as far as that can be done."""
    with suppress(OSError):
        discard(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
