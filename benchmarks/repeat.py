"""Whether a speed-up comes out the same twice, and beside a process that keeps one core busy."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from benchmarks.app import absence, cold_settings, compared, row
from benchmarks.lines import Figure, at_most, note
from quantcore.engine import plan
from quantcore.schema import ImageSpec, MeasureSpec, ModelSpec, Setting, Variant

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
    """Yield how far the speed-ups of cold runs lie apart.

    Args:
        backends: that run the variants.
        options: of the workflow.
    """
    missing = absence(MODEL)
    if missing:
        yield note(missing)
        return
    measured = partial(_speedups, backends, options)
    first, second = measured(), measured()
    with _busy_core():
        busy = measured()
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
    backends: Sequence[str],
    options: Mapping[str, dict[str, Setting]] | None,
) -> Speedups:
    """Return the speed-ups of one cold run with the default threads, by backend."""
    with cold_settings() as settings:
        measure = MeasureSpec.of(settings)
        images = ImageSpec(evaluation_images=EVALUATION_IMAGES)
        request = plan(ModelSpec(MODEL), ["static"], backends, options, images, measure)
        comparison = compared(request, settings)
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
