"""Pages on a full job queue: the jobs page with 500 comparisons, Compare with 200 variants."""

import secrets
import statistics
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.app import cold_folder
from benchmarks.asleep import fabricated_row
from benchmarks.lines import Figure, at_most, note
from benchmarks.visitors import Visit, rerun_seconds
from quantcore.engine import FLOAT32
from quantcore.jobs import Host, JobQueue, NewCell, NewJob
from quantcore.schema import CompareRequest, ModelSpec, Variant, current_environment
from quantcore.settings import Settings
from scripts.live import live_server

JOBS, ROWS_A_JOB, LARGE = 500, 20, 200
RERUNS = 20
JOBS_LIMIT_MS, COMPARE_LIMIT_MS, MOVED_LIMIT_MS = 300.0, 500.0, 150.0


def lines(
    jobs: int = JOBS, rows_a_job: int = ROWS_A_JOB, large: int = LARGE, reruns: int = RERUNS
) -> Iterator[Figure | str]:
    """Yield the median time of a rerun of both pages."""
    with cold_folder() as data:
        queue = JobQueue.open(replace(Settings.from_env(), data=data))
        for number in range(jobs):
            _add(queue, f"{number:03d}", rows_a_job)
        job = _add(queue, "large", large)
        queue.close()
        with live_server(data) as server:
            listed = rerun_seconds(server.url, Visit(page="Jobs"), reruns)
            drawn = rerun_seconds(server.url, Visit(query=f"job={job}"), reruns)
            limits = [
                Visit(query=f"job={job}&max_latency={1 + step / 10}") for step in range(reruns)
            ]
            moved = rerun_seconds(server.url, limits, reruns)
    yield note(f"{jobs} comparisons with {jobs * rows_a_job:,} results, and one with {large}.")
    yield _limit("the jobs page, median rerun", listed, JOBS_LIMIT_MS)
    yield _limit(f"Compare on {large} variants, median rerun", drawn, COMPARE_LIMIT_MS)
    yield _limit(f"a budget moved, {large} variants, median", moved, MOVED_LIMIT_MS)


def _limit(what: str, times_s: list[float], limit_ms: float) -> Figure:
    return at_most(what, 1_000 * statistics.median(times_s), "ms", limit_ms, "the aim", digits=0)


def _add(queue: JobQueue, tag: str, count: int) -> str:
    """Write down a finished comparison of so many variants; return its id."""
    others = (
        Variant("static", "x86", (("calibration_images", number),)) for number in range(1, count)
    )
    request = CompareRequest(ModelSpec("bundled/mobilenet_v2"), (FLOAT32, *others))
    job = secrets.token_urlsafe(12)
    cells = [
        NewCell(f"{tag}-{index}", 4.0, fabricated_row(f"{tag}-{index}", request, variant, index))
        for index, variant in enumerate(request.variants)
    ]
    host = Host(current_environment())
    queue.jobs.add(NewJob(job, f"visitor {tag[-1]}", "another visitor", (request,), host), cells)
    return job
