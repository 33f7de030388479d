"""When a waiting comparison's turn comes, and when one under way is done. Pure arithmetic."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from quantcore.jobs.records import OpenCell


@dataclass(frozen=True)
class Forecast:
    """A forecast for a comparison that is not done.

    Attributes:
        ahead: cells that are measured before its first one.
        starts_in_s: seconds until its first cell begins; None while nothing was timed yet.
        done_in_s: seconds until its last cell is done; None likewise.
    """

    ahead: int | None = None
    starts_in_s: float | None = None
    done_in_s: float | None = None


def forecasts(cells: Iterable[OpenCell], pace_s: float | None) -> dict[str, Forecast]:
    """Return a forecast for every comparison with open cells, by id.

    Args:
        cells: the open cells in the order of their turns, those that run first.
        pace_s: seconds that a weight of 1 takes; None where nothing was timed yet.
    """
    forecast_by_job: dict[str, Forecast] = {}
    weight_before = 0.0
    for count, cell in enumerate(_in_turns(list(cells))):
        weight_after = weight_before + cell.weight * (1 - cell.share)
        first = Forecast(count, _seconds(weight_before, pace_s))
        forecast_by_job[cell.job_id] = replace(
            forecast_by_job.get(cell.job_id, first), done_in_s=_seconds(weight_after, pace_s)
        )
        weight_before = weight_after
    return forecast_by_job


def _seconds(weight: float, pace_s: float | None) -> float | None:
    return None if pace_s is None else weight * pace_s


def _in_turns(cells: list[OpenCell]) -> Iterator[OpenCell]:
    """Yield the cells as they will be claimed: owner by owner, each owner's comparisons in turn."""
    yield from (cell for cell in cells if cell.state == "running")
    owners: dict[str, dict[str, deque[OpenCell]]] = {}
    for cell in cells:
        if cell.state == "waiting":
            owners.setdefault(cell.owner, {}).setdefault(cell.job_id, deque()).append(cell)
    turns = deque(deque(jobs.values()) for jobs in owners.values())
    while turns:
        jobs = turns.popleft()
        job = jobs.popleft()
        yield job.popleft()
        if job:
            jobs.append(job)
        if jobs:
            turns.append(jobs)
