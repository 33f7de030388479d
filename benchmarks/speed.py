"""Static 8 bits against the best float the same runtime serves, with ONNX Runtime beside both."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.app import Workshop, cold_settings
from benchmarks.contenders import ONNX_CHILD, TORCH_CHILD, Contender, timed_in_turn
from benchmarks.lines import Figure, at_least, note, shown
from quantcore import metrics
from quantcore.compare import plan
from quantcore.environment import current_environment
from quantcore.measure import Subject
from quantcore.results import Speedup
from quantcore.settings import Settings, physical_cores
from quantcore.specs import MeasureSpec, ModelSpec

# How many times faster than float32 each must be, on a processor with 8-bit dot products.
LIMITS = {"mobilenet_v2": 2.5, "resnet18": 3.5, "resnet50": 3.5}
SIZE_LIMIT = 3.5
IMAGE_SIZE = 224
THREADS = 2
ROUNDS = 25
# The backends made for servers; the best of them on this machine is held against the limit.
BACKENDS = ("x86", "fbgemm", "onednn")
FLOAT, ORT_FLOAT, ORT_INT8 = "float32", "ONNX Runtime float", "ONNX Runtime int8"


def lines(
    limits: Mapping[str, float] = LIMITS, rounds: int = ROUNDS, calibration_images: int = 64
) -> Iterator[Figure | str]:
    """Yield speed and size ratios of each architecture, batch 1.

    Calibration decides neither speed nor size, so a few pictures do.
    """
    measure = MeasureSpec(threads=min(THREADS, physical_cores()))
    yield note(f"{IMAGE_SIZE} px, batch 1, {measure.threads} threads, random weights")
    if not current_environment().has_vnni:
        yield note("This processor has no VNNI, for which the limits are stated.")
    for architecture, limit in limits.items():
        with cold_settings() as settings:
            yield from _race(architecture, limit, rounds, calibration_images, measure, settings)


def _race(
    architecture: str,
    limit: float,
    rounds: int,
    calibration_images: int,
    measure: MeasureSpec,
    settings: Settings,
) -> Iterator[Figure | str]:
    spec = ModelSpec(f"torchvision/{architecture}@random")
    chosen = {"static": {"calibration_images": calibration_images}}
    request = plan(spec, ["static"], BACKENDS, chosen, measure=measure)
    with Workshop(request, settings) as workshop:
        files = {
            variant.backend or FLOAT: workshop.convert(variant) for variant in request.variants
        }
        contenders = {
            name: _torch(workshop.path(file), None if name == FLOAT else name, measure)
            for name, file in files.items()
        }
        contenders |= _peer(workshop, spec.name, settings.data, measure)
        times = timed_in_turn(workshop.nursery, contenders, rounds)
    ratios = {
        name: metrics.speedup(times[FLOAT], times[name], measure.target_interval)
        for name in times
        if name != FLOAT
    }
    for name, ratio in ratios.items():
        yield note(f"{architecture}, {name}: {_ratio(ratio)}")
    for name, samples in times.items():
        yield shown(f"{architecture}, {name}: latency p50", _p50(samples), "ms")
    best = max(BACKENDS, key=lambda name: ratios[name].ratio)
    smaller = files[FLOAT].artifact.size_bytes / files[best].artifact.size_bytes
    faster = f"{architecture}, static on {best}: faster"
    yield at_least(faster, ratios[best].ratio, "x", limit, "the optimized float32")
    yield at_least(
        f"{architecture}, static on {best}: smaller", smaller, "x", SIZE_LIMIT, "float32"
    )
    yield shown(
        f"{architecture}, ONNX Runtime's int8: faster",
        _p50(times[ORT_FLOAT]) / _p50(times[ORT_INT8]),
        "x",
        "ONNX Runtime's float",
    )


def _torch(path: Path, backend: str | None, measure: MeasureSpec) -> Contender:
    return Contender(TORCH_CHILD, (Subject(path, backend, IMAGE_SIZE), measure))


def _peer(
    workshop: Workshop, name: str, folder: Path, measure: MeasureSpec
) -> dict[str, Contender]:
    with workshop.nursery.spawn(
        "benchmarks.onnx_peer:run_export_child", name, IMAGE_SIZE, folder
    ) as child:
        paths = child.receive(timeout_s=600.0)
    return {
        each: Contender(ONNX_CHILD, (path, IMAGE_SIZE, measure))
        for each, path in zip((ORT_FLOAT, ORT_INT8), paths, strict=True)
    }


def _ratio(speedup: Speedup) -> str:
    settled = "" if speedup.settled else ", unsettled"
    return f"{speedup.ratio:.2f} x of float32 ({speedup.low:.2f} to {speedup.high:.2f}{settled})"


def _p50(rounds: list[list[float]]) -> float:
    return metrics.latency([sample for each in rounds for sample in each]).p50
