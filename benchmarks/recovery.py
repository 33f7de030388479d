"""A worker killed in the middle of a variant: how long until the next one runs."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil

from benchmarks.app import cold_settings
from benchmarks.lines import Figure, at_most
from quantcore.engine import FLOAT32
from quantcore.schema import CompareRequest, ImageSpec, JobView, MeasureSpec, ModelSpec, Variant
from quantcore.service import Service

REPEATS = 3
LIMIT_S = 10.0
WAIT_S = 300.0
REQUEST = CompareRequest(
    ModelSpec("bundled/mobilenet_v2"),
    (FLOAT32, Variant("static", "x86", (("calibration_images", 900),)), Variant("dynamic", "x86")),
    ImageSpec(None, 64, 64),
    MeasureSpec(),
)


def lines(repeats: int = REPEATS) -> Iterator[Figure | str]:
    """Yield the slowest of some repetitions."""
    times = [_recovered(seed) for seed in range(repeats)]
    yield at_most(
        f"from the worker's death to the next variant running, the slowest of {repeats}",
        max(times),
        "s",
        LIMIT_S,
        "the aim",
    )


def _recovered(seed: int) -> float:
    with cold_settings() as settings:
        service = Service(settings)
        try:
            request = replace(REQUEST, images=replace(REQUEST.images, seed=seed))
            job = service.start(request)
            _until(service, job, 1, "calibrating")
            for pid in _workers():
                os.kill(pid, signal.SIGKILL)
            died = time.monotonic()
            _until(service, job, 2, "")
            return time.monotonic() - died
        finally:
            service.close()


def _until(service: Service, job: str, index: int, stage: str) -> None:
    """Return once a worker says it is at this stage of a variant."""
    deadline = time.monotonic() + WAIT_S
    while not _is_at(service.view(job), index, stage):
        if time.monotonic() > deadline:
            raise RuntimeError(f"variant {index} was not reached in {WAIT_S:.0f} s")
        time.sleep(0.02)


def _is_at(view: JobView, index: int, stage: str) -> bool:
    cell = view.cells[index]
    began = cell.state == "running" and bool(cell.worker) and cell.stage.startswith(stage)
    return began or (not stage and cell.state == "done")


def _workers() -> list[int]:
    """Return the processes in which Dask runs cells: those that multiprocessing spawned."""
    return [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if "spawn_main" in " ".join(process.cmdline())
    ]
