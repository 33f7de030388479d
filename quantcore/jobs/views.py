"""From a job's record to what pages draw of it: progress, and the comparison so far."""

import time
from dataclasses import replace
from datetime import UTC, datetime

from quantcore.engine import timed_together
from quantcore.errors import RequestError
from quantcore.jobs.records import CellRecord, JobRecord
from quantcore.jobs.turns import Forecast
from quantcore.models import find
from quantcore.schema import (
    CellProgress,
    CompareRequest,
    Comparison,
    Failure,
    JobView,
    ModelSpec,
    Variant,
    VariantResult,
)
from quantcore.workflows import settings_of

# A cell's time so far says nothing about the rest before this share of it is done.
MIN_SHARE_FOR_TIME_LEFT = 0.05


def job_view(job: JobRecord, forecast: Forecast) -> JobView:
    """Return a job as pages see it."""
    total = sum(cell.weight for cell in job.cells)
    done = sum(cell.weight * cell.share for cell in job.cells)
    variants = [variant for _, variant in job.variants()]
    return JobView(
        id=job.id,
        state=job.state,
        comparison=_comparison(job),
        cells=tuple(map(_progress, job.cells, variants)),
        share=done / total if total else 1.0,
        seconds_left=forecast.done_in_s,
        message=job.message,
        name=job.name,
        owner=job.owner,
        asked_by=job.asked_by,
        created=job.created,
        ahead=forecast.ahead,
        starts_in_s=forecast.starts_in_s,
        location=job.host.location,
    )


def _progress(cell: CellRecord, variant: Variant) -> CellProgress:
    return CellProgress(
        index=cell.index,
        workflow=variant.workflow,
        backend=variant.backend,
        state=cell.state,
        stage=cell.stage,
        share=cell.share,
        seconds_left=_seconds_left(cell),
        attempts=cell.attempts,
        worker=cell.worker,
        elsewhere=cell.shared,
        times=(cell.started, cell.ended),
    )


def _seconds_left(cell: CellRecord) -> float | None:
    has_pace = cell.state == "running" and cell.share > MIN_SHARE_FOR_TIME_LEFT
    if cell.started is None or not has_pace:
        return None
    # The clock may have been set back meanwhile.
    elapsed = max(0.0, time.time() - cell.started)
    return elapsed * (1 - cell.share) / cell.share


def _comparison(job: JobRecord) -> Comparison:
    rows = [
        _row(cell, request, variant)
        for cell, (request, variant) in zip(job.cells, job.variants(), strict=True)
        if cell.row is not None or cell.state == "cancelled"
    ]
    created = datetime.fromtimestamp(job.created, UTC).isoformat(timespec="seconds")
    return Comparison(
        created=created,
        environment=job.host.environment,
        request=job.requests[0],
        results=timed_together([row for row in rows if isinstance(row, VariantResult)]),
        failures=tuple(row for row in rows if isinstance(row, Failure)),
        also=job.requests[1:],
    )


def _row(cell: CellRecord, request: CompareRequest, variant: Variant) -> VariantResult | Failure:
    """Return the cell's row; one without figures also names its image size, threads and batch."""
    row = cell.row if cell.row is not None else _cancelled(cell, request, variant)
    if isinstance(row, VariantResult):
        return row
    return replace(
        row,
        image_size=request.images.image_size or _own_size(request.model),
        threads=request.measure.threads,
        batch=request.measure.batch,
    )


def _own_size(model: ModelSpec) -> int | None:
    try:
        return find(model).image_size
    # An older version of the project may have asked for a model that this one lacks.
    except RequestError:
        return None


def _cancelled(cell: CellRecord, request: CompareRequest, variant: Variant) -> Failure:
    return Failure(
        key=cell.key,
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_of(variant),
        reason="It was cancelled before it was measured.",
        remedy="Run it again; what is measured already is kept.",
        refused=False,
    )
