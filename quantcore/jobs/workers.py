"""Submit cells to workers, follow them, cancel them: here, or through a Dask scheduler elsewhere.

A worker takes cells only for the machine it is on: the digest of its `Environment` names a Dask
resource of which it has one, and every cell asks for one.
"""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelledError
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from quantcore.engine import Job, failure, run_cell
from quantcore.errors import CancelledError, ChildDiedError, SchedulerError
from quantcore.jobs import worker
from quantcore.jobs.records import Claim, Host
from quantcore.sandbox import import_path
from quantcore.schema import Failure, VariantResult, current_environment
from quantcore.settings import Settings

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT_S = 8.0
HOSTS_STAY_TRUE_S = 2.0

OnProgress = Callable[[str, float, str], None]
# What became of a cell: its row, or that it was cancelled, or that its worker was lost.
Ended = VariantResult | Failure | Literal["cancelled", "lost"]
OnDone = Callable[[Ended], None]
OnFree = Callable[[], None]
# When, and what.
Event = tuple[float, dict[str, Any]]


@dataclass
class _Try:
    """One submitted cell."""

    claim: Claim
    on_progress: OnProgress
    on_done: Callable[[Any], None]
    on_free: Callable[[], None] = lambda: None
    future: Any = None
    # Of the worker that began it; an address alone may be given to the next one.
    process: str = ""
    cancelled: bool = False
    ended: bool = False

    @property
    def key(self) -> str:
        """Return the name that Dask knows it by."""
        return f"cell-{self.claim.ticket}"


@dataclass
class _Link:
    """A connection to a scheduler, and the cluster of our own behind it, if it is one.

    `workers` are those of a scheduler elsewhere, by address; `removals` counts those that went.
    """

    client: "Client | None" = None
    cluster: "subprocess.Popen[str] | None" = None
    workers: dict[str, Host] = field(default_factory=dict)
    removals: int = 0
    looked_at: float = 0.0
    mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_up(self) -> bool:
        """Return whether cells can be submitted."""
        ended = self.cluster is not None and self.cluster.poll() is not None
        return self.client is not None and self.client.status == "running" and not ended

    def let_go(self) -> None:
        """Close the connection, and end the cluster of our own."""
        if self.client is not None:
            if self.client.status == "running":
                # Else the scheduler complains that it cannot tell this client of its own end.
                self.client.unsubscribe_topic("all")
            self.client.close(timeout=2)
        if self.cluster is not None:
            _end(self.cluster)
        self.client = self.cluster = None
        self.workers, self.looked_at = {}, 0.0

    def look(self, client: "Client") -> None:
        """Learn which workers are there, unless that was done a moment ago."""
        while time.monotonic() - self.looked_at > HOSTS_STAY_TRUE_S:
            removals = self.removals
            workers = _announced(client, self.workers)
            with self.mutex:
                # Else one that went while the others were asked would count as there.
                if removals == self.removals:
                    self.workers, self.looked_at = workers, time.monotonic()

    def forget(self, address: str) -> None:
        """Take note that a worker went."""
        with self.mutex:
            self.removals += 1
            self.workers.pop(address, None)

    def hosts(self) -> dict[str, Host]:
        """Return the machines of its workers, each once, by digest."""
        found: dict[str, Host] = {}
        with self.mutex:
            for host in self.workers.values():
                known = found.get(host.digest)
                workers = 1 + (known.workers if known else 0)
                found[host.digest] = Host(host.environment, "cluster", workers)
        return found

    def has(self, host: Host) -> bool:
        """Return whether a worker is on such a machine; a cluster of our own always has its one."""
        return host.place == "here" or host.digest in self.hosts()


class Workers:
    """The processes that run cells. Nothing starts before the first cell is submitted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Held while a scheduler is asked something, so never taken by what hears its answers.
        self._lock = threading.RLock()
        self._ending = threading.Lock()
        self._here = _Link()
        self._cluster = _Link()
        self._tries: dict[str, _Try] = {}
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
        task = partial(run_cell, variant=claim.variant)
        self.submit_task(claim, task, on_progress, on_done, on_free)

    def submit_task(
        self,
        claim: Claim,
        task: Callable[[Job], Any],
        on_progress: OnProgress,
        on_done: Callable[[Any], None],
        on_free: OnFree = lambda: None,
    ) -> None:
        """Run any task on the worker that the claim names; as `submit`.

        `on_done` is called with what the task returns, with a `Failure`, or with "cancelled" or
        "lost". The task is sent by pickle: a function of a module, or a `partial` of one.
        """
        # A worker elsewhere has a data folder, limits and credentials of its own.
        settings = self._settings if claim.host.place == "here" else None
        made = _Try(claim, on_progress, on_done, on_free)
        client = self._connected(claim.host)
        self._tries[claim.ticket] = made
        made.future = client.submit(
            worker.run_task,
            *(claim.ticket, claim.request, task, settings),
            key=made.key,
            resources={worker.resource(claim.host.environment): 1},
            pure=False,
            retries=0,
        )
        made.future.add_done_callback(lambda done: self._finish(made, done))
        if not self._link(claim.host).has(claim.host):
            # Its machine left a moment ago. The scheduler would keep it for whoever comes next.
            made.future.cancel()

    def cancel(self, ticket: str) -> None:
        """Stop a cell: what runs is killed, what waits never starts."""
        made = self._tries.get(ticket)
        link = self._link(made.claim.host) if made else None
        if made is None or link is None or link.client is None:
            return
        made.cancelled = True
        link.client.run(worker.cancel, ticket, wait=False, on_error="ignore")
        # The worker ends the work; its end need not be waited for.
        made.future.cancel()

    def hosts(self) -> list[Host]:
        """Return the machines behind the scheduler that measure at this moment.

        Raises:
            SchedulerError: the scheduler does not answer.
        """
        if not self._settings.scheduler:
            return []
        with self._lock:
            self._cluster.look(self._connected(Host(current_environment(), "cluster")))
            return list(self._cluster.hosts().values())

    def close(self) -> None:
        """End the workers that this process started, and let go of those it did not."""
        with self._lock:
            self._closed = True
            self._here.let_go()
            self._cluster.let_go()

    def _link(self, host: Host) -> _Link:
        return self._here if host.place == "here" else self._cluster

    def _connected(self, host: Host) -> "Client":
        link = self._link(host)
        with self._lock:
            if self._closed:
                raise CancelledError(
                    "The measuring worker has ended.", "Start the comparison again."
                )
            if not link.is_up:
                link.let_go()
                address = self._start_cluster() if link is self._here else self._settings.scheduler
                link.client = _connect(address or "")
                link.client.subscribe_topic(worker.TOPIC, self._on_progress)
                link.client.subscribe_topic("all", partial(self._on_change, link))
            assert link.client is not None
            return link.client

    def _start_cluster(self) -> str:
        process = subprocess.Popen(
            # `-P`: a file in the current folder must not stand in for a module.
            [sys.executable, "-P", "-m", "quantcore.jobs.cluster"],
            env=os.environ | import_path(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C at a terminal is for the process that started it, which then ends this one.
            start_new_session=True,
        )
        self._here.cluster = process
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise ChildDiedError("The measuring worker did not start.", "Run the comparison again.")
        return address

    async def _on_progress(self, event: Event) -> None:
        message = event[1]
        made = self._tries.get(message["ticket"])
        if made is None:
            return
        # A scheduler that is not ours may hand a dead worker's cell to the next one by itself.
        if made.process and message["process"] != made.process:
            await self._drop(made, _killed(made.claim))
            return
        made.process = message["process"]
        made.on_progress(message["stage"], message["share"], message["worker"])

    async def _on_change(self, link: _Link, event: Event) -> None:
        """Take note of workers that go, and end what they had."""
        message = event[1]
        if message.get("action") != "remove-worker":
            return
        link.forget(message["worker"])
        for made in list(self._tries.values()):
            if self._link(made.claim.host) is link:
                ended = _fate(made, message, is_alone=not link.has(made.claim.host))
                if ended is not None:
                    await self._drop(made, ended)

    async def _drop(self, made: _Try, ended: Ended) -> None:
        """End a cell that the scheduler would give to another worker."""
        self._end(made, ended)
        if made.future is not None:
            # In the client's own thread this is a coroutine.
            await made.future.cancel()

    def _finish(self, made: _Try, done: Any) -> None:
        made.on_free()
        self._end(made, "cancelled" if made.cancelled else _outcome(made, done))

    def _end(self, made: _Try, ended: Ended) -> None:
        with self._ending:
            if made.ended:
                return
            made.ended = True
            self._tries.pop(made.claim.ticket, None)
        made.on_done(ended)


def _outcome(made: _Try, done: Any) -> Ended:
    """Return what became of a cell. The one place where a worker's end becomes a `Failure`."""
    from distributed.scheduler import KilledWorker

    claim = made.claim
    try:
        row: VariantResult | Failure = done.result()
    except CancelledError:
        return "cancelled"
    except FutureCancelledError:
        # Nobody here cancelled it: the scheduler is gone, which is not this variant's doing.
        return "lost"
    except KilledWorker:
        # What only waited on a worker has not killed it.
        return _killed(claim) if made.process else "lost"
    except Exception as error:
        return failure(claim.request, claim.variant, error, claim.host.environment)
    return row


def _fate(made: _Try, removal: dict[str, Any], *, is_alone: bool) -> Ended | None:
    """Return what becomes of a cell when a worker goes; None where it has another one.

    Args:
        made: the cell.
        removal: the scheduler's word that the worker went.
        is_alone: no other worker could run the cell.
    """
    was_there = made.key in removal["processing-tasks"]
    if was_there and made.process and not removal["expected"]:
        return _killed(made.claim)
    # Its figures were not fetched yet, or it had not begun: nothing that it did.
    if was_there or made.key in removal["lost-computed-tasks"] or (is_alone and not made.process):
        return "lost"
    return None


def _killed(claim: Claim) -> Failure:
    died = ChildDiedError(
        f"The worker was killed while it was busy with {claim.variant.label}.",
        "A new worker has taken over; run this variant again.",
    )
    return failure(claim.request, claim.variant, died, claim.host.environment)


def _announced(client: "Client", known: dict[str, Host]) -> dict[str, Host]:
    """Return the workers that are there, by address; new ones are told which resource they are."""
    there = client.scheduler_info(n_workers=-1)["workers"]
    # A worker that was restarted may have its old address, but not the resource it was told of.
    hosts = {
        address: host
        for address, host in known.items()
        if worker.resource(host.environment) in there.get(address, {"resources": {}})["resources"]
    }
    new = [address for address in there if address not in hosts]
    found = client.run(worker.announce, workers=new, on_error="ignore") if new else {}
    return hosts | {address: Host(each, "cluster") for address, each in found.items()}


def _connect(address: str) -> "Client":
    from distributed import Client

    from quantcore.jobs.cluster import find_scheduler

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        # A client that cannot even begin to connect hangs, then and when it is dropped.
        asyncio.run(find_scheduler(address, CONNECT_TIMEOUT_S))
        return Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise SchedulerError(
            f"No Dask scheduler answers at {address}.",
            "Check QUANTCORE_SCHEDULER, or measure on the machine that serves these pages.",
        ) from error


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    with process:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
