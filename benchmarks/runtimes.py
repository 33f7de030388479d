"""Static 8 bits on every backend for servers, beside OpenVINO and ONNX Runtime by hand."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.app import Workshop, cold_settings, compared
from benchmarks.contenders import (
    APP_CHILD,
    ONNX_CHILD,
    OPENVINO_CHILD,
    Contender,
    timed_in_turn,
)
from benchmarks.lines import Figure, at_most, near, note, shown
from quantcore.backends import BACKENDS
from quantcore.engine import TimedFile, keys, plan
from quantcore.engine.time_model import TimeModel
from quantcore.schema import (
    CompareRequest,
    MeasureSpec,
    ModelSpec,
    Variant,
    VariantResult,
    current_environment,
)
from quantcore.settings import Settings, physical_cores

ARCHITECTURES = (
    *("mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0"),
    *("resnet18", "resnet50"),
)
IMAGE_SIZE = 224
THREADS = (1, 2)
STARTS, ROUNDS = 6, 5
# How much slower than the peer the best of the app's may be, and how far its speed-ups may be from
# those of this loop, as a share.
MOST, TOLERANCE = 1.05, 0.10
PEER = "OpenVINO int8 by hand"
# By hand: the child that makes its two files, the one that times them, and what they are called.
PEERS = {
    ("OpenVINO float by hand", PEER, f"{PEER}, NNCF's default preset"): (
        "benchmarks.openvino_peer",
        OPENVINO_CHILD,
    ),
    ("ONNX Runtime float by hand", "ONNX Runtime int8 by hand"): (
        "benchmarks.onnx_peer",
        ONNX_CHILD,
    ),
}


def lines(
    architectures: Sequence[str] = ARCHITECTURES,
    threads: Sequence[int] = THREADS,
    starts: int = STARTS,
    rounds: int = ROUNDS,
    calibration_images: int = 64,
) -> Iterator[Figure | str]:
    """Yield latencies and ratios of each architecture, batch 1, random weights.

    Calibration decides no speed, so a few pictures do.
    """
    environment = current_environment()
    servers = [
        name
        for name, backend in BACKENDS.items()
        if "server" in backend.targets and backend.available(environment).ok
    ]
    few = {"static": {"calibration_images": calibration_images}}
    for architecture in architectures:
        spec = ModelSpec(f"torchvision/{architecture}@random")
        for count in threads:
            if count > physical_cores():
                continue
            measure = MeasureSpec(threads=count)
            yield note(f"{architecture}, {IMAGE_SIZE} px, batch 1, {count} threads")
            request = plan(spec, ["static"], servers, few, measure=measure)
            with cold_settings() as settings:
                rows = compared(request, settings).results
                times = _race(request, settings, starts, rounds)
            yield from _figures(f"{architecture}, {count} threads", rows, times)


def _race(request: CompareRequest, settings: Settings, starts: int, rounds: int) -> TimeModel:
    """Return the times of the app's files, which are in its store already, and of the peers'."""
    with Workshop(request, settings) as workshop:
        contenders = {
            each.label: Contender(
                APP_CHILD,
                (
                    TimedFile(workshop.path(workshop.convert(each)), each.backend, IMAGE_SIZE),
                    request.measure,
                ),
            )
            for each in request.variants
        }
        for names, (module, child) in PEERS.items():
            arguments = request.model.name, IMAGE_SIZE, settings.data
            with workshop.pool.spawn(f"{module}:run_export_child", *arguments) as maker:
                paths: tuple[Path, ...] = maker.receive(timeout_s=600.0)
            for name, path in zip(names, paths, strict=False):
                contenders[name] = Contender(child, (path, IMAGE_SIZE, request.measure))
        return timed_in_turn(workshop.pool, contenders, request.measure.threads, starts, rounds)


def _figures(title: str, rows: Sequence[VariantResult], times: TimeModel) -> Iterator[Figure | str]:
    for name in times.index:
        yield shown(f"{title}, {name}: latency p50", times.latency(name).p50, "ms")
    latencies: Mapping[str, float] = {
        each.label: times.latency(each.label).p50
        for each in (Variant(row.workflow, row.backend) for row in rows)
        if not each.is_float
    }
    best = min(latencies, key=lambda name: latencies[name])
    ratio = latencies[best] / times.latency(PEER).p50
    yield at_most(f"{title}, {best}: time", ratio, "x", MOST, PEER)
    for row in rows:
        variant = Variant(row.workflow, row.backend)
        if variant.is_float:
            continue
        loop = times.speedup(variant.label, keys.own_float(variant).label).ratio
        yield near(
            f"{title}, {variant.label}: the app's speed-up beside this loop's {loop:.2f} x",
            row.speedup.ratio / loop,
            "x",
            1.0,
            TOLERANCE,
        )
