"""Errors of the operating system and of SQLite as one sentence with a remedy."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantcore.errors import StoreError

# SQLite's first write needs about this much; with less left, a failed write means a full disk.
NEARLY_FULL_BYTES = 64 * 1024

FULL = (
    "The disk that holds the data folder {folder} is full.",
    "Free some space, run `python -m quantcore cache clear`, or set QUANTCORE_DATA to a folder "
    "on another disk.",
)
UNWRITABLE = (
    "The data folder {folder} cannot be written to.",
    "Make it writable, or set QUANTCORE_DATA to a folder that is.",
)
NOT_A_FOLDER = (
    "The data folder {folder} cannot be made: a file stands in its way.",
    "Set QUANTCORE_DATA to a folder.",
)
BUSY = (
    "The cache in {folder} is being written to by another process, which does not finish.",
    "Try again; if it stays so, stop the other quantcore processes.",
)
DAMAGED = (
    "The list of cached results in {folder} is damaged.",
    "Stop every quantcore process and start again: the list is moved to quarantine/ and begun "
    "anew, and no artifact is lost.",
)

OS_FAULTS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EROFS: UNWRITABLE,
    errno.EACCES: UNWRITABLE,
    errno.EPERM: UNWRITABLE,
    errno.EEXIST: NOT_A_FOLDER,
    errno.ENOTDIR: NOT_A_FOLDER,
}
SQLITE_FAULTS = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: UNWRITABLE,
    sqlite3.SQLITE_PERM: UNWRITABLE,
    sqlite3.SQLITE_CANTOPEN: UNWRITABLE,
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
}


class DamagedFactsError(StoreError):
    """SQLite cannot read its file; opening the store again moves that aside."""


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Raise what the system complains of inside as a StoreError about the data folder."""
    try:
        yield
    except OSError as error:
        raise _from_os(error, folder) from error
    except sqlite3.Error as error:
        raise _from_sqlite(error, folder) from error


@contextmanager
def explained_if_full(folder: Path) -> Iterator[None]:
    """Raise a RuntimeError inside as a StoreError if the disk is full.

    Libraries that write through C++ report a full disk as a RuntimeError that does not say so.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_nearly_full(folder):
            raise
        raise StoreError(*_filled(FULL, folder)) from error


def damaged_facts(folder: Path) -> DamagedFactsError:
    """Return the error that says SQLite's file is damaged."""
    return DamagedFactsError(*_filled(DAMAGED, folder))


def is_nearly_full(folder: Path) -> bool:
    """Return whether the disk has no room even for a small write."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < NEARLY_FULL_BYTES


def _from_os(error: OSError, folder: Path) -> StoreError:
    sentences = OS_FAULTS.get(error.errno or 0)
    if sentences:
        return StoreError(*_filled(sentences, folder))
    return _unknown(folder, error.strerror or str(error))


def _from_sqlite(error: sqlite3.Error, folder: Path) -> StoreError:
    # The low byte is the kind of error, the rest its details.
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if kind in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return damaged_facts(folder)
    if kind == sqlite3.SQLITE_IOERR and is_nearly_full(folder):
        return StoreError(*_filled(FULL, folder))
    sentences = SQLITE_FAULTS.get(kind)
    return StoreError(*_filled(sentences, folder)) if sentences else _unknown(folder, str(error))


def _filled(sentences: tuple[str, str], folder: Path) -> tuple[str, str]:
    reason, remedy = sentences
    return reason.format(folder=folder), remedy


def _unknown(folder: Path, details: str) -> StoreError:
    return StoreError(
        f"The data folder {folder} cannot be used: {details}.",
        "Check the disk, or set QUANTCORE_DATA to another folder.",
    )
