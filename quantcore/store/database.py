"""The SQLite file: opened by many processes at once, and begun anew if it is damaged."""

import fcntl
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quantcore.errors import StoreError
from quantcore.store import locks
from quantcore.store.faults import DamagedFactsError, damaged_facts, explained

VERSION = 1
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS facts (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, what TEXT NOT NULL,
    created REAL NOT NULL, last_used REAL NOT NULL, PRIMARY KEY (kind, key)
);
CREATE TABLE IF NOT EXISTS uses (
    kind TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (kind, key, sha256),
    FOREIGN KEY (kind, key) REFERENCES facts ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_by_sha256 ON uses (sha256);
PRAGMA user_version = {VERSION};
COMMIT;
"""
BUSY_TIMEOUT_S = 30.0


class Database:
    """One connection to the facts, shared by the threads of this process."""

    def __init__(self, root: Path) -> None:
        """Open the database under the data folder.

        Raises:
            DamagedFactsError: SQLite cannot read its file.
            StoreError: the file cannot be opened, or a newer version wrote it.
        """
        self._root = root
        self._open()

    @classmethod
    def open(cls, root: Path) -> "Database":
        """Return the database under the data folder; a damaged file is moved to `quarantine/`."""
        with locks.exclusive(root / "locks" / "opening"):
            try:
                return cls(root)
            except DamagedFactsError:
                _move_aside(root)
                return cls(root)

    def close(self) -> None:
        """Close the connection."""
        with self._mutex:
            self._connection.close()
            locks.release(self._in_use)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection, to one thread at a time."""
        if self._process != os.getpid():
            # A forked child may neither use nor close its parent's connection.
            self._open()
        with self._mutex:
            try:
                with explained(self._root):
                    yield self._connection
            except DamagedFactsError:
                self._mark_damaged()
                raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection inside a transaction; what is raised inside undoes it."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def check(self) -> None:
        """Read the whole file.

        Raises:
            DamagedFactsError: SQLite finds a fault in it.
        """
        with self.reading() as db:
            if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise damaged_facts(self._root)

    def _open(self) -> None:
        """Connect, and hold the lock that says this process has the file open."""
        self._process = os.getpid()
        self._mutex = threading.Lock()
        if _mark(self._root).exists():
            raise damaged_facts(self._root)
        self._in_use = locks.acquire(_in_use(self._root), fcntl.LOCK_SH, create=True)
        try:
            self._connection = _connect(self._root)
        except BaseException:
            locks.release(self._in_use)
            raise

    def _mark_damaged(self) -> None:
        """Tell the next `open`, which may not come upon the damage by itself."""
        with suppress(OSError):
            _mark(self._root).touch()


def _connect(root: Path) -> sqlite3.Connection:
    with explained(root):
        db = sqlite3.connect(
            _database(root),
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(db, root)
        except BaseException:
            db.close()
            raise
    return db


def _prepare(db: sqlite3.Connection, root: Path) -> None:
    # What WAL may lose in a power cut at this level is made again; nothing is ever half there.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA foreign_keys = ON")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StoreError(
            f"The cache in {root} was written by a newer version.",
            "Update this one, or set QUANTCORE_DATA to another folder.",
        )
    if version < VERSION:
        db.executescript(SCHEMA)
    db.execute("SELECT 1 FROM facts JOIN uses USING (kind, key) LIMIT 1").fetchone()


def _move_aside(root: Path) -> None:
    """Move SQLite's files to `quarantine/`, unless another process still works on them."""
    database = _database(root)
    aside = root / "quarantine" / f"{database.name}-{uuid.uuid4().hex[:8]}"
    with locks.unused(_in_use(root), create=True) as is_unused:
        if not is_unused:
            raise damaged_facts(root)
        for suffix in ("", "-wal", "-shm"):
            part = database.with_name(database.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))
        _mark(root).unlink(missing_ok=True)


def _database(root: Path) -> Path:
    return root / "facts.sqlite"


def _mark(root: Path) -> Path:
    return root / "facts.damaged"


def _in_use(root: Path) -> Path:
    # Not in `locks/`, whose files are swept: looking whether one is in use takes it for a moment.
    return root / "facts.lock"
