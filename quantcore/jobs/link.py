"""A connection to a Dask scheduler, and the workers behind it: a cluster of our own, or another's.

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
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from quantcore.errors import ChildDiedError, SchedulerError
from quantcore.jobs import worker
from quantcore.jobs.records import Host
from quantcore.sandbox import import_path

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT_S = 8.0
MAX_HOSTS_AGE_S = 2.0
STOP_TIMEOUT_S = 10.0

# Time and content of an event in the scheduler.
Event = tuple[float, dict[str, Any]]
OnEvent = Callable[[Event], Coroutine[Any, Any, None]]


class Link:
    """A connection to the scheduler at an address, or to a cluster of our own where it has none.

    Attributes:
        client: None while there is no connection.
        cluster: the process of our own cluster.
    """

    def __init__(self, address: str | None, on_progress: OnEvent, on_change: OnEvent) -> None:
        """Connect to nothing yet; the two functions are called with what the scheduler reports."""
        self.client: Client | None = None
        self.cluster: subprocess.Popen[str] | None = None
        self._address = address
        self._topics = {worker.TOPIC: on_progress, "all": on_change}
        # Of a scheduler elsewhere, by address; removals are counted to notice one meanwhile.
        self._workers: dict[str, Host] = {}
        self._removals = 0
        self._listed_at = 0.0
        self._mutex = threading.Lock()

    def connect(self) -> "Client":
        """Return a client that is connected, after starting our own cluster if it does not run.

        Raises:
            SchedulerError: the scheduler does not answer.
            ChildDiedError: the cluster does not start.
        """
        if self.client is None or not self._is_up(self.client):
            self.close()
            self.client = _connect(
                self._start_cluster() if self._address is None else self._address
            )
            for topic, on_event in self._topics.items():
                self.client.subscribe_topic(topic, on_event)
        return self.client

    def close(self) -> None:
        """Close the connection, and end the cluster of our own."""
        if self.client is not None:
            if self.client.status == "running":
                # Else the scheduler complains that it cannot tell this client of its own end.
                self.client.unsubscribe_topic("all")
            self.client.close(timeout=2)
        if self.cluster is not None:
            _stop(self.cluster)
        self.client = self.cluster = None
        self._workers, self._listed_at = {}, 0.0

    def list_workers(self) -> None:
        """Ask the scheduler for its workers, unless that was done a moment ago.

        Raises:
            SchedulerError: the scheduler does not answer.
        """
        client = self.connect()
        while time.monotonic() - self._listed_at > MAX_HOSTS_AGE_S:
            removals = self._removals
            workers = _announced(client, self._workers)
            with self._mutex:
                # Else one that went while the others answered would count as there.
                if removals == self._removals:
                    self._workers, self._listed_at = workers, time.monotonic()

    def remove_worker(self, address: str) -> None:
        """Record that a worker was removed."""
        with self._mutex:
            self._removals += 1
            self._workers.pop(address, None)

    def hosts(self) -> dict[str, Host]:
        """Return the machines of the workers listed last, each once, by digest."""
        hosts: dict[str, Host] = {}
        with self._mutex:
            for host in self._workers.values():
                before = hosts.get(host.digest)
                workers = 1 + (before.workers if before else 0)
                hosts[host.digest] = Host(host.environment, "cluster", workers)
        return hosts

    def has(self, host: Host) -> bool:
        """Return whether a worker is on such a machine; a cluster of our own always has its one."""
        return self._address is None or host.digest in self.hosts()

    def _is_up(self, client: "Client") -> bool:
        cluster_ended = self.cluster is not None and self.cluster.poll() is not None
        return client.status == "running" and not cluster_ended

    def _start_cluster(self) -> str:
        """Start a cluster of our own, and return its scheduler's address."""
        self.cluster = subprocess.Popen(
            # `-P`: a file in the current folder must not stand in for a module.
            [sys.executable, "-P", "-m", "quantcore.jobs.cluster"],
            env=os.environ | import_path(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C at a terminal is for the process that started it, which then ends this one.
            start_new_session=True,
        )
        assert self.cluster.stdout is not None
        address = self.cluster.stdout.readline().strip()
        if not address:
            raise ChildDiedError("The measuring worker did not start.", "Run the comparison again.")
        return address


def _announced(client: "Client", hosts_before: dict[str, Host]) -> dict[str, Host]:
    """Return the workers that are there, by address; new ones take the resource of their host."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    # A worker that was restarted may have its old address, but not the resource it had taken.
    hosts = {
        address: host
        for address, host in hosts_before.items()
        if worker.resource(host.environment) in workers.get(address, {"resources": {}})["resources"]
    }
    new = [address for address in workers if address not in hosts]
    environments = client.run(worker.announce, workers=new, on_error="ignore") if new else {}
    return hosts | {
        address: Host(environment, "cluster") for address, environment in environments.items()
    }


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


def _stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    with process:
        process.stdin.close()
        try:
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
