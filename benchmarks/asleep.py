"""Loaded into a Dask worker with `--preload`: cells that sleep instead of converting and timing."""

import time
from typing import Any

import numpy as np

from quantcore.engine import CellContext, keys, metrics, pipeline
from quantcore.jobs import worker
from quantcore.schema import (
    Artifact,
    CompareRequest,
    Latency,
    Speedup,
    Variant,
    VariantResult,
    current_environment,
    digest,
)
from quantcore.settings import Settings

STAGES = ("converting", "writing the file", "evaluating", "timing")
STAGE_S = 0.25
CELL_S = len(STAGES) * STAGE_S


def sleep_through(job: CellContext, variant: Variant, *, again: bool = False) -> VariantResult:
    """Report each stage, sleep as long as it is said to take, and answer with made-up figures."""
    del again
    for index, stage in enumerate(STAGES):
        job.report(stage, index / len(STAGES))
        time.sleep(STAGE_S)
    key = keys.result_key(job.request, variant, current_environment())
    return fabricated_row(key, job.request, variant)


def fabricated_row(
    key: str, request: CompareRequest, variant: Variant, number: int = 0
) -> VariantResult:
    """Return a row that was never measured; another number gives other figures."""
    ratio = 1.0 if variant.backend is None else 1.5 + number % 17 / 10
    p50 = 7.0 / ratio
    return VariantResult(
        key=key,
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=dict(variant.settings),
        threads=1,
        batch=1,
        image_size=64,
        artifact=Artifact(digest(key), 9_000_000 - 20_000 * number),
        state_dict_bytes=9_000_000,
        latency_ms=Latency(p50, 1.1 * p50, 0.98 * p50, 1.02 * p50, 6),
        speedup=Speedup(ratio, 0.98 * ratio, 1.02 * ratio, 6, settled=True),
        accuracy=metrics.accuracy(
            np.arange(2_000) % (20 + number % 7) > 0, np.ones(2_000, dtype=bool)
        ),
        agreement=0.98,
        sqnr_db=22.0,
        fidelity_images=2_000,
        int8_share=0.9,
        peak_memory_bytes=20_000_000 + 10_000 * number,
        memory_baseline_bytes=250_000_000,
        machine_busy=False,
        conversion_s=STAGE_S,
    )


def no_pool(settings: Settings, is_locked: bool) -> tuple[None, str]:
    """Stand in for a worker's process pool: nothing is forked, so no process imports torch."""
    del settings, is_locked
    return None, ""


def dask_setup(_: Any) -> None:
    """Replace what a worker does with a cell; called by Dask."""
    # Cells come by the name of this function.
    setattr(pipeline, "run_cell", sleep_through)  # noqa: B010
    setattr(worker, "_pool", no_pool)  # noqa: B010
