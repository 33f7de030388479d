"""Ledgers with known comparisons, written without any worker."""

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
    Variant,
    VariantResult,
    current_environment,
)
from tests.support import fixtures

Row = VariantResult | Failure
ARM = replace(fixtures.ENVIRONMENT, cpu="Cortex-A76", machine="aarch64", instruction_sets=("NEON",))


def host(environment: Environment | None = None, place: str = "here") -> Host:
    """Return a machine; the one the tests run on unless told."""
    return Host(environment or current_environment(), place)  # type: ignore[arg-type]


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
) -> str:
    """Write down a comparison with these rows and so many cells that wait; return its id."""
    asked = [(row.workflow, row.backend, row.settings, row) for row in rows]
    variants = [Variant(w, b, tuple(sorted(settings.items()))) for w, b, settings, _ in asked]
    # Cells must differ from each other; nothing is ever run for them.
    variants += [
        Variant("static", "x86", (("calibration_images", 1 + place),)) for place in range(waiting)
    ]
    request = CompareRequest(ModelSpec(model), tuple(variants), ImageSpec(source), MeasureSpec())
    cells = [NewCell(row.key, 4.0, row) for row in rows]
    cells += [NewCell(f"{name}-{place}", 4.0) for place in range(waiting)]
    queue.add(NewJob(name, owner, asked_by, (request,), where or host(), title), cells)
    return name


def begin(queue: JobQueue, where: Host | None = None, share: float = 0.5) -> Claim:
    """Let the next cell run, and be this far."""
    claim = queue.claim(where or host())
    assert claim is not None
    queue.progress(claim.ticket, "calibrating", share, "tcp://worker")
    return claim


def fill(queue: JobQueue, jobs: int = 500, results: int = 10_000) -> None:
    """Write down so many comparisons, done, with so many results in all."""
    rows = [
        replace(row, key=f"{row.key}-{place}")
        for place, row in enumerate(fixtures.many(results // jobs - 1).results)
    ]
    for number in range(jobs):
        add(queue, f"job-{number}", rows, owner=f"owner {number % 10}")
