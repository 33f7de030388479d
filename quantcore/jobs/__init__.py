"""Who asked for what, and how far it is: comparisons as rows that outlive every process."""

from quantcore.jobs.queue import JobQueue
from quantcore.jobs.records import CellRecord, Claim, Host, JobRecord, JobSummary, NewCell, NewJob

__all__ = [
    "CellRecord",
    "Claim",
    "Host",
    "JobQueue",
    "JobRecord",
    "JobSummary",
    "NewCell",
    "NewJob",
]
