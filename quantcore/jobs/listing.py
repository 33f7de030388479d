"""All comparisons at a glance: one line each, what is open, and how fast cells go."""

from quantcore.cache import Database
from quantcore.jobs.records import JobSummary, OpenCell
from quantcore.jobs.tables import fetch_all, job_summary


class Listing:
    """The comparisons of a job queue, all at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def summaries(self) -> list[JobSummary]:
        """Return every comparison as one line, the newest first."""
        with self._database.reading() as db:
            rows = fetch_all(
                db,
                "SELECT jobs.*, COUNT(*) AS cells,"
                " SUM(state = 'waiting') AS waiting, SUM(state = 'running') AS running,"
                " SUM(outcome = 'measured') AS measured, SUM(outcome = 'failed') AS failed,"
                " SUM(outcome = 'refused') AS refused,"
                " SUM(share * weight) / MAX(SUM(weight), 1e-9) AS share"
                " FROM jobs JOIN cells ON job = number GROUP BY number ORDER BY number DESC",
            )
        return [job_summary(row) for row in rows]

    def open_cells(self) -> list[OpenCell]:
        """Return the open cells in the order of their turns.

        It is the order in which they are claimed as long as nothing new is added.
        """
        with self._database.reading() as db:
            rows = fetch_all(
                db,
                "SELECT id, jobs.owner AS owner, weight, share, state"
                " FROM cells JOIN jobs ON job = number JOIN owners USING (owner)"
                " WHERE state IN ('waiting', 'running') ORDER BY state = 'waiting',"
                " owners.last_turn, jobs.last_turn, job, cell_index",
            )
        return [OpenCell(*row) for row in rows]

    def pace_s(self) -> float | None:
        """Return seconds a weight of 1 took lately, at the median; None before there is one."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT (ended - started) / weight FROM cells WHERE outcome = 'measured'"
                " AND started IS NOT NULL AND ended > started AND attempts > 0"
                " ORDER BY job DESC, cell_index DESC LIMIT 30"
            ).fetchall()
        paces = sorted(pace for (pace,) in rows)
        return paces[len(paces) // 2] if paces else None
