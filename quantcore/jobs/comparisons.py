"""From a `CompareRequest` to a `Comparison`: what is refused, what is known, what must be run.

`Comparisons` writes every question down before anything runs, and reads its answers from there, so
that it does not matter which process asks, which one hands out the work, and which of them ends.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import TypeAdapter

from quantcore.backends import runtime
from quantcore.cache import Store
from quantcore.engine import cached_results, cell_key, refusals
from quantcore.errors import RequestError, SchedulerError
from quantcore.jobs import turns
from quantcore.jobs.dispatch import Dispatcher
from quantcore.jobs.queue import JobQueue
from quantcore.jobs.records import CellRecord, Host, JobRecord, JobSummary, NewCell, NewJob
from quantcore.jobs.workers import Workers
from quantcore.models import bundled_file, find
from quantcore.schema import (
    CellProgress,
    CompareRequest,
    Comparison,
    Failure,
    JobView,
    ModelSpec,
    Variant,
    VariantResult,
    current_environment,
)
from quantcore.settings import Settings
from quantcore.uploads import is_named
from quantcore.workflows import WORKFLOWS, settings_of

__all__ = ["Comparisons", "shipped_comparison"]

POLL_S = 0.05
# Random bytes in a comparison's id: whoever has the link may look, so it must not be guessed.
ID_BYTES = 12
NOBODY = ""
# Seconds that a weight of 1 takes on two cores, for a small model.
USUAL_PACE_S = 2.0
_RESULT = TypeAdapter(VariantResult)


@dataclass(frozen=True)
class Outlook:
    """What asking would come to: cells, those that cannot be, and seconds for the others."""

    variants: int
    refused: int
    seconds: float


def shipped_comparison() -> Comparison:
    """Return the comparison that ships with the project, measured on another machine."""
    return Comparison.from_json(bundled_file("comparison.json").read_bytes())


class Comparisons:
    """The comparisons of one data folder: start, look at, cancel, run again. Safe from any thread.

    Any number of processes may have one; they see the same comparisons.

    Attributes:
        settings: of this process.
        store: what is kept of comparisons and exports.
        workers: the processes that run cells, and exports in turn with them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store.open(settings)
        self._queue = JobQueue.open(settings)
        self.workers = Workers(settings)
        self._dispatcher = Dispatcher(settings, self._queue, self.workers, self._remember)
        self._read: dict[str, tuple[tuple[int, int], JobRecord]] = {}
        self._listed: tuple[tuple[int, int], list[JobSummary]] | None = None
        self._lined: tuple[tuple[int, int], dict[str, turns.Forecast]] | None = None

    def resume(self) -> None:
        """Go on with what was under way when the last server ended."""
        self._dispatcher.start()

    def start(
        self,
        request: CompareRequest | Sequence[CompareRequest],
        *,
        owner: str = NOBODY,
        asked_by: str = "",
        host: Host | None = None,
        name: str = "",
    ) -> str:
        """Start a comparison and return its id; the owner's own that is under way is joined.

        Args:
            request: one question, or the several of a sweep.
            owner: who may change it, and takes turns with others.
            asked_by: the same in words.
            host: where it is measured; None takes this machine, or the scheduler's first.
            name: the user's own.

        Raises:
            QuantcoreError: the request names pictures or a model that cannot be read.
        """
        requests = (request,) if isinstance(request, CompareRequest) else tuple(request)
        host = host or self._default_host()
        known = self._queue.find_open(owner, requests, host)
        if known is not None:
            # Whoever was bringing its figures may have been killed.
            self._dispatcher.start()
            return known
        cells = [cell for each in requests for cell in self._cells(each, host)]
        job_id = secrets.token_urlsafe(ID_BYTES)
        self._queue.add(NewJob(job_id, owner, asked_by, requests, host, name), cells)
        if any(cell.row is None for cell in cells):
            self._dispatcher.start()
        return job_id

    def outlook(self, requests: Sequence[CompareRequest], host: Host | None = None) -> Outlook:
        """Return what asking for these would come to, were nothing of it known already.

        The time is that of weights at the pace seen lately, or a usual one before there is any.

        Raises:
            QuantcoreError: a request names pictures or a model that cannot be read.
        """
        environment = host.environment if host else current_environment()
        refused = [refusals(each, environment) for each in requests]
        asked = [
            variant
            for each, impossible in zip(requests, refused, strict=True)
            for variant in each.variants
            if variant not in impossible
        ]
        pace_s = self._queue.pace_s() or USUAL_PACE_S
        count = sum(map(len, refused))
        return Outlook(len(asked) + count, count, pace_s * sum(map(weight, asked)))

    def view(self, job_id: str) -> JobView:
        """Return what is measured so far, and what each cell is doing.

        Raises:
            RequestError: there is no such comparison.
        """
        job = self._record(job_id)
        forecast = self._forecast(job)
        return _view(job, forecast)

    def summaries(self) -> list[JobSummary]:
        """Return every comparison as one line, the newest first."""
        version = self._queue.version()
        if self._listed is None or self._listed[0] != version:
            self._listed = version, self._queue.summaries()
        return self._listed[1]

    def line(self) -> dict[str, turns.Forecast]:
        """Return, for every comparison that is not over, when its turns come, by id."""
        version = self._queue.version()
        if self._lined is None or self._lined[0] != version:
            found = turns.forecasts(self._queue.open_cells(), self._queue.pace_s())
            self._lined = version, found
        return self._lined[1]

    def cancel(self, job_id: str) -> None:
        """Stop a comparison; what is measured stays."""
        for ticket in self._queue.cancel(job_id):
            self.workers.cancel(ticket)

    def retry(self, job_id: str) -> str:
        """Run again what failed or was cancelled, not what was refused; return the same id."""
        self._queue.retry(job_id)
        self._dispatcher.start()
        return job_id

    def rename(self, job_id: str, name: str) -> None:
        """Give a comparison a name of the user's own."""
        self._queue.rename(job_id, name)

    def delete(self, job_id: str) -> None:
        """Forget a comparison. Its figures stay in the cache."""
        for ticket in self._queue.delete(job_id):
            self.workers.cancel(ticket)

    def delete_naming(self, name: str) -> None:
        """Forget every comparison that asks for a model or pictures of this name."""
        for job_id in self._queue.naming(name):
            self.delete(job_id)

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """Return the view once something changed, it is over, or the time is."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        version = self._queue.version()
        while True:
            view = self.view(job_id)
            if not view.is_open or self._queue.version() != version:
                return view
            if deadline is not None and time.monotonic() > deadline:
                return view
            time.sleep(POLL_S)

    def hosts(self) -> list[Host]:
        """Return where can be measured: here, and on what the scheduler has.

        Raises:
            SchedulerError: the scheduler does not answer.
        """
        return [*self.workers.hosts(), Host(current_environment())]

    def close(self) -> None:
        """Leave no process behind. What was under way goes on in the next process."""
        self._dispatcher.stop()
        self.workers.close()
        self._queue.close()
        self.store.close()

    def _default_host(self) -> Host:
        if not self.settings.scheduler:
            return Host(current_environment())
        hosts = self.workers.hosts()
        if not hosts:
            raise SchedulerError(
                f"The scheduler at {self.settings.scheduler} has no workers.",
                "Start one with `python -m quantcore worker ADDRESS`, or measure here.",
            )
        return hosts[0]

    def _cells(self, request: CompareRequest, host: Host) -> list[NewCell]:
        """Return a cell for every variant; those refused or known already are done."""
        environment = host.environment
        refused = refusals(request, environment)
        open_variants = tuple(each for each in request.variants if each not in refused)
        asked = replace(request, variants=open_variants)
        known: dict[Variant, VariantResult | Failure] = {
            **refused,
            **cached_results(self.store, asked, environment),
        }
        return [
            NewCell(cell_key(request, variant, environment), weight(variant), known.get(variant))
            for variant in request.variants
        ]

    def _record(self, job_id: str) -> JobRecord:
        """Return the job, read again only where something changed since."""
        version = self._queue.version()
        known = self._read.get(job_id)
        if known is None or known[0] != version:
            known = version, self._queue.job(job_id)
            # Many visitors look at few comparisons; old ones are read again when needed.
            if len(self._read) > 100:
                self._read.clear()
            self._read[job_id] = known
        return known[1]

    def _forecast(self, job: JobRecord) -> turns.Forecast:
        if job.state not in ("queued", "running"):
            return turns.Forecast()
        found = self.line().get(job.id, turns.Forecast())
        return found if job.state == "queued" else replace(found, ahead=None, starts_in_s=None)

    def _remember(self, row: VariantResult) -> None:
        """Keep what a worker elsewhere measured, so that it is known here the next time."""
        origins = [row.model] if is_named(row.model) else []
        store = self.store.made_from(*origins)
        store.put("result", row.key, _RESULT.dump_json(row).decode())


def weight(variant: Variant) -> float:
    """Return how long a cell takes, roughly, next to others."""
    return WORKFLOWS[variant.workflow].weight + 3.0 * runtime(variant.backend).pace


def _view(job: JobRecord, forecast: turns.Forecast) -> JobView:
    total = sum(cell.weight for cell in job.cells)
    done = sum(cell.weight * cell.share for cell in job.cells)
    variants = [variant for _, variant in job.variants()]
    return JobView(
        id=job.id,
        state=job.state,
        comparison=_comparison(job),
        cells=tuple(map(_progress, job.cells, variants)),
        share=done / total if total else 1.0,
        seconds_left=forecast.done_in_s,
        message=job.message,
        name=job.name,
        owner=job.owner,
        asked_by=job.asked_by,
        created=job.created,
        ahead=forecast.ahead,
        starts_in_s=forecast.starts_in_s,
        place=job.host.place,
    )


def _progress(cell: CellRecord, variant: Variant) -> CellProgress:
    left = None
    if cell.state == "running" and cell.started is not None and cell.share > 0.05:
        # The clock may have been set back meanwhile.
        elapsed = max(0.0, time.time() - cell.started)
        left = elapsed * (1 - cell.share) / cell.share
    return CellProgress(
        index=cell.place,
        workflow=variant.workflow,
        backend=variant.backend,
        state=cell.state,
        stage=cell.stage,
        share=cell.share,
        seconds_left=left,
        attempts=cell.attempts,
        worker=cell.worker,
        elsewhere=cell.shared,
        times=(cell.started, cell.ended),
    )


def _comparison(job: JobRecord) -> Comparison:
    rows = [
        _row(cell, request, variant)
        for cell, (request, variant) in zip(job.cells, job.variants(), strict=True)
        if cell.row is not None or cell.state == "cancelled"
    ]
    created = datetime.fromtimestamp(job.created, UTC).isoformat(timespec="seconds")
    return Comparison(
        created=created,
        environment=job.host.environment,
        request=job.requests[0],
        results=tuple(row for row in rows if isinstance(row, VariantResult)),
        failures=tuple(row for row in rows if isinstance(row, Failure)),
        also=job.requests[1:],
    )


def _row(cell: CellRecord, request: CompareRequest, variant: Variant) -> VariantResult | Failure:
    """Return the cell's row; one without figures also says what was asked of it."""
    row = cell.row if cell.row is not None else _cancelled(cell, request, variant)
    if isinstance(row, VariantResult):
        return row
    return replace(
        row,
        image_size=request.images.image_size or _own_size(request.model),
        threads=request.measure.threads,
        batch=request.measure.batch,
    )


def _own_size(model: ModelSpec) -> int | None:
    try:
        return find(model).image_size
    # An older version of the project may have asked for a model that this one lacks.
    except RequestError:
        return None


def _cancelled(cell: CellRecord, request: CompareRequest, variant: Variant) -> Failure:
    return Failure(
        key=cell.key,
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_of(variant),
        reason="It was cancelled before it was measured.",
        remedy="Run it again; what is measured already is kept.",
        refused=False,
    )
