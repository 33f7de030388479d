"""The hints, such as the tour, that each visitor has seen: kept in SQLite in the data folder."""

from functools import cache
from threading import Lock

from quantcore.cache import Database, Schema
from quantcore.errors import QuantcoreError
from ui.common import state

VISITORS = Schema(
    name="visitors",
    migrations=(
        """
CREATE TABLE seen (
    visitor TEXT NOT NULL, what TEXT NOT NULL, PRIMARY KEY (visitor, what)
) WITHOUT ROWID;
""",
    ),
    probe="SELECT 1 FROM seen LIMIT 1",
)
_OPENING = Lock()


def has(visitor: str, what: str) -> bool:
    """Return whether a visitor has seen this; of what cannot be known, that they have."""
    try:
        with _database().reading() as db:
            query = "SELECT 1 FROM seen WHERE visitor = ? AND what = ?"
            return db.execute(query, (visitor, what)).fetchone() is not None
    except QuantcoreError:
        return True


def add(visitor: str, what: str) -> None:
    """Remember that a visitor has seen this; where that cannot be kept, nothing happens."""
    try:
        with _database().writing() as db:
            db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (visitor, what))
    except QuantcoreError:
        return


def _database() -> Database:
    # Opening the comparisons makes the folders that a database needs.
    state.service()
    with _OPENING:
        return _opened()


@cache
def _opened() -> Database:
    return Database.open(state.settings().data, VISITORS)
