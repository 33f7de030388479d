"""Dask clusters: a small one on this machine, and the processes of one over several.

The web server and the command line only hold a client. So the process that draws pages never
forks, spawns or imports for a worker's sake. `python -m quantcore.jobs.cluster` is that
cluster: when they end, however suddenly, their end of its standard input closes, and it takes the
workers with it. `python -m quantcore scheduler` and `worker` are started by people, and end by
a signal.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import dask
from distributed import LocalCluster, Nanny, Scheduler, rpc
from distributed.comm.addressing import parse_address
from distributed.comm.registry import get_backend

from quantcore.errors import ChildDiedError, QuantcoreError, RequestError
from quantcore.jobs.worker import resource
from quantcore.schema import current_environment

CONFIGURATION = {
    # A cell that killed its worker is reported, not tried on the next one.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # One cell at a time: a second one waiting on the worker would share its fate.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.comm.timeouts.connect": "10s",
}
CONNECT_TIMEOUT_S = 5
# On a small board, imports alone take a good part of it.
START_TIMEOUT_S = 120
LOOPBACK = "127.0.0.1"
# Dask logs a client that disconnects as critical, which means nothing on this terminal.
SILENT = logging.CRITICAL + 1

Say = Callable[[str], object]


def start() -> Any:
    """Return a running cluster of one worker that runs one task at a time."""
    dask.config.set(CONFIGURATION)
    return LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        resources={resource(current_environment()): 1},
        processes=True,
        # Else its dashboard would open port 8787, and warn where that is taken.
        dashboard_address=f"{LOOPBACK}:0",
        scheduler_kwargs={"dashboard": False},
        # Work happens in the worker's children, which have limits of their own.
        memory_limit=0,
        silence_logs=SILENT,
        host=LOOPBACK,
    )


def main() -> None:
    """Print the scheduler's address, then serve until standard input closes."""
    with start() as cluster:
        sys.stdout.write(f"{cluster.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


def serve_scheduler(host: str, port: int, say: Say) -> None:
    """Hand out cells to the workers that connect to this address, until a signal ends it.

    Raises:
        RequestError: nothing can listen there.
    """
    asyncio.run(_schedule(host, port, say))


def serve_worker(address: str, say: Say) -> None:
    """Measure on this machine what a scheduler hands out, until a signal ends it.

    A worker that is killed is replaced.

    Raises:
        RequestError: no scheduler answers at the address.
        ChildDiedError: the worker does not start.
        QuantcoreError: the scheduler has gone.
    """
    asyncio.run(_work(address, say))


async def find_scheduler(address: str, timeout_s: float) -> None:
    """Return as soon as a scheduler answers.

    Raises:
        ConnectionError: none does, or something else is there, for which Dask would wait for ever.
    """
    try:
        get_backend(parse_address(address)[0])
        async with asyncio.timeout(timeout_s), rpc(address) as scheduler:
            await scheduler.identity()
    # Dask takes a web server's first letters for the length of its answer.
    except (OSError, ValueError, MemoryError) as error:
        raise ConnectionError(str(error)) from error


async def _schedule(host: str, port: int, say: Say) -> None:
    _prepare()
    try:
        # Its figures about itself stay on this machine, whoever may connect to it.
        scheduler = await Scheduler(
            host=host, port=port, dashboard=False, dashboard_address=f"{LOOPBACK}:0"
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise RequestError(
            f"A scheduler cannot listen on port {port} of {host}: {error.__cause__ or error}.",
            f"Take another: python -m quantcore scheduler --port {port + 1}",
        ) from error
    say(f"Scheduling at {scheduler.address}. Ctrl-C ends it.")
    await _signalled_before(scheduler.finished())
    await scheduler.close()


async def _work(address: str, say: Say) -> None:
    _prepare()
    try:
        await find_scheduler(address, CONNECT_TIMEOUT_S)
    except ConnectionError as error:
        raise RequestError(
            f"No Dask scheduler answers at {address}.",
            "Start one with `python -m quantcore scheduler`, or check the address.",
        ) from error
    environment = current_environment()
    try:
        nanny = await Nanny(
            address,
            nthreads=1,
            memory_limit=0,
            resources={resource(environment): 1},
            preload=["quantcore.jobs.worker"],
            dashboard_address=f"{LOOPBACK}:0",
            death_timeout=START_TIMEOUT_S,
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError) as error:
        raise ChildDiedError(
            f"The worker did not start: {error.__cause__ or error}.",
            "Try again; if it stays so, look whether this machine has memory and disk to spare.",
        ) from error
    say(f"Measuring for {address} on {environment.sentence()}. Ctrl-C ends it.")
    if await _signalled_before(nanny.finished()):
        await _leave(nanny)
    else:
        raise QuantcoreError(
            f"The scheduler at {address} has gone.", "Start this worker again when it is back."
        )


async def _leave(nanny: Nanny) -> None:
    """End the worker; what it has under way is not its cell's fault and goes on elsewhere."""
    with suppress(OSError, asyncio.TimeoutError):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await nanny.scheduler.retire_workers(workers=[nanny.worker_address])
    await nanny.close()


def _prepare() -> None:
    dask.config.set(CONFIGURATION)
    logging.getLogger("distributed").setLevel(SILENT)


async def _signalled_before(ended: Awaitable[object]) -> bool:
    """Wait for a signal to end, or for something else's end; return whether there was a signal."""
    signalled = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    waits = [asyncio.ensure_future(each) for each in (signalled.wait(), ended)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    return signalled.is_set()


if __name__ == "__main__":
    main()
