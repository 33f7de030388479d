"""Fifty visitors while a comparison runs: how long a rerun takes, and whether figures move."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import psutil

from benchmarks.app import cold_folder
from benchmarks.lines import Figure, at_most, note
from benchmarks.visitors import Visit, crowd
from quantcore.engine import FLOAT32
from quantcore.schema import CompareRequest, ImageSpec, MeasureSpec, ModelSpec, Variant
from quantcore.service import Service
from quantcore.settings import Settings
from scripts.live import live_server

VISITORS = 50
EVERY_S = 5.0
SETTLED_S = 15.0
MEDIAN_LIMIT_MS, P99_LIMIT_MS = 150.0, 500.0
MOVED_LIMIT_PERCENT, MEMORY_LIMIT_MB = 10.0, 600.0
BACKENDS = ("x86", "fbgemm", "onednn", "qnnpack")


def lines(
    visitors: int = VISITORS,
    settled_s: float = SETTLED_S,
    backends: Sequence[str] = BACKENDS,
    every_s: float = EVERY_S,
) -> Iterator[Figure | str]:
    """Yield the rerun times, how far speed-ups moved against a quiet run, and the server's memory.

    The comparison is asked for by this process and measured by a worker of its own, as a second
    server on the same data folder would have it; the visitors look at it through the first.
    """
    with cold_folder() as data, live_server(data) as server:
        settings = replace(Settings.from_env(), data=data)
        quiet = _speedups(settings, backends, seed=0)
        visits = [Visit(query=f"job={quiet[0]}") for _ in range(visitors)]
        with crowd(server.url, visits, every_s) as times:
            time.sleep(settled_s)
            times.clear()
            busy = _speedups(settings, backends, seed=1)
        rss_mb = psutil.Process(server.pid).memory_info().rss / 1e6
    yield note(f"{len(times)} reruns by {visitors} visitors, one every {every_s:g} s each.")
    yield _limit("a rerun, median", 1_000 * statistics.median(times), "ms", MEDIAN_LIMIT_MS)
    yield _limit("a rerun, p99", 1_000 * float(np.percentile(times, 99)), "ms", P99_LIMIT_MS)
    moved = {name: 100 * abs(busy[1][name] / ratio - 1) for name, ratio in quiet[1].items()}
    for name, percent in moved.items():
        yield note(f"{name}: {quiet[1][name]:.2f}x quiet, {busy[1][name]:.2f}x, {percent:.1f} %")
    yield _limit("speed-ups moved by, the most", max(moved.values()), "%", MOVED_LIMIT_PERCENT)
    yield _limit("resident memory of the web process", rss_mb, "MB", MEMORY_LIMIT_MB)


def _limit(what: str, value: float, unit: str, limit: float) -> Figure:
    return at_most(what, value, unit, limit, "the aim")


def _speedups(
    settings: Settings, backends: Sequence[str], seed: int
) -> tuple[str, Mapping[str, float]]:
    """Measure a comparison; return its id and the speed-up of each variant."""
    request = CompareRequest(
        ModelSpec("bundled/mobilenet_v2"),
        # Another seed is another question, so that nothing comes from the cache.
        (FLOAT32, *(Variant("static", backend) for backend in backends)),
        ImageSpec(None, 256, seed=seed),
        MeasureSpec.of(settings),
    )
    service = Service(settings)
    try:
        job = service.start(request)
        while (view := service.wait(job)).is_open:
            pass
    finally:
        service.close()
    rows = [row for row in view.comparison.results if row.backend]
    return job, {f"{row.workflow} on {row.backend}": row.speedup.ratio for row in rows}
