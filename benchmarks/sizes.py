"""The recipe's own table of sizes, row by row, and why its static snippet is not what the app does.

Published numbers: https://docs.pytorch.org/tutorials/recipes/quantization.html
"""

from collections.abc import Iterator
from multiprocessing.connection import Connection

from benchmarks.app import FLOAT32, Workshop, absence, cold_settings, compared, row
from benchmarks.lines import Figure, near, note, shown
from quantcore.engine import plan
from quantcore.schema import ImageSpec, MeasureSpec, ModelSpec, Setting, Variant

PLAIN = "torchvision/mobilenet_v2@random"
TRAINED = "bundled/mobilenet_v2"
QNNPACK = Variant("static", "qnnpack")
PUBLISHED = "the recipe's published"
TOLERANCE_MB = 0.02
TIMEOUT_S = 1_800.0


def lines(
    evaluation_images: int = 2_000, calibration_images: int | None = None
) -> Iterator[Figure | str]:
    """Yield the three published sizes beside ours, and the accuracy of the snippet's shortcut."""
    with cold_settings() as settings:
        # No size depends on how many pictures calibrate.
        few = {"static": {"calibration_images": 8}}
        request = plan(ModelSpec(PLAIN), ["static"], ["qnnpack"], few)
        with Workshop(request, settings) as workshop:
            whole, small = (workshop.convert(variant) for variant in request.variants)
            with workshop.pool.spawn("benchmarks.sizes:run_snippet_child") as child:
                snippet_bytes, problem = child.receive(timeout_s=TIMEOUT_S)
    yield _size("float32, 1,000 classes", whole.state_dict_bytes, 14.27)
    yield _size("8 bits, fused and calibrated, qnnpack", small.state_dict_bytes, 3.63)
    yield _size("the static snippet to the letter, plain model", snippet_bytes, 3.98)
    yield note(f"The snippet's model asked for one answer: {problem}")
    static: dict[str, Setting] = {}
    if calibration_images:
        static["calibration_images"] = calibration_images
    yield from _shortcut(evaluation_images, {"static": static})


def _size(what: str, size_bytes: int, published_mb: float) -> Figure:
    against = f"{PUBLISHED} {published_mb} MB"
    return near(
        f"state dict of MobileNetV2, {what}",
        size_bytes / 1e6,
        "MB",
        published_mb,
        TOLERANCE_MB,
        against,
    )


def _shortcut(
    evaluation_images: int, options: dict[str, dict[str, Setting]]
) -> Iterator[Figure | str]:
    missing = absence(TRAINED)
    if missing:
        yield note(missing)
        return
    with cold_settings() as settings:
        images = ImageSpec(evaluation_images=evaluation_images)
        brief = MeasureSpec(threads=settings.threads, starts=2, rounds=1, time_budget_s=0.1)
        request = plan(ModelSpec(TRAINED), ["static"], ["qnnpack"], options, images, brief)
        comparison = compared(request, settings)
        with (
            Workshop(request, settings) as workshop,
            workshop.pool.spawn("benchmarks.sizes:run_shortcut_child", evaluation_images) as child,
        ):
            naive = child.receive(timeout_s=TIMEOUT_S)
    what = f"top-1 of {evaluation_images:,} images"
    for label, variant in (("float32", FLOAT32), ("the app's static on qnnpack", QNNPACK)):
        accuracy = row(comparison, variant).accuracy
        yield shown(f"{what}, {label}", 100 * accuracy.top1 if accuracy else 0.0, "%")
    yield shown(f"{what}, the twin converted unfused and uncalibrated", 100 * naive, "%")
    yield note("Without pictures no activation's range is known: each keeps a scale of 1, and what")
    yield note("lies between two whole numbers is lost. So the app calibrates, and refuses not to.")


def run_snippet_child(_: Connection) -> tuple[int, str]:
    """Do what the recipe's static snippet says; return its size in bytes, and why it cannot run."""
    import torch
    from torch.ao import quantization

    from benchmarks.recipe import state_dict_bytes
    from quantcore import models

    model = models.build(ModelSpec(PLAIN))
    backend = "qnnpack"
    model.qconfig = quantization.get_default_qconfig(backend)
    torch.backends.quantized.engine = backend
    prepared = quantization.prepare(model, inplace=False)
    converted = quantization.convert(prepared, inplace=False)
    return state_dict_bytes(converted), _problem(converted)


def _problem(model: object) -> str:
    import torch

    try:
        model(torch.zeros(1, 3, 224, 224))  # type: ignore[operator]
    except (RuntimeError, NotImplementedError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0].partition('. ')[0]}."
    return "it ran, against expectation."


def run_shortcut_child(_: Connection, evaluation_images: int) -> float:
    """Return the top-1 of the trained twin, converted neither fused nor calibrated."""
    import torch
    from torch.ao import quantization

    from benchmarks.recipe import Effort, top1
    from quantcore import models

    torch.backends.quantized.engine = "qnnpack"
    model = models.build_quantizable(ModelSpec(TRAINED))
    model.qconfig = quantization.get_default_qconfig("qnnpack")
    converted = quantization.convert(quantization.prepare(model))
    return top1(converted, Effort(evaluation_images=evaluation_images))
