"""Comparisons in SQLite: written down before anything runs, so that nothing asked for is lost.

Any number of processes may add, read, cancel and rename. One of them at a time, the dispatcher,
claims cells and settles them. Order is kept by sequence numbers, never by the clock, which may be
set back.
"""

import json
import time
import uuid
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from sqlite3 import Connection, Row

from quantcore.cache import Database, Schema, explained
from quantcore.errors import RequestError
from quantcore.jobs.records import (
    ENVIRONMENT,
    REQUESTS,
    ROW,
    CellRecord,
    Claim,
    Host,
    JobRecord,
    JobSummary,
    NewCell,
    NewJob,
    Place,
    job_state,
)
from quantcore.schema import CompareRequest, Environment, Failure, Variant, VariantResult
from quantcore.settings import Settings
from quantcore.uploads import PREFIX
from quantcore.workflows import settings_of

JOBS = Schema(
    name="jobs",
    migrations=(
        """
CREATE TABLE hosts (digest TEXT PRIMARY KEY, environment TEXT NOT NULL);
CREATE TABLE owners (owner TEXT PRIMARY KEY, last_turn INTEGER NOT NULL DEFAULT 0);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL REFERENCES owners, asked_by TEXT NOT NULL,
    name TEXT NOT NULL, requests TEXT NOT NULL, model TEXT NOT NULL, models INTEGER NOT NULL,
    host TEXT NOT NULL REFERENCES hosts, place TEXT NOT NULL,
    created REAL NOT NULL, begun REAL, ended REAL, cancelled INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '', last_turn INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE cells (
    job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, place INTEGER NOT NULL,
    key TEXT NOT NULL, weight REAL NOT NULL, state TEXT NOT NULL, stage TEXT NOT NULL DEFAULT '',
    share REAL NOT NULL DEFAULT 0, started REAL, ended REAL, attempts INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '', ticket TEXT, outcome TEXT NOT NULL DEFAULT '', row TEXT,
    PRIMARY KEY (job, place)
) WITHOUT ROWID;
CREATE INDEX cells_open ON cells (state) WHERE state IN ('waiting', 'running');
CREATE INDEX cells_by_ticket ON cells (ticket) WHERE ticket IS NOT NULL;
CREATE INDEX cells_by_outcome ON cells (job, state, outcome, share, weight);
""",
    ),
    probe="SELECT 1 FROM jobs JOIN cells ON job = number JOIN hosts ON host = digest LIMIT 1",
)
# A cell that was under way this often when its dispatcher ended may be what ended it.
MAX_INTERRUPTIONS = 5
# A variant that ended its process is tried once more, when somebody asks, and then no more.
MAX_DEATHS = 2
CACHED_ROWS = 4_096


class JobQueue:
    """The comparisons of one data folder, safe to use from many threads and processes at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, settings: Settings) -> "JobQueue":
        """Return the job queue under `settings.data`, made if need be.

        Raises:
            StoreError: the folder cannot be written to, or the file is damaged and in use.
        """
        with explained(settings.data):
            (settings.data / "locks").mkdir(parents=True, exist_ok=True)
            (settings.data / "quarantine").mkdir(exist_ok=True)
            return cls(Database.open(settings.data, JOBS))

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def version(self) -> tuple[int, int]:
        """Return a pair that is another one after every change by any process."""
        return self._database.version()

    def add(self, job: NewJob, cells: Sequence[NewCell]) -> None:
        """Write down a comparison; what is known of it already is settled at once."""
        host, now = job.host, time.time()
        models = {request.model.name for request in job.requests}
        with self._database.writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO hosts VALUES (?, ?)",
                (host.digest, ENVIRONMENT.dump_json(host.environment).decode()),
            )
            db.execute("INSERT OR IGNORE INTO owners (owner) VALUES (?)", (job.owner,))
            number = db.execute(
                "INSERT INTO jobs (id, owner, asked_by, name, requests, model, models, host, place,"
                " created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job.id,
                    job.owner,
                    job.asked_by,
                    job.name,
                    REQUESTS.dump_json(job.requests).decode(),
                    job.requests[0].model.name,
                    len(models),
                    host.digest,
                    host.place,
                    now,
                ),
            ).lastrowid
            assert number is not None
            db.executemany(
                "INSERT INTO cells (job, place, key, weight, state, outcome, row, share)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        number,
                        place,
                        cell.key,
                        cell.weight,
                        *_outcome(cell.row),
                        float(bool(cell.row)),
                    )
                    for place, cell in enumerate(cells)
                ],
            )
            _note_end(db, [number])

    def job(self, job_id: str) -> JobRecord:
        """Return one comparison with its cells.

        Raises:
            RequestError: there is none of this id.
        """
        with self._database.reading() as db:
            job = _fetch_job(db, job_id)
            rows = _rows(
                db,
                "SELECT cells.*, EXISTS (SELECT 1 FROM cells AS other WHERE other.state = 'running'"
                " AND cells.state = 'waiting' AND other.key = cells.key) AS shared"
                " FROM cells WHERE job = ? ORDER BY place",
                (job["number"],),
            )
        return _job_record(job, tuple(map(_cell_record, rows)))

    def find_open(self, owner: str, requests: tuple[CompareRequest, ...], host: Host) -> str | None:
        """Return the owner's comparison that asks the same and is not finished, if there is one."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT id FROM jobs WHERE owner = ? AND requests = ? AND host = ? AND place = ?"
                " AND NOT cancelled AND EXISTS (SELECT 1 FROM cells WHERE job = number"
                " AND state IN ('waiting', 'running')) ORDER BY number DESC LIMIT 1",
                (owner, REQUESTS.dump_json(requests).decode(), host.digest, host.place),
            ).fetchone()
        return None if found is None else str(found[0])

    def summaries(self) -> list[JobSummary]:
        """Return every comparison as one line, the newest first."""
        with self._database.reading() as db:
            rows = _rows(
                db,
                "SELECT jobs.*, COUNT(*) AS cells,"
                " SUM(state = 'waiting') AS waiting, SUM(state = 'running') AS running,"
                " SUM(outcome = 'measured') AS measured, SUM(outcome = 'failed') AS failed,"
                " SUM(outcome = 'refused') AS refused,"
                " SUM(share * weight) / MAX(SUM(weight), 1e-9) AS share"
                " FROM jobs JOIN cells ON job = number GROUP BY number ORDER BY number DESC",
            )
        return [_summary(row) for row in rows]

    def open_cells(self) -> list[tuple[str, str, float, float, str]]:
        """Return the open cells as (job, owner, weight, share, state) in the order of their turns.

        It is the order in which they are claimed as long as nobody asks for anything new.
        """
        with self._database.reading() as db:
            found = _rows(
                db,
                "SELECT id, jobs.owner AS owner, weight, share, state, job, cells.place AS place,"
                " owners.last_turn AS owner_turn, jobs.last_turn AS job_turn"
                " FROM cells JOIN jobs ON job = number JOIN owners USING (owner)"
                " WHERE state IN ('waiting', 'running')"
                " ORDER BY state = 'waiting', owner_turn, job_turn, job, cells.place",
            )
        return [
            (row["id"], row["owner"], row["weight"], row["share"], row["state"]) for row in found
        ]

    def pace_s(self) -> float | None:
        """Return seconds a weight of 1 took lately, at the median; None before there is one."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT (ended - started) / weight FROM cells WHERE outcome = 'measured'"
                " AND started IS NOT NULL AND ended > started AND attempts > 0"
                " ORDER BY job DESC, place DESC LIMIT 30"
            ).fetchall()
        paces = sorted(pace for (pace,) in found)
        return paces[len(paces) // 2] if paces else None

    def claim(self, host: Host) -> Claim | None:
        """Take the next cell for a host: owners take turns, and each owner's comparisons do.

        A cell whose figures another one is just bringing is left alone; it is settled with that.
        """
        with self._database.writing() as db:
            row = _row(
                db,
                "SELECT job, cells.place AS place, id, requests, jobs.owner AS owner"
                " FROM cells JOIN jobs ON job = number JOIN owners USING (owner)"
                " WHERE state = 'waiting' AND host = ? AND jobs.place = ? AND key NOT IN"
                " (SELECT key FROM cells WHERE state = 'running')"
                " ORDER BY owners.last_turn, jobs.last_turn, job, cells.place LIMIT 1",
                (host.digest, host.place),
            )
            if row is None:
                return None
            ticket, now = uuid.uuid4().hex, time.time()
            (turn,) = db.execute("SELECT MAX(last_turn) + 1 FROM owners").fetchone()
            db.execute("UPDATE owners SET last_turn = ? WHERE owner = ?", (turn, row["owner"]))
            db.execute(
                "UPDATE jobs SET last_turn = ?, begun = COALESCE(begun, ?), ended = NULL"
                " WHERE number = ?",
                (turn, now, row["job"]),
            )
            db.execute(
                "UPDATE cells SET state = 'running', stage = 'starting', share = 0, started = ?,"
                " ended = NULL, attempts = attempts + 1, ticket = ? WHERE job = ? AND place = ?",
                (now, ticket, row["job"], row["place"]),
            )
        asked = [
            (request, variant)
            for request in _requests(row["requests"])
            for variant in request.variants
        ]
        request, variant = asked[row["place"]]
        return Claim(ticket, row["id"], row["place"], request, variant, host)

    def progress(self, ticket: str, stage: str, share: float, worker: str = "") -> None:
        """Write down how far a claimed cell is; its share never falls."""
        with self._database.writing() as db:
            db.execute(
                "UPDATE cells SET stage = ?, share = MAX(share, ?),"
                " worker = CASE WHEN ? = '' THEN worker ELSE ? END"
                " WHERE ticket = ? AND state = 'running'",
                (stage, share, worker, worker, ticket),
            )

    def settle(self, ticket: str, row: VariantResult | Failure) -> None:
        """End a claimed cell, and with it every waiting one that asks for the same figures."""
        died = isinstance(row, Failure) and row.died
        with self._database.writing() as db:
            found = _row(db, "SELECT * FROM cells WHERE ticket = ?", (ticket,))
            if found is None:
                return
            state, outcome, text = _outcome(row)
            changed = db.execute(
                "UPDATE cells SET state = ?, outcome = ?, row = ?, share = 1, stage = '',"
                " ended = ?, deaths = deaths + ?, ticket = NULL WHERE ticket = ?"
                " OR (state = 'waiting' AND key = ?) RETURNING job",
                (state, outcome, text, time.time(), int(died), ticket, found["key"]),
            ).fetchall()
            _note_end(db, {job for (job,) in changed})

    def fail_alike(
        self, claim: Claim, reason: Failure, *, message: str = "", whole_job: bool = False
    ) -> None:
        """Give waiting cells another one's reason, which holds for them as well.

        Args:
            claim: the cell whose reason it is.
            reason: its row.
            message: what is said of the whole comparison.
            whole_job: all its cells, not only those of the claim's own request.
        """
        with self._database.writing() as db:
            job = _fetch_job(db, claim.job)
            open_cells = _rows(
                db,
                "SELECT place, key FROM cells WHERE job = ? AND state = 'waiting'",
                (job["number"],),
            )
            asked = _job_record(job, ()).variants()
            for cell in open_cells:
                request, variant = asked[cell["place"]]
                if whole_job or request == claim.request:
                    row = _alike(reason, cell["key"], request, variant)
                    _fail(db, job["number"], cell["place"], row)
            if message:
                db.execute("UPDATE jobs SET message = ? WHERE number = ?", (message, job["number"]))
            _note_end(db, [job["number"]])

    def release(self, ticket: str, *, cancelled: bool = False) -> None:
        """Give a claimed cell back: to wait again, or cancelled where that was asked for."""
        with self._database.writing() as db:
            changed = db.execute(
                "UPDATE cells SET state = CASE WHEN ? OR (SELECT cancelled FROM jobs"
                " WHERE number = job) THEN 'cancelled' ELSE 'waiting' END, stage = '',"
                " share = 0, ended = ?, ticket = NULL WHERE ticket = ? RETURNING job",
                (cancelled, time.time(), ticket),
            ).fetchall()
            _note_end(db, {job for (job,) in changed})

    def interrupt(self, ticket: str) -> None:
        """Let a cell wait again whose worker was lost through no fault of its own.

        After `MAX_INTERRUPTIONS` it ends with its reason, since it may be what brought them down.
        """
        with self._database.writing() as db:
            db.execute("UPDATE cells SET interrupted = interrupted + 1 WHERE ticket = ?", (ticket,))
            cell = _row(db, "SELECT * FROM cells WHERE ticket = ?", (ticket,))
            job = None if cell is None else _fetch_job_numbered(db, cell["job"])
        if cell is None or job is None:
            return
        if cell["interrupted"] < MAX_INTERRUPTIONS:
            self.release(ticket)
        else:
            asked = _job_record(job, ()).variants()[cell["place"]]
            self.settle(ticket, _kept_interrupting(cell["key"], *asked))

    def recover(self, but: Container[str] = ()) -> None:
        """Take over from a dispatcher that ended: what it had running waits again.

        `but` holds tickets that are still being worked on.
        """
        with self._database.reading() as db:
            held = db.execute("SELECT ticket FROM cells WHERE state = 'running'").fetchall()
        for (ticket,) in held:
            if ticket not in but:
                self.interrupt(ticket)

    def cancel(self, job_id: str) -> list[str]:
        """Mark a comparison as cancelled; return the tickets of its cells that are running."""
        with self._database.writing() as db:
            number = _fetch_job(db, job_id)["number"]
            db.execute("UPDATE jobs SET cancelled = 1 WHERE number = ?", (number,))
            db.execute(
                "UPDATE cells SET state = 'cancelled' WHERE job = ? AND state = 'waiting'",
                (number,),
            )
            running = db.execute(
                "SELECT ticket FROM cells WHERE job = ? AND state = 'running'", (number,)
            ).fetchall()
            _note_end(db, [number])
        return [ticket for (ticket,) in running]

    def is_cancelled(self, ticket: str) -> bool:
        """Return whether the comparison that a ticket belongs to was cancelled or deleted."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT cancelled FROM jobs JOIN cells ON job = number WHERE ticket = ?", (ticket,)
            ).fetchone()
        return found is None or bool(found[0])

    def retry(self, job_id: str) -> None:
        """Let what failed or was cancelled wait again, but not what was refused.

        A variant that ended its process twice stays as it is.
        """
        with self._database.writing() as db:
            number = _fetch_job(db, job_id)["number"]
            db.execute(
                "UPDATE cells SET state = 'waiting', outcome = '', row = NULL, share = 0,"
                " stage = '', interrupted = 0, started = NULL, ended = NULL WHERE job = ?"
                " AND (state = 'cancelled' OR (outcome = 'failed' AND deaths < ?))",
                (number, MAX_DEATHS),
            )
            db.execute(
                "UPDATE jobs SET cancelled = 0, message = '', begun = NULL, ended = NULL"
                " WHERE number = ?",
                (number,),
            )
            _note_end(db, [number])

    def rename(self, job_id: str, name: str) -> None:
        """Give a comparison a name of the user's own; an empty one takes it away."""
        with self._database.writing() as db:
            number = _fetch_job(db, job_id)["number"]
            db.execute("UPDATE jobs SET name = ? WHERE number = ?", (name.strip(), number))

    def delete(self, job_id: str) -> list[str]:
        """Remove a comparison; return the tickets of its cells that are running."""
        with self._database.writing() as db:
            number = _fetch_job(db, job_id)["number"]
            running = db.execute(
                "SELECT ticket FROM cells WHERE job = ? AND state = 'running'", (number,)
            ).fetchall()
            db.execute("DELETE FROM jobs WHERE number = ?", (number,))
        return [ticket for (ticket,) in running]

    def naming(self, name: str) -> list[str]:
        """Return the ids of the comparisons whose requests name a model or pictures."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT id FROM jobs WHERE instr(requests, ?)", (json.dumps(name),)
            ).fetchall()
        return [job_id for (job_id,) in found]

    def has_waiting(self, place: Place) -> bool:
        """Return whether cells wait to be measured here, or by a scheduler's workers."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT 1 FROM cells JOIN jobs ON job = number WHERE state = 'waiting'"
                " AND jobs.place = ? LIMIT 1",
                (place,),
            ).fetchone()
        return found is not None

    def waiting_hosts(self) -> list[Host]:
        """Return the hosts that cells wait for."""
        with self._database.reading() as db:
            rows = _rows(
                db,
                "SELECT DISTINCT environment, jobs.place AS place FROM cells"
                " JOIN jobs ON job = number JOIN hosts ON host = digest WHERE state = 'waiting'",
            )
        return [Host(_environment(row["environment"]), row["place"]) for row in rows]


def _rows(db: Connection, query: str, parameters: Sequence[object] = ()) -> list[Row]:
    cursor = db.cursor()
    cursor.row_factory = Row
    return cursor.execute(query, parameters).fetchall()


def _row(db: Connection, query: str, parameters: Sequence[object] = ()) -> Row | None:
    found = _rows(db, query, parameters)
    return found[0] if found else None


def _fetch_job_numbered(db: Connection, number: int) -> Row | None:
    query = "SELECT jobs.*, environment FROM jobs JOIN hosts ON host = digest WHERE number = ?"
    return _row(db, query, (number,))


def _fetch_job(db: Connection, job_id: str) -> Row:
    query = "SELECT jobs.*, environment FROM jobs JOIN hosts ON host = digest WHERE id = ?"
    job = _row(db, query, (job_id,))
    if job is None:
        raise RequestError(
            "This comparison is not known here any more.",
            "Start it again; known rows return at once.",
        )
    return job


def _note_end(db: Connection, numbers: Iterable[int]) -> None:
    """Write down when comparisons were over, for those of these that are."""
    db.executemany(
        "UPDATE jobs SET ended = ? WHERE number = ? AND ended IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM cells WHERE job = number AND state IN ('waiting', 'running'))",
        [(time.time(), number) for number in numbers],
    )


def _outcome(row: VariantResult | Failure | None) -> tuple[str, str, str | None]:
    """Return a cell's state, its outcome in a word, and its row as text."""
    if row is None:
        return "waiting", "", None
    text = ROW.dump_json(row).decode()
    if isinstance(row, VariantResult):
        return "done", "measured", text
    return "failed", "refused" if row.refused else "failed", text


@lru_cache(maxsize=CACHED_ROWS)
def _parsed(text: str) -> VariantResult | Failure:
    return ROW.validate_json(text)


@lru_cache(maxsize=CACHED_ROWS)
def _requests(text: str) -> tuple[CompareRequest, ...]:
    return REQUESTS.validate_json(text)


@lru_cache(maxsize=CACHED_ROWS)
def _environment(text: str) -> Environment:
    return ENVIRONMENT.validate_json(text)


def _cell_record(row: Row) -> CellRecord:
    return CellRecord(
        place=row["place"],
        key=row["key"],
        weight=row["weight"],
        state=row["state"],
        stage=row["stage"],
        share=row["share"],
        started=row["started"],
        ended=row["ended"],
        attempts=row["attempts"],
        deaths=row["deaths"],
        worker=row["worker"],
        row=_parsed(row["row"]) if row["row"] else None,
        shared=bool(row["shared"]),
    )


def _job_record(job: Row, cells: tuple[CellRecord, ...]) -> JobRecord:
    return JobRecord(
        id=job["id"],
        owner=job["owner"],
        asked_by=job["asked_by"],
        name=job["name"],
        requests=_requests(job["requests"]),
        host=Host(_environment(job["environment"]), job["place"]),
        created=job["created"],
        begun=job["begun"],
        ended=job["ended"],
        cancelled=bool(job["cancelled"]),
        message=job["message"],
        cells=cells,
    )


def _summary(row: Row) -> JobSummary:
    return JobSummary(
        id=row["id"],
        owner=row["owner"],
        asked_by=row["asked_by"],
        name=row["name"],
        model=row["model"],
        models=row["models"],
        place=row["place"],
        host=row["host"],
        created=row["created"],
        ended=row["ended"],
        state=job_state(
            waiting=row["waiting"],
            running=row["running"],
            measured=row["measured"],
            begun=row["begun"] is not None,
            cancelled=bool(row["cancelled"]),
        ),
        cells=row["cells"],
        measured=row["measured"],
        failed=row["failed"],
        refused=row["refused"],
        waiting=row["waiting"],
        share=row["share"],
        message=row["message"],
        # Only a name of a model or of pictures begins so; reading all requests takes far longer.
        private=f'"{PREFIX}' in row["requests"],
    )


def _fail(db: Connection, number: int, place: int, row: Failure) -> None:
    state, outcome, text = _outcome(row)
    db.execute(
        "UPDATE cells SET state = ?, outcome = ?, row = ?, share = 1, ended = ?"
        " WHERE job = ? AND place = ?",
        (state, outcome, text, time.time(), number, place),
    )


def _alike(reason: Failure, key: str, request: CompareRequest, variant: Variant) -> Failure:
    return replace(
        reason,
        key=key,
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_of(variant),
    )


def _kept_interrupting(key: str, request: CompareRequest, variant: Variant) -> Failure:
    return Failure(
        key=key,
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_of(variant),
        reason=f"The server ended {MAX_INTERRUPTIONS} times while {variant.label} was under way, "
        "so it was not begun again by itself.",
        remedy="Look whether the machine runs out of memory; then try this variant again.",
        refused=False,
    )
