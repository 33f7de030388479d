"""A small Dask cluster on this machine, in a process of its own: `python -m quantcore.cluster`.

The web server and the command line only hold a client. So the process that draws pages never
forks, spawns or imports for a worker's sake, and when it ends, however suddenly, its end of this
process's standard input closes, and this process takes the workers with it.
"""

import sys
from typing import Any

import dask
from distributed import LocalCluster

CONFIGURATION = {
    # A cell that killed its worker is reported, not tried on the next one.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # One cell at a time: a second one waiting on the worker would share its fate.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.comm.timeouts.connect": "10s",
}


def start() -> Any:
    """Return a running cluster of one worker that runs one task at a time."""
    dask.config.set(CONFIGURATION)
    return LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        # Work happens in the worker's children, which have limits of their own.
        memory_limit=0,
        silence_logs=50,
        host="127.0.0.1",
    )


def main() -> None:
    """Print the scheduler's address, then serve until standard input closes."""
    with start() as cluster:
        sys.stdout.write(f"{cluster.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
