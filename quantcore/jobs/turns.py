"""When a waiting comparison's turn comes, and when one under way is done. Pure arithmetic."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# (comparison, owner, weight, share done, state), in the order of their turns.
OpenCell = tuple[str, str, float, float, str]


@dataclass(frozen=True)
class Forecast:
    """What can be said of a comparison that is not done.

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
        cells: what is open, what runs first.
        pace_s: seconds that a weight of 1 takes; None where nothing was timed yet.
    """
    found: dict[str, Forecast] = {}
    weight_before = 0.0
    for count, (job, _, weight, share, _) in enumerate(_in_turns(list(cells))):
        weight_after = weight_before + weight * (1 - share)
        known = found.get(job) or Forecast(count, _seconds(weight_before, pace_s))
        found[job] = Forecast(known.ahead, known.starts_in_s, _seconds(weight_after, pace_s))
        weight_before = weight_after
    return found


def _seconds(weight: float, pace_s: float | None) -> float | None:
    return None if pace_s is None else weight * pace_s


def _in_turns(cells: list[OpenCell]) -> Iterator[OpenCell]:
    """Yield the cells as they will be claimed: owner by owner, each owner's comparisons in turn."""
    yield from (cell for cell in cells if cell[4] == "running")
    owners: dict[str, dict[str, deque[OpenCell]]] = {}
    for cell in cells:
        if cell[4] == "waiting":
            owners.setdefault(cell[1], {}).setdefault(cell[0], deque()).append(cell)
    turns = deque(deque(jobs.values()) for jobs in owners.values())
    while turns:
        jobs = turns.popleft()
        job = jobs.popleft()
        yield job.popleft()
        if job:
            jobs.append(job)
        if jobs:
            turns.append(jobs)
