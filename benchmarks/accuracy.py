"""What quantization costs in accuracy, on all test images, through the app's own engine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from benchmarks.app import FLOAT32, absence, cold_settings, compared, convolutional_models, row
from benchmarks.lines import Figure, absent, at_least, at_most, note
from quantcore.backends import BACKENDS
from quantcore.engine import plan
from quantcore.errors import QuantcoreError
from quantcore.schema import Comparison, ImageSpec, MeasureSpec, ModelSpec, Variant
from quantcore.settings import Settings

TEST_IMAGES = 10_000
# How many points of top-1 each may lose against float32.
LIMITS = {Variant("static", name): 1.0 for name in BACKENDS} | {
    Variant("qat", "x86"): 1.0,
    Variant("qat", "qnnpack"): 1.0,
}
# On so many backends static must lose no more than that.
BACKENDS_NEARLY_LOSSLESS, NEARLY_LOSSLESS_POINTS = 3, 0.5


def lines(
    images: int = TEST_IMAGES,
    limits: Mapping[Variant, float] = LIMITS,
    models: Sequence[str] | None = None,
) -> Iterator[Figure | str]:
    """Yield the points lost by each variant of the models: every bundled convolutional one."""
    with cold_settings() as settings:
        for name in convolutional_models() if models is None else models:
            missing = absence(name)
            if missing:
                yield note(missing)
            else:
                yield from _losses(name, images, limits, settings)


def _losses(
    name: str, images: int, limits: Mapping[Variant, float], settings: Settings
) -> Iterator[Figure | str]:
    # Latency is not the question here, so that little time goes into it.
    brief = MeasureSpec(threads=settings.threads, starts=2, rounds=1, time_budget_s=0.1)
    request = plan(ModelSpec(name), images=ImageSpec(evaluation_images=images), measure=brief)
    comparison = compared(replace(request, variants=(FLOAT32, *limits)), settings)
    whole = _top1(comparison, FLOAT32)
    yield note(f"{name}: float32 top-1 {whole:.2f} % of {images:,} images")
    nearly_lossless = 0
    for variant, limit in limits.items():
        what = f"{name}, {variant.label}: top-1 lost"
        try:
            lost = whole - _top1(comparison, variant)
        except QuantcoreError as error:
            yield absent(what, str(error))
        else:
            yield at_most(what, lost, "points", limit, "float32")
            nearly_lossless += variant.workflow == "static" and lost <= NEARLY_LOSSLESS_POINTS
    if len(limits) > BACKENDS_NEARLY_LOSSLESS:
        what = f"{name}: backends on which static loses {NEARLY_LOSSLESS_POINTS} points at most"
        yield at_least(what, nearly_lossless, "backends", BACKENDS_NEARLY_LOSSLESS)


def _top1(comparison: Comparison, variant: Variant) -> float:
    accuracy = row(comparison, variant).accuracy
    if accuracy is None:
        raise QuantcoreError(f"{variant.label} has no accuracy.")
    return 100 * accuracy.top1
