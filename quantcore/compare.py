"""From a `CompareRequest` to a `Comparison`: what is refused, what is known, what must be run.

`Comparisons` holds the comparisons of one process. Cells are handed to the workers one by one,
the jobs taking turns, so that nobody waits for somebody else's whole comparison.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from quantcore.bundle import bundled_file
from quantcore.engine import cached_results, cell_key, failure
from quantcore.environment import current_environment
from quantcore.errors import QuantcoreError, RequestError
from quantcore.grid import FLOAT32, plan, refusals
from quantcore.jobs import Workers
from quantcore.results import (
    CellProgress,
    CellState,
    Comparison,
    Failure,
    JobState,
    JobView,
    VariantResult,
)
from quantcore.settings import Settings
from quantcore.specs import (
    CompareRequest,
    Variant,
    digest,
)
from quantcore.store import Store
from quantcore.workflows import WORKFLOWS, settings_of

__all__ = ["Comparisons", "plan", "shipped_comparison"]


def shipped_comparison() -> Comparison:
    """Return the comparison that ships with the project, measured on another machine."""
    return Comparison.from_json(bundled_file("comparison.json").read_bytes())


@dataclass
class _Cell:
    variant: Variant
    state: CellState = "waiting"
    stage: str = ""
    share: float = 0.0
    started: float | None = None
    ended: float | None = None
    ticket: str = ""
    row: VariantResult | Failure | None = None

    @property
    def weight(self) -> float:
        """Return how long it takes, roughly, next to others: kernels made for ARM are slow here."""
        slow = 2.0 if self.variant.backend == "qnnpack" else 1.0
        return WORKFLOWS[self.variant.workflow].weight + 3.0 * slow


@dataclass
class _Job:
    id: str
    request: CompareRequest
    cells: list[_Cell]
    created: str
    message: str = ""
    cancelled: bool = False
    begun: float = field(default_factory=time.monotonic)
    known_weight: float = 0.0


class Comparisons:
    """The comparisons of one process: start, look at, cancel, run again. Safe from any thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store.open(settings)
        self._workers = Workers(settings)
        self._jobs: dict[str, _Job] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._busy: str | None = None
        self._turns: list[str] = []
        self._dispatcher: threading.Thread | None = None

    def start(self, request: CompareRequest) -> str:
        """Start a comparison and return its id; one that is running already is joined.

        Raises:
            QuantcoreError: the request names pictures or a model that cannot be read.
        """
        job_id = digest(request)[:16]
        job = _Job(job_id, request, self._cells(request), _now())
        with self._changed:
            running = self._jobs.get(job_id)
            if running is not None and _state(running) == "running" and not running.cancelled:
                return job_id
            self._jobs[job_id] = job
            self._turns = [*(each for each in self._turns if each != job_id), job_id]
            self._begin(job)
        return job_id

    def view(self, job_id: str) -> JobView:
        """Return what is measured so far, and what each cell is doing.

        Raises:
            RequestError: there is no such comparison.
        """
        with self._changed:
            return _view(self._job(job_id))

    def cancel(self, job_id: str) -> None:
        """Stop a comparison; what is measured stays."""
        with self._changed:
            job = self._job(job_id)
            job.cancelled = True
            running = [cell.ticket for cell in job.cells if cell.state == "running"]
            for cell in job.cells:
                if cell.state == "waiting":
                    cell.state = "cancelled"
            self._changed.notify_all()
        for ticket in running:
            self._workers.cancel(ticket)

    def retry(self, job_id: str) -> str:
        """Run again what failed or was cancelled, not what was refused; return the same id."""
        with self._changed:
            job = self._job(job_id)
            for cell in job.cells:
                died = isinstance(cell.row, Failure) and not cell.row.refused
                if died or cell.state == "cancelled":
                    cell.state, cell.row, cell.share, cell.stage = "waiting", None, 0.0, ""
            job.cancelled, job.message = False, ""
            self._begin(job)
        return job_id

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """Return the view once something changed or the time is over."""
        with self._changed:
            if _state(self._job(job_id)) == "running":
                self._changed.wait(timeout_s)
            return _view(self._job(job_id))

    def close(self) -> None:
        """Stop everything, and leave no process behind."""
        for job_id in list(self._jobs):
            self.cancel(job_id)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._workers.close()

    def _cells(self, request: CompareRequest) -> list[_Cell]:
        """Return a cell for every variant; those refused or known already are done."""
        refused = refusals(request)
        open_request = replace(
            request, variants=tuple(each for each in request.variants if each not in refused)
        )
        known: Mapping[Variant, VariantResult | Failure] = {
            **refused,
            **cached_results(self.store, open_request),
        }
        cells = [_Cell(variant, row=known.get(variant)) for variant in request.variants]
        for cell in cells:
            if cell.row is not None:
                cell.state = "failed" if isinstance(cell.row, Failure) else "done"
                cell.share = 1.0
        return cells

    def _begin(self, job: _Job) -> None:
        job.begun = time.monotonic()
        job.known_weight = sum(cell.weight for cell in job.cells if cell.row is not None)
        if self._dispatcher is None and _state(job) == "running":
            self._dispatcher = threading.Thread(
                target=self._dispatch, name="quantcore-dispatcher", daemon=True
            )
            self._dispatcher.start()
        self._changed.notify_all()

    def _job(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise RequestError(
                "This comparison is not known here any more.",
                "Start it again; known rows return at once.",
            )
        return self._jobs[job_id]

    def _dispatch(self) -> None:
        """Hand cells to the worker, one at a time, the jobs taking turns."""
        while True:
            with self._changed:
                while not self._closed and (self._busy or self._next() is None):
                    self._changed.wait()
                if self._closed:
                    return
                job, index = self._next() or (None, 0)
                assert job is not None
                self._turns = [*(each for each in self._turns if each != job.id), job.id]
                cell = job.cells[index]
                cell.state, cell.stage, cell.started = "running", "starting", time.monotonic()
                # The time keeps a second try apart from the first, which may still be ending.
                cell.ticket = self._busy = f"{job.id}-{index}-{cell.started:.6f}"
                self._changed.notify_all()
            self._submit(job, cell)

    def _submit(self, job: _Job, cell: _Cell) -> None:

        def on_progress(stage: str, share: float) -> None:
            with self._changed:
                cell.stage, cell.share = stage, max(cell.share, share)
                self._changed.notify_all()

        def on_done(row: VariantResult | Failure | None) -> None:
            with self._changed:
                _settle(cell, row)
                # Without float32 there is nothing to compare the others with.
                if cell.variant == FLOAT32 and isinstance(row, Failure):
                    _fail_waiting(job, row)
                self._busy = None
                self._changed.notify_all()

        try:
            self._workers.submit(cell.ticket, job.request, cell.variant, on_progress, on_done)
        except QuantcoreError as error:
            job.message = str(error)
            row = failure(job.request, cell.variant, error)
            with self._changed:
                _fail_waiting(job, row)
            on_done(row)
            return
        if job.cancelled:
            self._workers.cancel(cell.ticket)

    def _next(self) -> tuple[_Job, int] | None:
        for job_id in self._turns:
            job = self._jobs[job_id]
            for index, cell in enumerate(job.cells):
                if cell.state == "waiting":
                    return job, index
        return None


def _settle(cell: _Cell, row: VariantResult | Failure | None) -> None:
    cell.row, cell.ended, cell.share, cell.stage = row, time.monotonic(), 1.0, ""
    if row is None:
        cell.state = "cancelled"
    else:
        cell.state = "failed" if isinstance(row, Failure) else "done"


def _fail_waiting(job: _Job, reason: Failure) -> None:
    """Give every waiting cell another one's reason, which holds for it as well."""
    for cell in job.cells:
        if cell.state == "waiting":
            _settle(
                cell,
                replace(
                    reason,
                    key=cell_key(job.request, cell.variant),
                    workflow=cell.variant.workflow,
                    backend=cell.variant.backend,
                    settings=settings_of(cell.variant),
                ),
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _state(job: _Job) -> JobState:
    if any(cell.state in ("waiting", "running") for cell in job.cells):
        return "running"
    if job.cancelled:
        return "cancelled"
    return "done" if any(isinstance(cell.row, VariantResult) for cell in job.cells) else "failed"


def _view(job: _Job) -> JobView:
    total = sum(cell.weight for cell in job.cells)
    done = sum(cell.weight * cell.share for cell in job.cells)
    return JobView(
        id=job.id,
        state=_state(job),
        comparison=_comparison(job),
        cells=tuple(_progress(index, cell) for index, cell in enumerate(job.cells)),
        share=done / total if total else 1.0,
        seconds_left=_seconds_left(
            time.monotonic() - job.begun, done - job.known_weight, total - done
        )
        if _state(job) == "running"
        else None,
        message=job.message,
    )


def _seconds_left(elapsed_s: float, done: float, left: float) -> float | None:
    """Return seconds to go at the pace so far; None before there is a pace to speak of."""
    return elapsed_s * left / done if done > 1.0 else None


def _progress(index: int, cell: _Cell) -> CellProgress:
    left = None
    if cell.state == "running" and cell.started is not None and cell.share > 0.05:
        elapsed = time.monotonic() - cell.started
        left = elapsed * (1 - cell.share) / cell.share
    return CellProgress(
        index=index,
        workflow=cell.variant.workflow,
        backend=cell.variant.backend,
        state=cell.state,
        stage=cell.stage,
        share=cell.share,
        seconds_left=left,
    )


def _comparison(job: _Job) -> Comparison:
    rows: Iterable[VariantResult | Failure] = [
        cell.row if cell.row is not None else _cancelled(job.request, cell.variant)
        for cell in job.cells
        if cell.row is not None or cell.state == "cancelled"
    ]
    return Comparison(
        created=job.created,
        environment=current_environment(),
        request=job.request,
        results=tuple(row for row in rows if isinstance(row, VariantResult)),
        failures=tuple(row for row in rows if isinstance(row, Failure)),
    )


def _cancelled(request: CompareRequest, variant: Variant) -> Failure:
    return Failure(
        key=cell_key(request, variant),
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_of(variant),
        reason="It was cancelled before it was measured.",
        remedy="Run it again; what is measured already is kept.",
        refused=False,
    )
