"""Facts about the artifacts: JSON texts by kind and key, in SQLite."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from quantcore.cache.database import Database, Schema

FACTS = Schema(
    name="facts",
    migrations=(
        """
CREATE TABLE facts (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, what TEXT NOT NULL,
    created REAL NOT NULL, last_used REAL NOT NULL, PRIMARY KEY (kind, key)
);
CREATE TABLE uses (
    kind TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (kind, key, sha256),
    FOREIGN KEY (kind, key) REFERENCES facts ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX uses_by_sha256 ON uses (sha256);
""",
        """
CREATE TABLE origins (
    origin TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (origin, kind, key),
    FOREIGN KEY (kind, key) REFERENCES facts ON DELETE CASCADE
) WITHOUT ROWID;
""",
        # The kind "judgement" is called "evaluation", and nothing reads "accuracy" any more.
        """
PRAGMA defer_foreign_keys = ON;
ALTER TABLE origins RENAME TO source_uploads;
ALTER TABLE source_uploads RENAME COLUMN origin TO upload;
DELETE FROM facts WHERE kind = 'accuracy'
    OR (kind = 'judgement' AND key IN (SELECT key FROM facts WHERE kind = 'evaluation'));
UPDATE facts SET kind = 'evaluation' WHERE kind = 'judgement';
UPDATE uses SET kind = 'evaluation' WHERE kind = 'judgement';
UPDATE source_uploads SET kind = 'evaluation' WHERE kind = 'judgement';
""",
    ),
    probe="SELECT 1 FROM facts JOIN uses USING (kind, key) LIMIT 1",
)
# Figures stay true without the file they are of; a fact of any other kind goes with its files.
LASTING_KIND = "result"
# Reading writes down when it was, but at most this often: a page that polls must not write.
TOUCH_EVERY_S = 60.0


@dataclass(frozen=True)
class FactRow:
    """A fact without its text; times in seconds since 1970."""

    kind: str
    key: str
    what: str
    created: float
    last_used: float
    sha256s: tuple[str, ...]


class Facts:
    """The tables of facts and of the artifacts they refer to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, str]:
        """Return the texts of the facts of these keys that are cached, by key."""
        now = time.time()
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT key, value, last_used FROM facts"
                " WHERE kind = ? AND key IN (SELECT value FROM json_each(?))",
                (kind, json.dumps(list(keys))),
            ).fetchall()
        stale = [(now, kind, key) for key, _, used in rows if abs(now - used) > TOUCH_EVERY_S]
        if stale:
            with self._database.writing() as db:
                db.executemany("UPDATE facts SET last_used = ? WHERE kind = ? AND key = ?", stale)
        return {key: value for key, value, _ in rows}

    def put(
        self,
        kind: str,
        key: str,
        value: str,
        what: str,
        sha256s: Sequence[str],
        source_uploads: Sequence[str] = (),
    ) -> None:
        """Write one fact, in place of an older one of its kind and key."""
        now = time.time()
        with self._database.writing() as db:
            db.execute("DELETE FROM facts WHERE kind = ? AND key = ?", (kind, key))
            db.execute(
                "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?)", (kind, key, value, what, now, now)
            )
            db.executemany(
                "INSERT OR IGNORE INTO uses VALUES (?, ?, ?)",
                [(kind, key, sha256) for sha256 in sha256s],
            )
            db.executemany(
                "INSERT OR IGNORE INTO source_uploads VALUES (?, ?, ?)",
                [(upload, kind, key) for upload in source_uploads],
            )

    def delete_upload(self, upload: str) -> list[str]:
        """Delete the facts made from an upload; return the artifacts that no fact refers to now."""
        with self._database.writing() as db:
            rows = db.execute(
                "SELECT DISTINCT sha256 FROM uses JOIN source_uploads USING (kind, key)"
                " WHERE upload = ?",
                (upload,),
            ).fetchall()
            db.execute(
                "DELETE FROM facts WHERE (kind, key) IN"
                " (SELECT kind, key FROM source_uploads WHERE upload = ?)",
                (upload,),
            )
            sha256s = [sha256 for (sha256,) in rows]
            still_used = db.execute(
                "SELECT sha256 FROM uses WHERE sha256 IN (SELECT value FROM json_each(?))",
                (json.dumps(sha256s),),
            ).fetchall()
        return [sha256 for sha256 in sha256s if (sha256,) not in still_used]

    def source_uploads(self) -> list[str]:
        """Return every upload that a fact was made from."""
        with self._database.reading() as db:
            rows = db.execute("SELECT DISTINCT upload FROM source_uploads").fetchall()
        return [upload for (upload,) in rows]

    def delete(self, kind: str, key: str) -> None:
        """Remove one fact, if it is there."""
        with self._database.writing() as db:
            db.execute("DELETE FROM facts WHERE kind = ? AND key = ?", (kind, key))

    def delete_of(
        self,
        sha256s: Iterable[str],
        exists: Callable[[str], bool],
        *,
        keep_lasting: bool = True,
    ) -> int:
        """Delete the facts that refer to artifacts which are gone; return how many.

        Args:
            sha256s: the artifacts.
            exists: asked again inside the transaction, so that a fact is kept whose file another
                process has made anew meanwhile.
            keep_lasting: keep the facts that are true without their file.
        """
        with self._database.writing() as db:
            gone = [sha256 for sha256 in sha256s if not exists(sha256)]
            return db.execute(
                "DELETE FROM facts WHERE kind IS NOT ? AND (kind, key) IN (SELECT kind, key"
                " FROM uses WHERE sha256 IN (SELECT value FROM json_each(?)))",
                (LASTING_KIND if keep_lasting else None, json.dumps(gone)),
            ).rowcount

    def delete_all_but(self, sha256s: Iterable[str]) -> int:
        """Delete the facts that refer to none of these artifacts; return how many."""
        with self._database.writing() as db:
            return db.execute(
                "DELETE FROM facts WHERE (kind, key) NOT IN (SELECT kind, key FROM uses"
                " WHERE sha256 IN (SELECT value FROM json_each(?)))",
                (json.dumps(list(sha256s)),),
            ).rowcount

    def last_uses(self) -> dict[str, float]:
        """Return when a fact that refers to it was last used, by artifact, seconds since 1970."""
        with self._database.reading() as db:
            return dict(
                db.execute(
                    "SELECT sha256, MAX(last_used) FROM uses JOIN facts USING (kind, key)"
                    " GROUP BY sha256"
                )
            )

    def promised(self) -> set[str]:
        """Return the artifacts that a fact says are there."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT DISTINCT sha256 FROM uses WHERE kind IS NOT ?", (LASTING_KIND,)
            )
            return {sha256 for (sha256,) in rows}

    def rows(self) -> list[FactRow]:
        """Return every fact without its text, last used first."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT kind, key, what, created, last_used, group_concat(sha256, ' ')"
                " FROM facts LEFT JOIN uses USING (kind, key)"
                " GROUP BY kind, key ORDER BY last_used DESC, kind, key"
            ).fetchall()
        return [
            FactRow(kind, key, what, created, last_used, tuple((sha256s or "").split()))
            for kind, key, what, created, last_used, sha256s in rows
        ]
