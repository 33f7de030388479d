"""The comparisons of one data folder, as pages and the command line start and follow them.

`Comparisons` stores every request before anything runs, and reads its rows from the queue, so that
it does not matter which process starts it, which one dispatches its cells, and which of them ends.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from quantcore.backends import runtime
from quantcore.cache import Store
from quantcore.engine import cached_results, cell_key, refusals
from quantcore.errors import SchedulerError
from quantcore.jobs.dispatch import Dispatcher
from quantcore.jobs.queue import JobQueue
from quantcore.jobs.records import Host, JobRecord, JobSummary, NewCell, NewJob
from quantcore.jobs.turns import Forecast, forecasts
from quantcore.jobs.views import job_view
from quantcore.jobs.workers import Workers
from quantcore.schema import (
    CompareRequest,
    Failure,
    JobView,
    Variant,
    VariantResult,
    current_environment,
)
from quantcore.settings import Settings
from quantcore.uploads import is_named
from quantcore.workflows import WORKFLOWS

POLL_S = 0.05
# Random bytes in a comparison's id: whoever has the link may look, so it must not be guessed.
ID_BYTES = 12
NOBODY = ""
# Seconds that a weight of 1 takes on two cores, for a small model.
USUAL_PACE_S = 2.0
# Many visitors look at few comparisons; the others are read again when needed.
MAX_CACHED_READS = 100
_RESULT = TypeAdapter(VariantResult)
Value = TypeVar("Value")
Version = tuple[int, int]


@dataclass(frozen=True)
class Outlook:
    """An estimate of a comparison: its cells, those refused, and seconds for the others."""

    variants: int
    refused: int
    seconds: float


class _ReadCache(Generic[Value]):
    """What was read from the queue, by key, until anything in the queue changes."""

    def __init__(self, version: Callable[[], Version], read: Callable[[str], Value]) -> None:
        self._version = version
        self._read = read
        self._values: dict[str, tuple[Version, Value]] = {}

    def get(self, key: str = "") -> Value:
        """Return the value of a key, read again only where something changed since."""
        version = self._version()
        cached = self._values.get(key)
        if cached is not None and cached[0] == version:
            return cached[1]
        value = self._read(key)
        if len(self._values) >= MAX_CACHED_READS:
            self._values.clear()
        self._values[key] = version, value
        return value


class Comparisons:
    """Start comparisons, follow, cancel and retry them. Safe from any thread.

    Any number of processes may have one; they see the same comparisons.

    Attributes:
        settings: of this process.
        store: the cache of the data folder.
        workers: the processes that run cells, and exports in turn with them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store.open(settings)
        self._queue = JobQueue.open(settings)
        self.workers = Workers(settings)
        self._dispatcher = Dispatcher(settings, self._queue, self.workers, self._remember)
        version, listing = self._queue.version, self._queue.listing
        self._records = _ReadCache(version, self._queue.jobs.get)
        self._summaries = _ReadCache(version, lambda _: listing.summaries())
        self._forecasts = _ReadCache(
            version, lambda _: forecasts(listing.open_cells(), listing.pace_s())
        )

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
            request: one request, or the several of a sweep.
            owner: who may change it, and takes turns with others.
            asked_by: the same in words.
            host: where it is measured; None takes this machine, or the scheduler's first.
            name: the user's own.

        Raises:
            QuantcoreError: the request names pictures or a model that cannot be read.
        """
        requests = (request,) if isinstance(request, CompareRequest) else tuple(request)
        host = host or self._default_host()
        open_id = self._queue.jobs.find_open(owner, requests, host)
        if open_id is not None:
            # The process that was dispatching its cells may have been killed.
            self._dispatcher.start()
            return open_id
        cells = [cell for each in requests for cell in self._cells(each, host)]
        job_id = secrets.token_urlsafe(ID_BYTES)
        self._queue.jobs.add(NewJob(job_id, owner, asked_by, requests, host, name), cells)
        if any(cell.row is None for cell in cells):
            self._dispatcher.start()
        return job_id

    def outlook(self, requests: Sequence[CompareRequest], host: Host | None = None) -> Outlook:
        """Return an estimate of a comparison of these requests, nothing of it being cached.

        The time is that of weights at the pace seen lately, or a usual one before there is any.

        Raises:
            QuantcoreError: a request names pictures or a model that cannot be read.
        """
        environment = host.environment if host else current_environment()
        weights, refused = [], 0
        for request in requests:
            refused_variants = refusals(request, environment)
            refused += len(refused_variants)
            weights += [weight(each) for each in request.variants if each not in refused_variants]
        pace_s = self._queue.listing.pace_s() or USUAL_PACE_S
        return Outlook(len(weights) + refused, refused, pace_s * sum(weights))

    def view(self, job_id: str) -> JobView:
        """Return the results so far and the progress of each cell.

        Raises:
            RequestError: there is no such comparison.
        """
        job = self._records.get(job_id)
        return job_view(job, self._forecast(job))

    def summaries(self) -> list[JobSummary]:
        """Return every comparison as one line, the newest first."""
        return self._summaries.get()

    def line(self) -> dict[str, Forecast]:
        """Return, for every comparison that is not over, when its turns come, by id."""
        return self._forecasts.get()

    def cancel(self, job_id: str) -> None:
        """Stop a comparison; what is measured stays."""
        for attempt_id in self._queue.jobs.cancel(job_id):
            self.workers.cancel(attempt_id)

    def retry(self, job_id: str) -> str:
        """Run failed and cancelled cells again, but not refused ones; return the same id."""
        self._queue.jobs.retry(job_id)
        self._dispatcher.start()
        return job_id

    def measure_again(self, job_id: str) -> str:
        """Measure what was timed on a busy machine once more; return the same id."""
        busy = {row.key for row in self.view(job_id).comparison.results if row.machine_busy}
        cells = self._records.get(job_id).cells
        self._queue.jobs.measure_again(job_id, [cell.index for cell in cells if cell.key in busy])
        self._dispatcher.start()
        return job_id

    def rename(self, job_id: str, name: str) -> None:
        """Give a comparison a name of the user's own."""
        self._queue.jobs.rename(job_id, name)

    def delete(self, job_id: str) -> None:
        """Delete a comparison. Its figures stay in the cache."""
        for attempt_id in self._queue.jobs.delete(job_id):
            self.workers.cancel(attempt_id)

    def delete_naming(self, name: str) -> None:
        """Delete every comparison of a model or pictures of this name."""
        for job_id in self._queue.jobs.ids_naming(name):
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
        """Return the machines that can measure: those of the scheduler, and this one.

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
        """Return a cell for every variant; those refused or cached have their rows."""
        environment = host.environment
        rows: dict[Variant, VariantResult | Failure] = {**refusals(request, environment)}
        possible = tuple(variant for variant in request.variants if variant not in rows)
        rows |= cached_results(self.store, replace(request, variants=possible), environment)
        return [
            NewCell(cell_key(request, variant, environment), weight(variant), rows.get(variant))
            for variant in request.variants
        ]

    def _forecast(self, job: JobRecord) -> Forecast:
        if job.state not in ("queued", "running"):
            return Forecast()
        forecast = self.line().get(job.id, Forecast())
        if job.state == "queued":
            return forecast
        return replace(forecast, ahead=None, starts_in_s=None)

    def _remember(self, row: VariantResult) -> None:
        """Cache what a worker elsewhere measured."""
        uploads = [row.model] if is_named(row.model) else []
        store = self.store.with_sources(*uploads)
        store.put("result", row.key, _RESULT.dump_json(row).decode())


def weight(variant: Variant) -> float:
    """Return how long a cell takes, roughly, next to others."""
    return WORKFLOWS[variant.workflow].weight + 3.0 * runtime(variant.backend).pace
