"""Whether a speed-up comes out the same twice, and beside a process that keeps one core busy."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial

from benchmarks.app import absence, cold_settings, finished, row
from benchmarks.lines import Figure, at_most, note
from quantcore.engine import plan
from quantcore.schema import ImageSpec, MeasureSpec, ModelSpec, Setting, Variant
from quantcore.service import Service

MODEL = "bundled/mobilenet_v2"
BACKENDS = ("x86", "onednn", "qnnpack")
# Accuracy is not the question here, and no speed-up depends on how many images it is evaluated on.
EVALUATION_IMAGES = 200
QUIET_LIMIT, BUSY_LIMIT = 5.0, 10.0

Speedups = dict[str, float]


def lines(
    backends: Sequence[str] = BACKENDS,
    options: Mapping[str, dict[str, Setting]] | None = None,
) -> Iterator[Figure | str]:
    """Yield how far the speed-ups of runs lie apart.

    Args:
        backends: that run the variants.
        options: of the workflow.
    """
    missing = absence(MODEL)
    if missing:
        yield note(missing)
        return
    with cold_settings() as settings, closing(Service(settings)) as service:
        measured = partial(_speedups, service, MeasureSpec.of(settings), backends, options)
        first, second = measured(0), measured(1)
        with _busy_core():
            busy = measured(2)
    for backend in backends:
        yield note(
            f"static on {backend}: {first[backend]:.2f} x, {second[backend]:.2f} x, "
            f"beside a busy core {busy[backend]:.2f} x"
        )
        yield _apart(f"static on {backend}, two runs", first, second, backend, QUIET_LIMIT)
        yield _apart(f"static on {backend}, one core busy", first, busy, backend, BUSY_LIMIT)


def _apart(what: str, one: Speedups, other: Speedups, backend: str, limit: float) -> Figure:
    apart = 100 * (max(one[backend], other[backend]) / min(one[backend], other[backend]) - 1)
    return at_most(f"{what}: speed-ups apart", apart, "%", limit, "the first run")


def _speedups(
    service: Service,
    measure: MeasureSpec,
    backends: Sequence[str],
    options: Mapping[str, dict[str, Setting]] | None,
    seed: int,
) -> Speedups:
    """Return the speed-ups of one run, by backend; another seed takes nothing from the cache."""
    images = ImageSpec(evaluation_images=EVALUATION_IMAGES, seed=seed)
    request = plan(ModelSpec(MODEL), ["static"], backends, options, images, measure)
    comparison = finished(service, request)
    return {each: row(comparison, Variant("static", each)).speedup.ratio for each in backends}


@contextmanager
def _busy_core() -> Iterator[None]:
    """Keep one core busy with a process that does nothing else."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()
