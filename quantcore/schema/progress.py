"""The progress of a comparison and of its cells."""

from dataclasses import dataclass
from typing import Literal

from quantcore.schema.result import Comparison

CellState = Literal["waiting", "running", "done", "failed", "cancelled"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class CellProgress:
    """The progress of one cell of a comparison.

    Attributes:
        share: of the cell that is done, 0 to 1.
        attempts: how often it was started.
        worker: the address of the last worker that took it.
        elsewhere: another comparison is measuring the same cell.
        times: of its start and its end, seconds since 1970.
    """

    index: int
    workflow: str
    backend: str | None
    state: CellState
    stage: str = ""
    share: float = 0.0
    seconds_left: float | None = None
    attempts: int = 0
    worker: str = ""
    elsewhere: bool = False
    times: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class JobView:
    """A comparison under way, as pages show it: results so far, and the progress of each cell.

    Attributes:
        share: 0 to 1 of the whole.
        seconds_left: until it is done, at the pace so far; None before there is one.
        message: why the whole comparison does not go on.
        name: chosen by who requested it.
        owner: the user who may change it.
        asked_by: the owner in words.
        created: when it was requested, seconds since 1970.
        ahead: cells of others that are measured before its first one; None once it has begun.
        starts_in_s: seconds until its first cell begins; None where that is not known.
        location: `here`, or `cluster` where a scheduler's workers measure.
    """

    id: str
    state: JobState
    comparison: Comparison
    cells: tuple[CellProgress, ...]
    share: float
    seconds_left: float | None
    message: str = ""
    name: str = ""
    owner: str = ""
    asked_by: str = ""
    created: float = 0.0
    ahead: int | None = None
    starts_in_s: float | None = None
    location: Literal["here", "cluster"] = "here"

    @property
    def is_open(self) -> bool:
        """Return whether something of it still waits or runs."""
        return self.state in ("queued", "running")
