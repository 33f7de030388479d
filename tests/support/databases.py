"""SQLite files of older and newer versions, made from dumps."""

import sqlite3
from contextlib import closing
from pathlib import Path


def load(dump: Path, file: Path) -> None:
    """Write the SQLite file that a dump, its `user_version` included, was made of."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as db:
        db.executescript(dump.read_text())


def version(file: Path) -> int:
    """Return the number of the schema that a file has."""
    with closing(sqlite3.connect(file)) as db:
        (number,) = db.execute("PRAGMA user_version").fetchone()
    return int(number)


def set_version(file: Path, number: int) -> None:
    """Let a file say that another version of the program wrote it."""
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {number}")


def tables(file: Path) -> list[str]:
    """Return the statements that would make the file's tables and indexes, in order."""
    with closing(sqlite3.connect(file)) as db:
        rows = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return [sql for (sql,) in rows]
