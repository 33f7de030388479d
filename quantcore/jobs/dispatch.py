"""Hand waiting cells to workers, for one process at a time of all that share a data folder.

Whoever holds the lock leads: it takes over what a leader before it left running, claims cells as
workers have room, and completes them. The kernel frees the lock when the leader dies, however
suddenly, and the next one goes on.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from quantcore.cache import locks
from quantcore.engine import failure
from quantcore.errors import CancelledError, QuantcoreError, RequestError, StoreError
from quantcore.jobs.attempts import Outcome
from quantcore.jobs.queue import JobQueue
from quantcore.jobs.records import Claim, Host
from quantcore.jobs.workers import Workers
from quantcore.schema import Failure, VariantResult, current_environment
from quantcore.settings import Settings

POLL_S = 0.2

OnMeasured = Callable[[VariantResult], None]

_logger = logging.getLogger(__name__)


class _InFlight:
    """Claims that workers have, and outcomes that are not written yet; for any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._claims: dict[str, Claim] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._idle: set[str] = set()

    def add(self, claim: Claim) -> None:
        with self._mutex:
            self._claims[claim.attempt_id] = claim

    def note_idle(self, claim: Claim) -> None:
        """Let the worker have its next cell while the figures of this one still travel."""
        with self._mutex:
            if claim.attempt_id in self._claims:
                self._idle.add(claim.attempt_id)

    def end(self, claim: Claim, outcome: Outcome) -> None:
        """Keep the outcome of an attempt until it is written."""
        with self._mutex:
            self._outcomes[claim.attempt_id] = outcome

    def forget(self, claim: Claim) -> None:
        """Forget an attempt whose outcome was written."""
        with self._mutex:
            del self._outcomes[claim.attempt_id], self._claims[claim.attempt_id]
            self._idle.discard(claim.attempt_id)

    def attempts(self) -> set[str]:
        with self._mutex:
            return set(self._claims)

    def outcomes(self) -> list[tuple[Claim, Outcome]]:
        with self._mutex:
            return [(self._claims[each], outcome) for each, outcome in self._outcomes.items()]

    def has_idle(self) -> bool:
        with self._mutex:
            return bool(self._idle)

    def busy(self, host: Host) -> int:
        """Return how many workers of a machine measure."""
        with self._mutex:
            return sum(
                claim.host.digest == host.digest and claim.host.location == host.location
                for attempt_id, claim in self._claims.items()
                if attempt_id not in self._idle
            )


class Dispatcher:
    """A thread that leads, or waits to, until it is stopped."""

    def __init__(
        self, settings: Settings, queue: JobQueue, workers: Workers, on_measured: OnMeasured
    ) -> None:
        """Make a dispatcher; `on_measured` is called with the rows measured elsewhere."""
        self._queue = queue
        self._claims = queue.claims
        self._workers = workers
        self._on_measured = on_measured
        self._lock_path = settings.data / "locks" / "dispatcher"
        self._in_flight = _InFlight()
        self._mutex = threading.Lock()
        self._wake_up = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Dispatch as soon as no other process does; does nothing when started before."""
        with self._mutex:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="quantcore-dispatcher", daemon=True
                )
                self._thread.start()
        self._wake_up.set()

    def stop(self) -> None:
        """End what runs, and let it wait for the next leader."""
        self._closed.set()
        self._wake_up.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with locks.exclusive(self._lock_path, check=self._stop_if_closed):
                    self._lead()
            except CancelledError:
                return
            # A full disk or a locked database may pass; the dispatcher must survive it.
            except Exception:
                _logger.exception("The dispatcher begins again.")
                self._closed.wait(1.0)

    def _lead(self) -> None:
        self._claims.recover(but=self._in_flight.attempts())
        self._take_over_earlier_environments()
        last_version: object = None
        while not self._closed.is_set():
            self._wake_up.clear()
            self._write_outcomes()
            version = self._queue.version()
            if version != last_version:
                self._end_cancelled()
                self._fill()
                last_version = version
            elif self._in_flight.has_idle() or self._claims.has_waiting("cluster"):
                # Its workers come and go, and are done, without the job queue knowing.
                self._fill()
            self._wake_up.wait(POLL_S)
        self._release_all()

    def _take_over_earlier_environments(self) -> None:
        """Take on what waits for this machine as it was described before, or fail it if changed."""
        here = Host(current_environment())
        for host in self._claims.waiting_hosts():
            if host.location != here.location or host.digest == here.digest:
                continue
            if host.environment.is_continued_by(here.environment):
                self._claims.move(host, here)
                continue
            changed = QuantcoreError(
                "It waited for this machine as it was before, and the machine or its libraries "
                "have changed since.",
                "Start the comparison again.",
            )
            self._fail_waiting(host, changed)

    def _stop_if_closed(self) -> None:
        if self._closed.is_set():
            raise CancelledError("The server is ending.")

    def _end_cancelled(self) -> None:
        for attempt_id in self._in_flight.attempts():
            if self._claims.is_cancelled(attempt_id):
                self._workers.cancel(attempt_id)

    def _fill(self) -> None:
        """Claim as many cells as there are idle workers."""
        for host in self._hosts():
            while self._in_flight.busy(host) < host.workers and not self._closed.is_set():
                claim = self._claims.claim(host)
                if claim is None:
                    break
                self._submit(claim)

    def _hosts(self) -> list[Host]:
        """Return the machines that may measure; a scheduler is asked only if cells wait for it."""
        here = Host(current_environment())
        if not self._claims.has_waiting("cluster"):
            return [here]
        try:
            return [here, *self._workers.hosts()]
        except QuantcoreError as error:
            self._refuse_cluster(error)
            return [here]

    def _refuse_cluster(self, error: QuantcoreError) -> None:
        """End what waits for a scheduler that is gone; it can be measured here instead."""
        for host in self._claims.waiting_hosts():
            if host.location == "cluster":
                self._fail_waiting(host, error)

    def _submit(self, claim: Claim) -> None:
        self._in_flight.add(claim)

        def on_progress(stage: str, share: float, worker: str) -> None:
            # It may be dropped: the next report has newer progress.
            with suppress(QuantcoreError):
                self._claims.progress(claim.attempt_id, stage, share, worker)

        def on_done(outcome: Outcome) -> None:
            self._finish(claim, outcome)

        def on_free() -> None:
            # The other cells of the job wait until the row of its float32 is here.
            if not claim.variant.is_float:
                self._in_flight.note_idle(claim)
                self._wake_up.set()

        try:
            self._workers.submit(claim, on_progress, on_done, on_free)
        except CancelledError:
            self._finish(claim, "cancelled")
        except QuantcoreError as error:
            self._finish(claim, self._fail_job(claim, error))

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        """Keep the outcome of an attempt for the next round; called from any thread."""
        self._in_flight.end(claim, outcome)
        self._wake_up.set()

    def _write_outcomes(self) -> None:
        """Write outcomes to the queue. One that cannot be, on a full disk, is tried again."""
        for claim, outcome in self._in_flight.outcomes():
            try:
                self._write(claim, outcome)
            except StoreError:
                _logger.exception("The outcome of a variant could not be written to the queue.")
                return
            self._in_flight.forget(claim)

    def _write(self, claim: Claim, outcome: Outcome) -> None:
        if outcome == "cancelled":
            self._claims.release(claim.attempt_id)
        elif outcome == "interrupted":
            self._claims.interrupt(claim.attempt_id)
        else:
            self._claims.complete(claim.attempt_id, outcome)
            if isinstance(outcome, VariantResult) and claim.host.location == "cluster":
                self._on_measured(outcome)

    def _fail_waiting(self, host: Host, error: QuantcoreError) -> None:
        """Fail every comparison of which a cell waits for a machine."""
        while claim := self._claims.claim(host):
            self._claims.complete(claim.attempt_id, self._fail_job(claim, error))

    def _fail_job(self, claim: Claim, error: QuantcoreError) -> Failure:
        """Fail what waits of a claim's comparison, and return the failure of the claimed cell."""
        row = failure(claim.request, claim.variant, error, claim.host.environment)
        # It may have been deleted meanwhile.
        with suppress(RequestError):
            self._claims.fail_job(claim, row, str(error))
        return row

    def _release_all(self) -> None:
        self._write_outcomes()
        for attempt_id in self._in_flight.attempts():
            self._workers.cancel(attempt_id)
            self._claims.release(attempt_id)
