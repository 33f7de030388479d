"""A sweep on 1, 2 and 4 workers whose stages sleep: what handing out the work costs by itself."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.app import cold_settings
from benchmarks.asleep import CELL_S
from benchmarks.lines import Figure, at_least, note
from quantcore.engine import FLOAT32
from quantcore.schema import CompareRequest, ModelSpec, Variant
from quantcore.service import Service
from quantcore.settings import Settings

PROJECT = Path(__file__).parents[1]
VARIANTS = 64
WORKERS = (1, 2, 4)
START_S = 60.0


def lines(variants: int = VARIANTS, workers: Sequence[int] = WORKERS) -> Iterator[Figure | str]:
    """Yield, for each number of workers, the share of linear speed that was reached."""
    yield note(f"{variants} variants of {CELL_S:g} s each; ideal is their sum over the workers.")
    for count in workers:
        elapsed_s = _swept(count, variants)
        yield at_least(
            f"{count} workers: {elapsed_s:.1f} s, of linear",
            variants * CELL_S / count / elapsed_s,
            "",
            0.9,
            "the aim",
        )


def _request(count: int) -> CompareRequest:
    others = (Variant("static", "x86", (("calibration_images", n),)) for n in range(1, count))
    return CompareRequest(ModelSpec("bundled/mobilenet_v2"), (FLOAT32, *others))


def _swept(count: int, variants: int) -> float:
    """Return the seconds a sweep takes on so many workers that are there already."""
    with cold_settings() as settings, _cluster(count, settings) as address:
        service = Service(replace(settings, scheduler=address))
        try:
            _wait_for_workers(service, count)
            started = time.monotonic()
            job = service.start(_request(variants))
            while (view := service.wait(job)).is_open:
                pass
            elapsed_s = time.monotonic() - started
        finally:
            service.close()
    if len(view.comparison.results) != variants:
        raise RuntimeError(f"not every variant came back: {view.comparison.failures[:1]}")
    return elapsed_s


def _wait_for_workers(service: Service, count: int) -> None:
    deadline = time.monotonic() + START_S
    while sum(host.workers for host in service.hosts() if host.location == "cluster") < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{count} workers did not start in {START_S:.0f} s")
        time.sleep(0.2)


@contextmanager
def _cluster(count: int, settings: Settings) -> Iterator[str]:
    """Yield the address of a scheduler with so many workers, each in a process of its own."""
    with ExitStack() as stack:
        file = settings.data / "scheduler.json"
        settings.data.mkdir(parents=True, exist_ok=True)
        options = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--port", "0"]
        stack.enter_context(_process("scheduler", *options, "--no-dashboard"))
        options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
        preload = ["--preload", str(PROJECT / "benchmarks" / "asleep.py")]
        for _ in range(count):
            stack.enter_context(_process("worker", *options, *preload))
        yield _address(file)


def _address(file: Path) -> str:
    import json

    deadline = time.monotonic() + START_S
    while not file.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the scheduler did not start in {START_S:.0f} s")
        time.sleep(0.1)
    return str(json.loads(file.read_text())["address"])


@contextmanager
def _process(kind: str, *options: str) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + kind, *options],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
