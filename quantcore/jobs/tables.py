"""The tables of the job queue, and their rows as records."""

from collections.abc import Sequence
from functools import lru_cache
from sqlite3 import Connection, Row

from quantcore.cache import Schema
from quantcore.errors import RequestError
from quantcore.jobs.records import (
    ENVIRONMENT,
    REQUESTS,
    ROW,
    CellRecord,
    Host,
    JobRecord,
    JobSummary,
    job_state,
)
from quantcore.schema import (
    TARGETS,
    CompareRequest,
    Environment,
    Failure,
    Variant,
    VariantResult,
)
from quantcore.uploads import PREFIX

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
        """
ALTER TABLE jobs RENAME COLUMN place TO location;
ALTER TABLE cells RENAME COLUMN place TO cell_index;
ALTER TABLE cells RENAME COLUMN ticket TO attempt_id;
DROP INDEX cells_by_ticket;
CREATE INDEX cells_by_attempt ON cells (attempt_id) WHERE attempt_id IS NOT NULL;
""",
        "ALTER TABLE cells ADD COLUMN again INTEGER NOT NULL DEFAULT 0;",
    ),
    probe="SELECT 1 FROM jobs JOIN cells ON job = number JOIN hosts ON host = digest LIMIT 1",
)
MAX_PARSED_ROWS = 4_096
# What reading a request that another version, or a damaged file, holds may raise.
UNREADABLE = (ValueError, RequestError, IndexError)


def fetch_all(db: Connection, query: str, parameters: Sequence[object] = ()) -> list[Row]:
    """Return all rows of a query, with their columns by name."""
    cursor = db.cursor()
    cursor.row_factory = Row
    return cursor.execute(query, parameters).fetchall()


def fetch_one(db: Connection, query: str, parameters: Sequence[object] = ()) -> Row | None:
    """Return the first row of a query, if it has one."""
    rows = fetch_all(db, query, parameters)
    return rows[0] if rows else None


def fetch_job(db: Connection, job_id: str) -> Row:
    """Return the row of a job and its environment.

    Raises:
        RequestError: there is no job of this id.
    """
    query = "SELECT jobs.*, environment FROM jobs JOIN hosts ON host = digest WHERE id = ?"
    job = fetch_one(db, query, (job_id,))
    if job is None:
        raise RequestError(
            "This comparison is not known here any more.",
            "Start it again; known rows return at once.",
        )
    return job


def running_attempts(db: Connection, number: int) -> list[str]:
    """Return the attempt ids of a job's cells that are running."""
    query = "SELECT attempt_id FROM cells WHERE job = ? AND state = 'running'"
    return [attempt_id for (attempt_id,) in db.execute(query, (number,))]


def outcome_columns(row: VariantResult | Failure | None) -> tuple[str, str, str | None]:
    """Return a cell's columns `state`, `outcome` and `row`."""
    if row is None:
        return "waiting", "", None
    text = ROW.dump_json(row).decode()
    if isinstance(row, VariantResult):
        return "done", "measured", text
    return "failed", "refused" if row.refused else "failed", text


@lru_cache(maxsize=MAX_PARSED_ROWS)
def parse_row(text: str) -> VariantResult | Failure:
    """Return a cell's figures or failure."""
    return ROW.validate_json(text)


def written_requests(requests: tuple[CompareRequest, ...]) -> str:
    """Return a job's requests as they are stored.

    Raises:
        RequestError: they hold a value of another type than it must have, and could not be read.
    """
    try:
        text = REQUESTS.dump_json(requests, warnings="error").decode()
        parse_requests(text)
    except ValueError as error:
        reason = "The request holds a value of another type than it must have."
        raise RequestError(reason, str(error)) from error
    return text


@lru_cache(maxsize=MAX_PARSED_ROWS)
def parse_requests(text: str) -> tuple[CompareRequest, ...]:
    """Return a job's requests."""
    return REQUESTS.validate_json(text)


def cell_variants(requests: str) -> list[tuple[CompareRequest, Variant]]:
    """Return the request and the variant of each cell of a job, by cell index."""
    return [
        (request, variant) for request in parse_requests(requests) for variant in request.variants
    ]


def add_host(db: Connection, host: Host) -> None:
    """Insert a host unless it is there."""
    environment = ENVIRONMENT.dump_json(host.environment).decode()
    db.execute("INSERT OR IGNORE INTO hosts VALUES (?, ?)", (host.digest, environment))


@lru_cache(maxsize=MAX_PARSED_ROWS)
def parse_environment(text: str) -> Environment:
    """Return a host's environment."""
    return ENVIRONMENT.validate_json(text)


def cell_record(row: Row) -> CellRecord:
    """Return a row of `cells`, with the column `shared`, as a record."""
    return CellRecord(
        index=row["cell_index"],
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
        row=parse_row(row["row"]) if row["row"] else None,
        shared=bool(row["shared"]),
    )


def job_record(job: Row, cells: tuple[CellRecord, ...]) -> JobRecord:
    """Return a row of `fetch_job` as a record."""
    return JobRecord(
        id=job["id"],
        owner=job["owner"],
        asked_by=job["asked_by"],
        name=job["name"],
        requests=parse_requests(job["requests"]),
        host=Host(parse_environment(job["environment"]), job["location"]),
        created=job["created"],
        begun=job["begun"],
        ended=job["ended"],
        cancelled=bool(job["cancelled"]),
        message=job["message"],
        cells=cells,
    )


def job_summary(row: Row) -> JobSummary:
    """Return a row of `jobs`, with its cells counted by state and outcome, as a summary."""
    return JobSummary(
        id=row["id"],
        owner=row["owner"],
        asked_by=row["asked_by"],
        name=row["name"],
        model=row["model"],
        models=row["models"],
        location=row["location"],
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
        target=next((each for each in TARGETS if f'"target":"{each}"' in row["requests"]), None),
    )
