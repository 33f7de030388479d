"""The SQLite file: opened by many processes at once, migrated, and begun anew if it is damaged."""

import fcntl
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from quantcore.cache import locks
from quantcore.cache.faults import DamagedFactsError, damaged_facts, explained
from quantcore.errors import StoreError

BUSY_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Schema:
    """What one SQLite file holds.

    Attributes:
        name: of the file under the data folder, without its ending.
        migrations: SQL, one text a step. The first makes the tables of version 1, each next one
            turns a file of the version before into its own. A step that was released stays as it
            is; a change is one more step.
        probe: a query that touches every table, so that damage shows when the file is opened.
    """

    name: str
    migrations: tuple[str, ...]
    probe: str

    @property
    def version(self) -> int:
        """Return the version of a file after every step, which it keeps as `user_version`."""
        return len(self.migrations)


class Database:
    """One connection to an SQLite file, shared by the threads of this process."""

    def __init__(self, root: Path, schema: Schema) -> None:
        """Open the file under the data folder.

        Raises:
            DamagedFactsError: SQLite cannot read its file.
            StoreError: the file cannot be opened, or a newer version wrote it.
        """
        self._root = root
        self._schema = schema
        self._writes = 0
        self._open()

    @classmethod
    def open(cls, root: Path, schema: Schema) -> "Database":
        """Return the database under the data folder; a damaged file is moved to `quarantine/`."""
        with locks.exclusive(root / "locks" / f"opening-{schema.name}"):
            try:
                return cls(root, schema)
            except DamagedFactsError:
                _move_aside(root, schema)
                return cls(root, schema)

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
                self._writes += 1
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def version(self) -> tuple[int, int]:
        """Return a pair that is another one after every change, whichever process made it."""
        with self.reading() as db:
            (others,) = db.execute("PRAGMA data_version").fetchone()
            return int(others), self._writes

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
        if _mark(self._root, self._schema).exists():
            raise damaged_facts(self._root)
        in_use = _in_use(self._root, self._schema)
        self._in_use = locks.acquire(in_use, fcntl.LOCK_SH, create=True)
        try:
            self._connection = _connect(self._root, self._schema, self._in_use)
        except BaseException:
            locks.release(self._in_use)
            raise

    def _mark_damaged(self) -> None:
        """Tell the next `open`, which may not come upon the damage by itself."""
        with suppress(OSError):
            _mark(self._root, self._schema).touch()


def _connect(root: Path, schema: Schema, in_use: int) -> sqlite3.Connection:
    with explained(root):
        db = sqlite3.connect(
            _database(root, schema),
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(db)
            _migrate(db, root, schema, in_use)
            db.execute(schema.probe).fetchone()
        except BaseException:
            db.close()
            raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    # What WAL may lose in a power cut at this level is made again; nothing is ever half there.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA foreign_keys = ON")


def _migrate(db: sqlite3.Connection, root: Path, schema: Schema, in_use: int) -> None:
    """Migrate the file to the schema's version, each step in a transaction of its own."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > schema.version:
        raise StoreError(
            f"The data folder {root} was written by a newer version.",
            "Update this one, or set QUANTCORE_DATA to another folder.",
        )
    if version == schema.version:
        return
    with _nobody_else(in_use, root):
        for number, step in enumerate(schema.migrations[version:], start=version + 1):
            db.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")


@contextmanager
def _nobody_else(in_use: int, root: Path) -> Iterator[None]:
    """Turn this process's lock on the file into the only one, for as long as the tables change.

    A process of an older version would go on reading and writing tables that are no more.
    """
    try:
        fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreError(
            f"An older version of this program still works on the data folder {root}.",
            "Stop it and start again, or set QUANTCORE_DATA to another folder.",
        ) from error
    try:
        yield
    finally:
        fcntl.flock(in_use, fcntl.LOCK_SH)


def _move_aside(root: Path, schema: Schema) -> None:
    """Move SQLite's files to `quarantine/`, unless another process still works on them."""
    database = _database(root, schema)
    aside = root / "quarantine" / f"{database.name}-{uuid.uuid4().hex[:8]}"
    with locks.unused(_in_use(root, schema), create=True) as is_unused:
        if not is_unused:
            raise damaged_facts(root)
        for suffix in ("", "-wal", "-shm"):
            part = database.with_name(database.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))
        _mark(root, schema).unlink(missing_ok=True)


def _database(root: Path, schema: Schema) -> Path:
    return root / f"{schema.name}.sqlite"


def _mark(root: Path, schema: Schema) -> Path:
    return root / f"{schema.name}.damaged"


def _in_use(root: Path, schema: Schema) -> Path:
    # Not in `locks/`, whose files are swept: looking whether one is in use takes it for a moment.
    return root / f"{schema.name}.lock"
