"""Comparisons in a queue that outlives every process, and the workers that measure their cells."""

from quantcore.jobs.background import BackgroundTasks, Limits
from quantcore.jobs.comparisons import Comparisons
from quantcore.jobs.queue import JobQueue
from quantcore.jobs.records import CellRecord, Claim, Host, JobRecord, JobSummary, NewCell, NewJob
from quantcore.jobs.shipped import shipped_comparison
from quantcore.jobs.sweep import Sweep, cells_of, read_sweep, write_sweep
from quantcore.jobs.tasks import Task, TaskState, TaskView
from quantcore.jobs.turns import Forecast
from quantcore.jobs.workers import Workers

__all__ = [
    "BackgroundTasks",
    "CellRecord",
    "Claim",
    "Comparisons",
    "Forecast",
    "Host",
    "JobQueue",
    "JobRecord",
    "JobSummary",
    "Limits",
    "NewCell",
    "NewJob",
    "Sweep",
    "Task",
    "TaskState",
    "TaskView",
    "Workers",
    "cells_of",
    "cluster",
    "read_sweep",
    "shipped_comparison",
    "sweep",
    "write_sweep",
]
