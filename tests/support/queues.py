"""Job queues with comparisons whose figures are fixed, filled without any worker."""

from collections.abc import Sequence
from dataclasses import replace

from quantcore.jobs import Claim, Host, JobQueue, NewCell, NewJob
from quantcore.schema import (
    CompareRequest,
    Environment,
    Failure,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Target,
    Variant,
    VariantResult,
    current_environment,
)
from tests.support import fixtures

Row = VariantResult | Failure
ARM = replace(fixtures.ENVIRONMENT, cpu="Cortex-A76", machine="aarch64", instruction_sets=("NEON",))


def host(environment: Environment | None = None, location: str = "here") -> Host:
    """Return a machine; by default the one the tests run on."""
    return Host(environment or current_environment(), location)  # type: ignore[arg-type]


def add(
    queue: JobQueue,
    name: str,
    rows: Sequence[Row],
    *,
    waiting: int = 0,
    owner: str = "somebody",
    asked_by: str = "",
    where: Host | None = None,
    model: str = fixtures.MODEL,
    title: str = "",
    source: str | None = None,
    target: Target | None = None,
) -> str:
    """Add a comparison with these rows and so many cells that wait; return its id."""
    variants = [
        Variant(row.workflow, row.backend, tuple(sorted(row.settings.items()))) for row in rows
    ]
    # Cells must differ from each other; nothing is ever run for them.
    variants += [
        Variant("static", "x86", (("calibration_images", 1 + index),)) for index in range(waiting)
    ]
    request = CompareRequest(
        ModelSpec(model), tuple(variants), ImageSpec(source), MeasureSpec(), target
    )
    cells = [NewCell(row.key, 4.0, row) for row in rows]
    cells += [NewCell(f"{name}-{index}", 4.0) for index in range(waiting)]
    queue.jobs.add(NewJob(name, owner, asked_by, (request,), where or host(), title), cells)
    return name


def begin(queue: JobQueue, where: Host | None = None, share: float = 0.5) -> Claim:
    """Let the next cell run, and be this far."""
    claim = queue.claims.claim(where or host())
    assert claim is not None
    queue.claims.progress(claim.attempt_id, "calibrating", share, "tcp://worker")
    return claim


def fill(queue: JobQueue, jobs: int = 500, results: int = 10_000) -> None:
    """Add so many comparisons, done, with so many results in all."""
    rows = [
        replace(row, key=f"{row.key}-{index}")
        for index, row in enumerate(fixtures.many(results // jobs - 1).results)
    ]
    for number in range(jobs):
        add(queue, f"job-{number}", rows, owner=f"owner {number % 10}")
