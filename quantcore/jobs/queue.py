"""The job queue: comparisons in SQLite, stored before anything runs, so that none is lost.

Any number of processes may add, read, cancel and rename. One of them at a time, the dispatcher,
claims cells and completes them. Order is kept by sequence numbers, never by the clock, which may be
set back.
"""

from quantcore.cache import Database, explained
from quantcore.jobs.claims import Claims
from quantcore.jobs.job_table import JobTable
from quantcore.jobs.listing import Listing
from quantcore.jobs.tables import JOBS
from quantcore.settings import Settings


class JobQueue:
    """The comparisons of one data folder, safe to use from many threads and processes at once.

    Attributes:
        jobs: comparisons by id: added, read, cancelled, retried, renamed, deleted.
        claims: their cells as the dispatcher takes, follows and completes them.
        listing: all comparisons at a glance.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.jobs = JobTable(database)
        self.claims = Claims(database)
        self.listing = Listing(database)

    @classmethod
    def open(cls, settings: Settings) -> "JobQueue":
        """Return the job queue under `settings.data`, made if need be.

        Raises:
            StoreError: the folder cannot be written to, the file is damaged and in use, or a newer
                version wrote it.
        """
        with explained(settings.data):
            (settings.data / "locks").mkdir(parents=True, exist_ok=True)
            (settings.data / "quarantine").mkdir(exist_ok=True)
            return cls(Database.open(settings.data, JOBS))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def version(self) -> tuple[int, int]:
        """Return a pair of counters that changes with every change by any process."""
        return self._database.version()
