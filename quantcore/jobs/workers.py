"""Cells submitted to workers, followed and cancelled: here, or through a scheduler elsewhere."""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from quantcore.engine import CellContext, run_cell
from quantcore.errors import CancelledError
from quantcore.jobs import worker
from quantcore.jobs.attempts import Attempt, OnDone, OnFree, OnProgress, Outcome
from quantcore.jobs.link import Event, Link
from quantcore.jobs.records import Claim, Host, Location
from quantcore.settings import Settings

if TYPE_CHECKING:
    from distributed import Client


class Workers:
    """The processes that run cells. Nothing starts before the first cell is submitted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Held during requests to a scheduler, so callbacks for its answers must not take it.
        self._lock = threading.RLock()
        self._ending = threading.Lock()
        addresses: dict[Location, str | None] = {"here": None, "cluster": settings.scheduler or ""}
        self._links = {
            location: Link(address, self._on_progress, partial(self._on_change, location))
            for location, address in addresses.items()
        }
        self._attempts: dict[str, Attempt] = {}
        self._closed = False

    def submit(
        self, claim: Claim, on_progress: OnProgress, on_done: OnDone, on_free: OnFree
    ) -> None:
        """Run a cell; the functions are called from other threads.

        `on_free` comes before `on_done`: the worker is idle, its figures are still to be fetched.

        Raises:
            SchedulerError: the scheduler at `Settings.scheduler` does not answer.
            CancelledError: `close` was called before.
        """
        task = partial(run_cell, variant=claim.variant, again=claim.again)
        self.submit_task(claim, task, on_progress, on_done, on_free)

    def submit_task(
        self,
        claim: Claim,
        task: Callable[[CellContext], Any],
        on_progress: OnProgress,
        on_done: Callable[[Any], None],
        on_free: OnFree = lambda: None,
    ) -> None:
        """Run any task on the worker that the claim names; as `submit`.

        `on_done` is called with what the task returns, with a `Failure`, or with "cancelled" or
        "interrupted". The task is sent by pickle: a function of a module, or a `partial` of one.
        """
        # A worker elsewhere has a data folder, limits and credentials of its own.
        settings = self._settings if claim.host.location == "here" else None
        link = self._links[claim.host.location]
        client = self._connect(link)
        attempt = Attempt(claim, on_progress, on_done, on_free)
        self._attempts[claim.attempt_id] = attempt
        attempt.future = client.submit(
            worker.run_task,
            *(claim.attempt_id, claim.request, task, settings),
            key=attempt.key,
            resources={worker.resource(claim.host.environment): 1},
            pure=False,
            retries=0,
        )
        attempt.future.add_done_callback(lambda future: self._finish(attempt, future))
        if not link.has(claim.host):
            # Its machine left a moment ago. The scheduler would keep the cell for the next worker.
            attempt.future.cancel()

    def cancel(self, attempt_id: str) -> None:
        """Stop a cell: what runs is killed, what waits never starts."""
        attempt = self._attempts.get(attempt_id)
        client = self._links[attempt.claim.host.location].client if attempt else None
        if attempt is None or client is None:
            return
        attempt.cancelled = True
        client.run(worker.cancel, attempt_id, wait=False, on_error="ignore")
        # The worker ends the work; its end need not be waited for.
        attempt.future.cancel()

    def hosts(self) -> list[Host]:
        """Return the machines behind the scheduler that measure at this moment.

        Raises:
            SchedulerError: the scheduler does not answer.
        """
        if not self._settings.scheduler:
            return []
        link = self._links["cluster"]
        with self._lock:
            self._connect(link)
            link.list_workers()
            return list(link.hosts().values())

    def close(self) -> None:
        """End the workers that this process started, and disconnect from those it did not."""
        with self._lock:
            self._closed = True
            for link in self._links.values():
                link.close()

    def _connect(self, link: Link) -> "Client":
        with self._lock:
            if self._closed:
                raise CancelledError(
                    "The measuring worker has ended.", "Start the comparison again."
                )
            return link.connect()

    async def _on_progress(self, event: Event) -> None:
        message = event[1]
        attempt = self._attempts.get(message["attempt_id"])
        if attempt is None:
            return
        # A scheduler that is not ours may hand a dead worker's cell to the next one by itself.
        if attempt.process and message["process"] != attempt.process:
            await self._drop(attempt, attempt.killed())
            return
        attempt.process = message["process"]
        attempt.on_progress(message["stage"], message["share"], message["worker"])

    async def _on_change(self, location: Location, event: Event) -> None:
        """End the cells of a worker that was removed."""
        removal = event[1]
        if removal.get("action") != "remove-worker":
            return
        link = self._links[location]
        link.remove_worker(removal["worker"])
        for attempt in list(self._attempts.values()):
            if attempt.claim.host.location == location:
                is_last = not link.has(attempt.claim.host)
                outcome = attempt.outcome_of_removal(removal, is_last=is_last)
                if outcome is not None:
                    await self._drop(attempt, outcome)

    async def _drop(self, attempt: Attempt, outcome: Outcome) -> None:
        """End a cell that the scheduler would give to another worker."""
        self._end(attempt, outcome)
        if attempt.future is not None:
            # In the client's own thread this is a coroutine.
            await attempt.future.cancel()

    def _finish(self, attempt: Attempt, future: Any) -> None:
        attempt.on_free()
        self._end(attempt, "cancelled" if attempt.cancelled else attempt.outcome(future))

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        with self._ending:
            if attempt.ended:
                return
            attempt.ended = True
            self._attempts.pop(attempt.claim.attempt_id, None)
        attempt.on_done(outcome)
