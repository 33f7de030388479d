"""Hand waiting cells to workers, for one process at a time of all that share a data folder.

Whoever holds the lock leads: it takes over what a leader before it left running, claims cells as
workers have room, and settles them. The kernel frees the lock when the leader dies, however
suddenly, and the next one goes on.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from quantcore.cache import locks
from quantcore.engine import FLOAT32, failure
from quantcore.errors import CancelledError, QuantcoreError, RequestError, StoreError
from quantcore.jobs.queue import JobQueue
from quantcore.jobs.records import Claim, Host
from quantcore.jobs.workers import Ended, Workers
from quantcore.schema import Failure, VariantResult, current_environment
from quantcore.settings import Settings

POLL_S = 0.2

OnMeasured = Callable[[VariantResult], None]

_logger = logging.getLogger(__name__)


class Dispatcher:
    """A thread that leads, or waits to, until it is stopped."""

    def __init__(
        self, settings: Settings, queue: JobQueue, workers: Workers, on_measured: OnMeasured
    ) -> None:
        """Make a dispatcher; `on_measured` is told of every row that a worker elsewhere brings."""
        self._queue = queue
        self._workers = workers
        self._on_measured = on_measured
        self._lock_path = settings.data / "locks" / "dispatcher"
        self._mutex = threading.Lock()
        self._running: dict[str, Claim] = {}
        self._ended: dict[str, Ended] = {}
        self._idle: set[str] = set()
        self._poked = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Lead as soon as nobody else does; does nothing when started before."""
        with self._mutex:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="quantcore-dispatcher", daemon=True
                )
                self._thread.start()
        self._poked.set()

    def stop(self) -> None:
        """End what runs, and let it wait for the next leader."""
        self._closed.set()
        self._poked.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with locks.exclusive(self._lock_path, check=self._stop_if_closed):
                    self._lead()
            except CancelledError:
                return
            # A full disk or a locked database may pass; who leads must not end over it.
            except Exception:
                _logger.exception("The dispatcher begins again.")
                self._closed.wait(1.0)

    def _lead(self) -> None:
        with self._mutex:
            held = set(self._running)
        self._queue.recover(but=held)
        seen: object = None
        while not self._closed.is_set():
            self._poked.clear()
            self._write_down()
            version = self._queue.version()
            with self._mutex:
                is_idle = bool(self._idle)
            if version != seen:
                self._end_cancelled()
                self._fill()
                seen = version
            elif is_idle or self._queue.has_waiting("cluster"):
                # Its workers come and go, and are done, without the job queue knowing.
                self._fill()
            self._poked.wait(POLL_S)
        self._give_back()

    def _stop_if_closed(self) -> None:
        if self._closed.is_set():
            raise CancelledError("The server is ending.")

    def _end_cancelled(self) -> None:
        for ticket in list(self._running):
            if self._queue.is_cancelled(ticket):
                self._workers.cancel(ticket)

    def _fill(self) -> None:
        """Claim as many cells as there are idle workers."""
        for host in self._hosts():
            while self._room(host) and not self._closed.is_set():
                claim = self._queue.claim(host)
                if claim is None:
                    break
                self._hand(claim)

    def _hosts(self) -> list[Host]:
        """Return the machines that may measure; a scheduler is asked only if cells wait for it."""
        here = Host(current_environment())
        if not self._queue.has_waiting("cluster"):
            return [here]
        try:
            return [here, *self._workers.hosts()]
        except QuantcoreError as error:
            self._refuse_cluster(error)
            return [here]

    def _refuse_cluster(self, error: QuantcoreError) -> None:
        """End what waits for a scheduler that is gone; it can be measured here instead."""
        for host in self._queue.waiting_hosts():
            while host.place == "cluster" and (claim := self._queue.claim(host)):
                self._fail_rest(claim, error)
                self._settle(claim, failure(claim.request, claim.variant, error, host.environment))

    def _room(self, host: Host) -> bool:
        with self._mutex:
            busy = sum(
                claim.host.digest == host.digest and claim.host.place == host.place
                for ticket, claim in self._running.items()
                if ticket not in self._idle
            )
        return busy < host.workers

    def _hand(self, claim: Claim) -> None:
        with self._mutex:
            self._running[claim.ticket] = claim

        def on_progress(stage: str, share: float, worker: str) -> None:
            # Nothing hangs on it: the next report tells more.
            with suppress(QuantcoreError):
                self._queue.progress(claim.ticket, stage, share, worker)

        def on_done(ended: Ended) -> None:
            self._finish(claim, ended)

        def on_free() -> None:
            # Whether others make sense is not known before float32's row is here.
            if claim.variant != FLOAT32:
                self._note_idle(claim)

        try:
            self._workers.submit(claim, on_progress, on_done, on_free)
        except CancelledError:
            self._finish(claim, "cancelled")
        except QuantcoreError as error:
            self._fail_rest(claim, error)
            row = failure(claim.request, claim.variant, error, claim.host.environment)
            self._finish(claim, row)

    def _note_idle(self, claim: Claim) -> None:
        """Let the worker have its next cell while the figures of this one still travel."""
        with self._mutex:
            if claim.ticket in self._running:
                self._idle.add(claim.ticket)
        self._poked.set()

    def _finish(self, claim: Claim, ended: Ended) -> None:
        """Take note of what became of a cell, whatever thread it is told in."""
        with self._mutex:
            self._ended[claim.ticket] = ended
        self._poked.set()

    def _write_down(self) -> None:
        """Write down what has ended. What cannot be, on a full disk, is tried again and again."""
        with self._mutex:
            ended = dict(self._ended)
        for ticket, how in ended.items():
            try:
                # A comparison may have been deleted meanwhile; then there is nothing to write.
                with suppress(RequestError):
                    self._write_down_one(self._running[ticket], how)
            except StoreError:
                _logger.exception("What became of a variant could not be written down.")
                return
            with self._mutex:
                del self._ended[ticket], self._running[ticket]
                self._idle.discard(ticket)

    def _write_down_one(self, claim: Claim, ended: Ended) -> None:
        if ended == "cancelled":
            self._queue.release(claim.ticket)
        elif ended == "lost":
            self._queue.interrupt(claim.ticket)
        else:
            self._settle(claim, ended)

    def _settle(self, claim: Claim, row: VariantResult | Failure) -> None:
        self._queue.settle(claim.ticket, row)
        if isinstance(row, VariantResult):
            if claim.host.place == "cluster":
                self._on_measured(row)
        elif claim.variant == FLOAT32:
            # Without float32 there is nothing to compare the others with.
            self._queue.fail_alike(claim, row)

    def _fail_rest(self, claim: Claim, error: QuantcoreError) -> None:
        row = failure(claim.request, claim.variant, error, claim.host.environment)
        with suppress(RequestError):
            self._queue.fail_alike(claim, row, message=str(error), whole_job=True)

    def _give_back(self) -> None:
        self._write_down()
        with self._mutex:
            running = list(self._running)
        for ticket in running:
            self._workers.cancel(ticket)
            self._queue.release(ticket)
