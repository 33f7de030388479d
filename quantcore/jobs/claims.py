"""Cells as the dispatcher takes them, follows them and completes them."""

import time
import uuid
from collections.abc import Container
from sqlite3 import Connection, Row

from quantcore.cache import Database
from quantcore.jobs.effects import apply_effects, fail_cell, fail_waiting
from quantcore.jobs.records import Claim, Host, Location
from quantcore.jobs.tables import (
    UNREADABLE,
    add_host,
    cell_variants,
    fetch_all,
    fetch_job,
    fetch_one,
    outcome_columns,
    parse_environment,
)
from quantcore.schema import Failure, VariantResult
from quantcore.workflows import settings_of

# A cell that was under way this often when its dispatcher ended may be what ended it.
MAX_INTERRUPTIONS = 5


class Claims:
    """The cells of a job queue that wait or run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def has_waiting(self, location: Location) -> bool:
        """Return whether cells wait to be measured here, or by a scheduler's workers."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT 1 FROM cells JOIN jobs ON job = number WHERE state = 'waiting'"
                " AND location = ? LIMIT 1",
                (location,),
            ).fetchone()
        return row is not None

    def waiting_hosts(self) -> list[Host]:
        """Return the hosts that cells wait for."""
        with self._database.reading() as db:
            rows = fetch_all(
                db,
                "SELECT DISTINCT environment, location FROM cells"
                " JOIN jobs ON job = number JOIN hosts ON host = digest WHERE state = 'waiting'",
            )
        return [Host(parse_environment(row["environment"]), row["location"]) for row in rows]

    def claim(self, host: Host) -> Claim | None:
        """Take the next cell for a host: owners take turns, and each owner's comparisons do.

        A cell whose figures are being measured for another one is left alone; it is completed
        with that one.
        """
        with self._database.writing() as db:
            row = fetch_one(
                db,
                "SELECT job, cell_index, id, requests, again, jobs.owner AS owner"
                " FROM cells JOIN jobs ON job = number JOIN owners USING (owner)"
                " WHERE state = 'waiting' AND host = ? AND location = ? AND key NOT IN"
                " (SELECT key FROM cells WHERE state = 'running')"
                " ORDER BY owners.last_turn, jobs.last_turn, job, cell_index LIMIT 1",
                (host.digest, host.location),
            )
            if row is None:
                return None
            try:
                request, variant = cell_variants(row["requests"])[row["cell_index"]]
            except UNREADABLE:
                _give_up(db, row["job"])
                return None
            attempt_id = _start_attempt(db, row)
        again = bool(row["again"])
        return Claim(attempt_id, row["id"], row["cell_index"], request, variant, host, again)

    def move(self, old: Host, new: Host) -> None:
        """Let every job of one host belong to another: the same machine, described anew."""
        with self._database.writing() as db:
            add_host(db, new)
            db.execute(
                "UPDATE jobs SET host = ? WHERE host = ? AND location = ?",
                (new.digest, old.digest, old.location),
            )

    def progress(self, attempt_id: str, stage: str, share: float, worker: str = "") -> None:
        """Store how far a claimed cell is; its share never falls."""
        with self._database.writing() as db:
            db.execute(
                "UPDATE cells SET stage = ?, share = MAX(share, ?),"
                " worker = CASE WHEN ? = '' THEN worker ELSE ? END"
                " WHERE attempt_id = ? AND state = 'running'",
                (stage, share, worker, worker, attempt_id),
            )

    def is_cancelled(self, attempt_id: str) -> bool:
        """Return whether the comparison that an attempt belongs to was cancelled or deleted."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT cancelled FROM jobs JOIN cells ON job = number WHERE attempt_id = ?",
                (attempt_id,),
            ).fetchone()
        return row is None or bool(row[0])

    def complete(self, attempt_id: str, row: VariantResult | Failure) -> None:
        """End a claimed cell, and with it every waiting one of the same key.

        Where a reference failed, the cells that would be measured against it fail with its reason.
        """
        with self._database.writing() as db:
            cell = fetch_one(db, "SELECT key FROM cells WHERE attempt_id = ?", (attempt_id,))
            if cell is not None:
                _complete(db, attempt_id, cell["key"], row)

    def fail_job(self, claim: Claim, reason: Failure, message: str) -> None:
        """Fail the waiting cells of a claim's whole comparison, and store a message about it.

        Raises:
            RequestError: the comparison was deleted.
        """
        with self._database.writing() as db:
            number = fetch_job(db, claim.job_id)["number"]
            fail_waiting(db, number, reason)
            db.execute("UPDATE jobs SET message = ? WHERE number = ?", (message, number))
            apply_effects(db, [number])

    def release(self, attempt_id: str) -> None:
        """Give a claimed cell back: it waits again, or is cancelled with its comparison."""
        with self._database.writing() as db:
            _release(db, attempt_id)

    def interrupt(self, attempt_id: str) -> None:
        """Let a cell wait again whose worker ended through no fault of the cell.

        After `MAX_INTERRUPTIONS` it fails, since it may be what ended them.
        """
        with self._database.writing() as db:
            db.execute(
                "UPDATE cells SET interrupted = interrupted + 1 WHERE attempt_id = ?",
                (attempt_id,),
            )
            cell = fetch_one(
                db,
                "SELECT cells.*, requests FROM cells JOIN jobs ON job = number"
                " WHERE attempt_id = ?",
                (attempt_id,),
            )
            if cell is None:
                return
            if cell["interrupted"] < MAX_INTERRUPTIONS:
                _release(db, attempt_id)
                return
            try:
                _complete(db, attempt_id, cell["key"], _interrupted_too_often(cell))
            except UNREADABLE:
                _give_up(db, cell["job"])

    def recover(self, but: Container[str] = ()) -> None:
        """Interrupt the running attempts of a dispatcher that ended, except those in `but`."""
        with self._database.reading() as db:
            rows = db.execute("SELECT attempt_id FROM cells WHERE state = 'running'").fetchall()
        for (attempt_id,) in rows:
            if attempt_id not in but:
                self.interrupt(attempt_id)


def _start_attempt(db: Connection, cell: Row) -> str:
    """Mark a cell as running, record its owner's and its job's turn; return the attempt's id."""
    attempt_id, now = uuid.uuid4().hex, time.time()
    (turn,) = db.execute("SELECT MAX(last_turn) + 1 FROM owners").fetchone()
    db.execute("UPDATE owners SET last_turn = ? WHERE owner = ?", (turn, cell["owner"]))
    db.execute(
        "UPDATE jobs SET last_turn = ?, begun = COALESCE(begun, ?), ended = NULL WHERE number = ?",
        (turn, now, cell["job"]),
    )
    db.execute(
        "UPDATE cells SET state = 'running', stage = 'starting', share = 0, started = ?,"
        " ended = NULL, attempts = attempts + 1, attempt_id = ? WHERE job = ? AND cell_index = ?",
        (now, attempt_id, cell["job"], cell["cell_index"]),
    )
    return attempt_id


def _complete(db: Connection, attempt_id: str, key: str, row: VariantResult | Failure) -> None:
    deaths = int(isinstance(row, Failure) and row.died)
    changed = db.execute(
        "UPDATE cells SET state = ?, outcome = ?, row = ?, share = 1, stage = '', ended = ?,"
        " deaths = deaths + ?, attempt_id = NULL WHERE attempt_id = ?"
        " OR (state = 'waiting' AND key = ?) RETURNING job",
        (*outcome_columns(row), time.time(), deaths, attempt_id, key),
    ).fetchall()
    apply_effects(db, [number for (number,) in changed])


def _release(db: Connection, attempt_id: str) -> None:
    changed = db.execute(
        "UPDATE cells SET state = CASE WHEN (SELECT cancelled FROM jobs WHERE number = job)"
        " THEN 'cancelled' ELSE 'waiting' END, stage = '', share = 0, ended = ?,"
        " attempt_id = NULL WHERE attempt_id = ? RETURNING job",
        (time.time(), attempt_id),
    ).fetchall()
    apply_effects(db, [number for (number,) in changed])


def _give_up(db: Connection, number: int) -> None:
    """Fail what is open of a job whose request cannot be read: nothing could ever measure it."""
    (model,) = db.execute("SELECT model FROM jobs WHERE number = ?", (number,)).fetchone()
    cells = fetch_all(
        db,
        "SELECT cell_index, key FROM cells WHERE job = ? AND state IN ('waiting', 'running')",
        (number,),
    )
    for cell in cells:
        row = Failure(
            cell["key"],
            model,
            "unknown",
            None,
            {},
            reason="Its request cannot be read.",
            remedy="Start the comparison again.",
            refused=False,
        )
        fail_cell(db, number, cell["cell_index"], row)
    apply_effects(db, [number])


def _interrupted_too_often(cell: Row) -> Failure:
    request, variant = cell_variants(cell["requests"])[cell["cell_index"]]
    return Failure(
        key=cell["key"],
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_of(variant),
        reason=f"The server ended {MAX_INTERRUPTIONS} times while {variant.label} was under way, "
        "so it was not begun again by itself.",
        remedy="Look whether the machine runs out of memory; then try this variant again.",
        refused=False,
    )
