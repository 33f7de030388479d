"""Comparisons by id: added, read, cancelled, retried, renamed, deleted."""

import json
import time
from collections.abc import Sequence
from sqlite3 import Connection

from quantcore.cache import Database
from quantcore.jobs.effects import apply_effects
from quantcore.jobs.records import REQUESTS, Host, JobRecord, NewCell, NewJob
from quantcore.jobs.tables import (
    add_host,
    cell_record,
    fetch_all,
    fetch_job,
    job_record,
    outcome_columns,
    running_attempts,
    written_requests,
)
from quantcore.schema import CompareRequest

# A variant that ended its process is tried once more, when somebody asks, and then no more.
MAX_DEATHS = 2

_WAIT_AGAIN = (
    "UPDATE cells SET state = 'waiting', outcome = '', row = NULL, share = 0,"
    " stage = '', interrupted = 0, started = NULL, ended = NULL"
)


class JobTable:
    """The comparisons of a job queue, one at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: NewJob, cells: Sequence[NewCell]) -> None:
        """Store a comparison; a cell that has its row already is complete at once."""
        with self._database.writing() as db:
            number = _insert_job(db, job)
            db.executemany(
                "INSERT INTO cells (job, cell_index, key, weight, share, state, outcome, row)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(number, index, cell.key, cell.weight, float(cell.row is not None)),
                        *outcome_columns(cell.row),
                    )
                    for index, cell in enumerate(cells)
                ],
            )
            apply_effects(db, [number])

    def get(self, job_id: str) -> JobRecord:
        """Return one comparison with its cells.

        Raises:
            RequestError: there is none of this id.
        """
        with self._database.reading() as db:
            job = fetch_job(db, job_id)
            rows = fetch_all(
                db,
                "SELECT cells.*, EXISTS (SELECT 1 FROM cells AS other WHERE other.state = 'running'"
                " AND cells.state = 'waiting' AND other.key = cells.key) AS shared"
                " FROM cells WHERE job = ? ORDER BY cell_index",
                (job["number"],),
            )
        return job_record(job, tuple(map(cell_record, rows)))

    def find_open(self, owner: str, requests: tuple[CompareRequest, ...], host: Host) -> str | None:
        """Return the id of the owner's unfinished comparison of these requests, if there is one."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT id FROM jobs WHERE owner = ? AND requests = ? AND host = ?"
                " AND location = ? AND NOT cancelled AND EXISTS (SELECT 1 FROM cells"
                " WHERE job = number AND state IN ('waiting', 'running'))"
                " ORDER BY number DESC LIMIT 1",
                (owner, REQUESTS.dump_json(requests).decode(), host.digest, host.location),
            ).fetchone()
        return None if row is None else str(row[0])

    def ids_naming(self, name: str) -> list[str]:
        """Return the ids of the comparisons whose requests name a model or pictures."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id FROM jobs WHERE instr(requests, ?)", (json.dumps(name),)
            ).fetchall()
        return [job_id for (job_id,) in rows]

    def cancel(self, job_id: str) -> list[str]:
        """Mark a comparison as cancelled; return the attempt ids of its running cells."""
        with self._database.writing() as db:
            number = fetch_job(db, job_id)["number"]
            db.execute("UPDATE jobs SET cancelled = 1 WHERE number = ?", (number,))
            db.execute(
                "UPDATE cells SET state = 'cancelled' WHERE job = ? AND state = 'waiting'",
                (number,),
            )
            apply_effects(db, [number])
            return running_attempts(db, number)

    def retry(self, job_id: str) -> None:
        """Let failed and cancelled cells wait again, but not refused ones.

        A variant that ended its process twice stays as it is.
        """
        with self._database.writing() as db:
            number = fetch_job(db, job_id)["number"]
            db.execute(
                f"{_WAIT_AGAIN} WHERE job = ?"
                " AND (state = 'cancelled' OR (outcome = 'failed' AND deaths < ?))",
                (number, MAX_DEATHS),
            )
            _reopen(db, number)

    def measure_again(self, job_id: str, indices: Sequence[int]) -> None:
        """Let measured cells wait to be measured once more, whatever is cached of them."""
        with self._database.writing() as db:
            number = fetch_job(db, job_id)["number"]
            db.executemany(
                f"{_WAIT_AGAIN}, again = 1 WHERE job = ? AND cell_index = ? AND state = 'done'",
                [(number, index) for index in indices],
            )
            _reopen(db, number)

    def rename(self, job_id: str, name: str) -> None:
        """Give a comparison a name of the user's own; an empty one takes it away."""
        with self._database.writing() as db:
            number = fetch_job(db, job_id)["number"]
            db.execute("UPDATE jobs SET name = ? WHERE number = ?", (name.strip(), number))

    def delete(self, job_id: str) -> list[str]:
        """Delete a comparison; return the attempt ids of its running cells."""
        with self._database.writing() as db:
            number = fetch_job(db, job_id)["number"]
            running = running_attempts(db, number)
            db.execute("DELETE FROM jobs WHERE number = ?", (number,))
        return running


def _reopen(db: Connection, number: int) -> None:
    db.execute(
        "UPDATE jobs SET cancelled = 0, message = '', begun = NULL, ended = NULL WHERE number = ?",
        (number,),
    )
    apply_effects(db, [number])


def _insert_job(db: Connection, job: NewJob) -> int:
    """Insert a job with its host and owner, and return its number."""
    host = job.host
    add_host(db, host)
    db.execute("INSERT OR IGNORE INTO owners (owner) VALUES (?)", (job.owner,))
    columns = {
        "id": job.id,
        "owner": job.owner,
        "asked_by": job.asked_by,
        "name": job.name,
        "requests": written_requests(job.requests),
        "model": job.requests[0].model.name,
        "models": len({request.model.name for request in job.requests}),
        "host": host.digest,
        "location": host.location,
        "created": time.time(),
    }
    marks = ", ".join("?" * len(columns))
    number = db.execute(
        f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values())
    ).lastrowid
    assert number is not None
    return number
