"""Static 8 bits against the best float the same runtime serves, with ONNX Runtime beside both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.app import Workshop, cold_settings
from benchmarks.contenders import APP_CHILD, ONNX_CHILD, Contender, timed_in_turn
from benchmarks.lines import Figure, at_least, note, shown
from quantcore.engine import TimedFile, plan
from quantcore.engine.time_model import TimeModel
from quantcore.schema import MeasureSpec, ModelSpec, Speedup, current_environment
from quantcore.settings import Settings, physical_cores

# How many times faster than float32 each must be, on a processor with 8-bit dot products.
LIMITS = {"mobilenet_v2": 2.5, "resnet18": 3.5, "resnet50": 3.5}
SIZE_LIMIT = 3.5
IMAGE_SIZE = 224
THREADS = 2
STARTS, ROUNDS = 5, 5
# The backends made for servers; the best of them on this machine is held against the limit.
BACKENDS = ("x86", "fbgemm", "onednn")
FLOAT, ORT_FLOAT, ORT_INT8 = "float32", "ONNX Runtime float", "ONNX Runtime int8"


def lines(
    limits: Mapping[str, float] = LIMITS,
    rounds: int = ROUNDS,
    calibration_images: int = 64,
    backends: Sequence[str] = BACKENDS,
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
            race = _run(architecture, backends, rounds, calibration_images, measure, settings)
        yield from _figures(architecture, limit, race)


@dataclass(frozen=True)
class Race:
    """The result of one architecture: bytes of the app's files, and every contender's times."""

    size_bytes: Mapping[str, int]
    times: TimeModel

    def p50(self, name: str) -> float:
        """Return a contender's median latency in milliseconds."""
        return self.times.latency(name).p50

    def speedup(self, name: str) -> Speedup:
        """Return how many times faster than float32 a contender is."""
        return self.times.speedup(name, FLOAT)


def _run(
    architecture: str,
    backends: Sequence[str],
    rounds: int,
    calibration_images: int,
    measure: MeasureSpec,
    settings: Settings,
) -> Race:
    spec = ModelSpec(f"torchvision/{architecture}@random")
    few = {"static": {"calibration_images": calibration_images}}
    request = plan(spec, ["static"], backends, few, measure=measure)
    with Workshop(request, settings) as workshop:
        files = {each.backend or FLOAT: workshop.convert(each) for each in request.variants}
        contenders = {
            name: _torch(workshop.path(file), None if name == FLOAT else name, measure)
            for name, file in files.items()
        }
        contenders |= _peer(workshop, spec.name, settings.data, measure)
        times = timed_in_turn(workshop.pool, contenders, measure.threads, STARTS, rounds)
    return Race({name: file.artifact.size_bytes for name, file in files.items()}, times)


def _figures(architecture: str, limit: float, race: Race) -> Iterator[Figure | str]:
    for name in race.times.index:
        yield shown(f"{architecture}, {name}: latency p50", race.p50(name), "ms")
    ratios = {name: race.speedup(name) for name in race.times.index if name != FLOAT}
    for name, ratio in ratios.items():
        yield note(f"{architecture}, {name}: {_ratio(ratio)}")
    best = max(ratios.keys() & set(BACKENDS), key=lambda name: ratios[name].ratio)
    smaller = race.size_bytes[FLOAT] / race.size_bytes[best]
    title = f"{architecture}, static on {best}"
    yield at_least(f"{title}: faster", ratios[best].ratio, "x", limit, "the optimized float32")
    yield at_least(f"{title}: smaller", smaller, "x", SIZE_LIMIT, "float32's file")
    yield shown(
        f"{architecture}, ONNX Runtime's int8: faster",
        race.p50(ORT_FLOAT) / race.p50(ORT_INT8),
        "x",
        "ONNX Runtime's float",
    )


def _torch(path: Path, backend: str | None, measure: MeasureSpec) -> Contender:
    return Contender(APP_CHILD, (TimedFile(path, backend, IMAGE_SIZE), measure))


def _peer(
    workshop: Workshop, name: str, folder: Path, measure: MeasureSpec
) -> dict[str, Contender]:
    with workshop.pool.spawn(
        "benchmarks.onnx_peer:run_export_child", name, IMAGE_SIZE, folder
    ) as child:
        paths = child.receive(timeout_s=600.0)
    return {
        each: Contender(ONNX_CHILD, (path, IMAGE_SIZE, measure))
        for each, path in zip((ORT_FLOAT, ORT_INT8), paths, strict=True)
    }


def _ratio(speedup: Speedup) -> str:
    settled = "" if speedup.settled else ", unsettled"
    spread = f"{speedup.low:.2f} to {speedup.high:.2f}{settled}"
    return f"{speedup.ratio:.2f} x as fast as float32 ({spread})"
