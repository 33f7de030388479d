"""The job queue's rows as frozen data."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from quantcore.schema import (
    CellState,
    CompareRequest,
    Environment,
    Failure,
    JobState,
    Target,
    Variant,
    VariantResult,
    digest,
)

Location = Literal["here", "cluster"]
REQUESTS = TypeAdapter(tuple[CompareRequest, ...])
ENVIRONMENT = TypeAdapter(Environment)
ROW = TypeAdapter(VariantResult | Failure)


@dataclass(frozen=True)
class Host:
    """A machine that measures: what it is, and whether it is reached through a scheduler.

    Machines with equal environments give equal figures, so they count as one host with more
    workers.
    """

    environment: Environment
    location: Location = "here"
    workers: int = 1

    @property
    def digest(self) -> str:
        """Return the digest of its environment, which result keys depend on."""
        return digest(self.environment)


@dataclass(frozen=True)
class NewJob:
    """A comparison to add.

    Attributes:
        id: not to be guessed, since whoever has it may look.
        owner: who may cancel, rename or delete it; users take turns by it.
        asked_by: the same in words, for a list that all may see.
        requests: one for a comparison, several for a sweep.
        host: where it is measured.
    """

    id: str
    owner: str
    asked_by: str
    requests: tuple[CompareRequest, ...]
    host: Host
    name: str = ""


@dataclass(frozen=True)
class NewCell:
    """One cell to add; `row` is set where it is refused or cached."""

    key: str
    weight: float
    row: VariantResult | Failure | None = None


@dataclass(frozen=True)
class CellRecord:
    """The state of one cell; times in seconds since 1970.

    Attributes:
        index: its number within the job, over all requests.
        key: under which its figures are stored; cells of one key are measured once.
        weight: how long it takes, roughly, next to others.
        attempts: how often it was begun.
        deaths: how often its process was killed or ended by itself.
        worker: the address of the Dask worker that had it last.
        shared: another comparison's cell with this key is being measured.
    """

    index: int
    key: str
    weight: float
    state: CellState
    stage: str
    share: float
    started: float | None
    ended: float | None
    attempts: int
    deaths: int
    worker: str
    row: VariantResult | Failure | None
    shared: bool = False


@dataclass(frozen=True)
class JobRecord:
    """One comparison with its cells; `message` says why the whole comparison stopped."""

    id: str
    owner: str
    asked_by: str
    name: str
    requests: tuple[CompareRequest, ...]
    host: Host
    created: float
    begun: float | None
    ended: float | None
    cancelled: bool
    message: str
    cells: tuple[CellRecord, ...]

    def variants(self) -> list[tuple[CompareRequest, Variant]]:
        """Return the request and the variant of each cell, in the order of `cells`."""
        return [(request, variant) for request in self.requests for variant in request.variants]

    @property
    def state(self) -> JobState:
        """Return the state of the whole comparison."""
        states = [cell.state for cell in self.cells]
        return job_state(
            waiting=states.count("waiting"),
            running=states.count("running"),
            measured=sum(isinstance(cell.row, VariantResult) for cell in self.cells),
            begun=self.begun is not None,
            cancelled=self.cancelled,
        )


@dataclass(frozen=True)
class JobSummary:
    """One comparison as a line of the list of all; times in seconds since 1970.

    It is `private` where its model or its pictures are a visitor's upload. A `target` of None is
    not decided.
    """

    id: str
    owner: str
    asked_by: str
    name: str
    model: str
    models: int
    location: Location
    host: str
    created: float
    ended: float | None
    state: JobState
    cells: int
    measured: int
    failed: int
    refused: int
    waiting: int
    share: float
    message: str
    private: bool = False
    target: Target | None = None


@dataclass(frozen=True)
class Claim:
    """One attempt at a cell that a dispatcher has taken: what to run, and where.

    `again` measures once more what was measured on a busy machine.
    """

    attempt_id: str
    job_id: str
    index: int
    request: CompareRequest
    variant: Variant
    host: Host
    again: bool = False


class OpenCell(NamedTuple):
    """A cell that waits or runs, as forecasts need it."""

    job_id: str
    owner: str
    weight: float
    share: float
    state: CellState


def job_state(
    *, waiting: int, running: int, measured: int, begun: bool, cancelled: bool
) -> JobState:
    """Return a comparison's state from the states of its cells."""
    if running or (waiting and begun):
        return "running"
    if waiting:
        return "queued"
    if cancelled:
        return "cancelled"
    return "done" if measured else "failed"
