"""Submit cells to workers, follow them, cancel them.

A Dask client and, unless an address is set, a cluster of this process's own.
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelledError
from typing import TYPE_CHECKING, Any

from quantcore import worker
from quantcore.children import PROJECT
from quantcore.engine import failure
from quantcore.errors import CancelledError, ChildDiedError, RequestError
from quantcore.results import Failure, VariantResult
from quantcore.settings import Settings
from quantcore.specs import CompareRequest, Variant

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT_S = 15.0

OnProgress = Callable[[str, float], None]
# Called with the row, or with None where the cell was cancelled.
OnDone = Callable[[VariantResult | Failure | None], None]


class Workers:
    """The processes that run cells. Nothing starts before the first cell is submitted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._cluster: subprocess.Popen[str] | None = None
        self._listeners: dict[str, OnProgress] = {}
        self._futures: dict[str, Any] = {}
        self._cancelled: set[str] = set()
        self._closed = False

    def submit(
        self,
        ticket: str,
        request: CompareRequest,
        variant: Variant,
        on_progress: OnProgress,
        on_done: OnDone,
    ) -> None:
        """Run a cell; both functions are called from other threads.

        Raises:
            RequestError: the scheduler at `Settings.scheduler` does not answer.
            CancelledError: `close` was called before.
        """
        client = self._connected()
        self._listeners[ticket] = on_progress
        future = client.submit(
            worker.run_ticket,
            ticket,
            request,
            variant,
            self._settings,
            key=f"cell-{ticket}",
            pure=False,
            retries=0,
        )
        self._futures[ticket] = future
        future.add_done_callback(lambda done: self._finish(ticket, request, variant, done, on_done))

    def cancel(self, ticket: str) -> None:
        """Stop a cell: what runs is killed, what waits never starts."""
        client, future = self._client, self._futures.get(ticket)
        if client is None or future is None:
            return
        self._cancelled.add(ticket)
        client.run(worker.cancel, ticket, wait=False, on_error="ignore")
        # The worker ends the work; its end need not be waited for.
        future.cancel()

    def close(self) -> None:
        """End the workers that this process started, and let go of those it did not."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        if self._client is not None:
            self._client.close(timeout=2)
        if self._cluster is not None:
            _end(self._cluster)
        self._client = self._cluster = None

    def _connected(self) -> "Client":
        with self._lock:
            if self._closed:
                raise CancelledError(
                    "The measuring worker has ended.", "Start the comparison again."
                )
            ended = self._cluster is not None and self._cluster.poll() is not None
            if self._client is None or self._client.status != "running" or ended:
                self._let_go()
                address = self._settings.scheduler or self._start_cluster()
                self._client = _connect(address)
                self._client.subscribe_topic(worker.TOPIC, self._on_event)
            return self._client

    def _start_cluster(self) -> str:
        self._cluster = subprocess.Popen(
            [sys.executable, "-m", "quantcore.cluster"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C at a terminal is for the process that started it, which then ends this one.
            start_new_session=True,
        )
        assert self._cluster.stdout is not None
        address = self._cluster.stdout.readline().strip()
        if not address:
            raise ChildDiedError("The measuring worker did not start.", "Run the comparison again.")
        return address

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        listener = self._listeners.get(message["ticket"])
        if listener is not None:
            listener(message["stage"], message["share"])

    def _finish(
        self, ticket: str, request: CompareRequest, variant: Variant, done: Any, on_done: OnDone
    ) -> None:
        self._listeners.pop(ticket, None)
        self._futures.pop(ticket, None)
        if ticket in self._cancelled:
            self._cancelled.discard(ticket)
            on_done(None)
        else:
            on_done(_outcome(request, variant, done))


def _outcome(
    request: CompareRequest, variant: Variant, done: Any
) -> VariantResult | Failure | None:
    """Return what became of a cell. The one place where a worker's end becomes a `Failure`."""
    from distributed.scheduler import KilledWorker

    try:
        row: VariantResult | Failure = done.result()
    except CancelledError:
        return None
    # Nobody here cancelled the future: the scheduler is gone, and its worker with it.
    except (KilledWorker, FutureCancelledError):
        died = ChildDiedError(
            f"The worker was killed while it was busy with {variant.label}.",
            "A new worker has taken over; run this variant again.",
        )
        return failure(request, variant, died)
    except Exception as error:
        return failure(request, variant, error)
    return row


def _connect(address: str) -> "Client":
    from distributed import Client
    from distributed.comm.addressing import parse_address
    from distributed.comm.registry import get_backend

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        # A client that cannot even begin to connect hangs for half a minute when it is dropped.
        get_backend(parse_address(address)[0])
        return Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise RequestError(
            f"No Dask scheduler answers at {address}.",
            "Check QUANTCORE_SCHEDULER, or leave it unset to measure on this machine.",
        ) from error


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    with process:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
