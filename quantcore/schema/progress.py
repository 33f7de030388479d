"""A comparison under way: what is measured so far, and where each of its cells stands."""

from dataclasses import dataclass
from typing import Literal

from quantcore.schema.result import Comparison

CellState = Literal["waiting", "running", "done", "failed", "cancelled"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class CellProgress:
    """Where one cell of a running comparison stands.

    Attributes:
        share: 0 to 1 of the whole cell.
        attempts: how often it was begun.
        worker: the address of the worker that has it or had it last.
        elsewhere: somebody else's comparison is just bringing the same figures.
        times: when it was begun and was over, in seconds since 1970.
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
    """A comparison under way: what is measured so far, and what each cell is doing.

    Attributes:
        share: 0 to 1 of the whole.
        seconds_left: until it is done, at the pace so far; None before there is one.
        message: why it as a whole does not go on.
        name: given by who asked.
        owner: who may change it.
        asked_by: the same in words.
        created: seconds since 1970.
        ahead: cells of others that are measured before its first one; None once it has begun.
        starts_in_s: seconds until its first cell begins; None where that is not known.
        place: `here`, or `cluster` where a scheduler's workers measure.
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
    place: Literal["here", "cluster"] = "here"

    @property
    def is_open(self) -> bool:
        """Return whether something of it still waits or runs."""
        return self.state in ("queued", "running")
