"""Comparisons with known figures, made without measuring: what tests of pages and reports draw.

`NAMED` holds one builder per state a page has to cope with, and `SAID` what every form of it has to
say of some. `correctness` gives, for any of them, which pictures each row gets right, in agreement
with the rows' accuracies.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quantcore.backends import BACKENDS as BACKENDS_BY_NAME
from quantcore.backends import float_backends
from quantcore.engine import metrics
from quantcore.schema import (
    Accuracy,
    Artifact,
    CompareRequest,
    Comparison,
    Environment,
    Extreme,
    Failure,
    FloatStatistics,
    ImageSpec,
    Latency,
    MeasureSpec,
    ModelSpec,
    Named,
    Setting,
    Speedup,
    Variant,
    VariantResult,
    digest,
)

MODEL = "bundled/mobilenet_v2"
IMAGES = 2_000
FLOAT_MS = 7.1
STARTS = 6
FLOAT_BYTES = 9_162_000
BACKENDS = ("x86", "fbgemm", "onednn", "qnnpack")
WORKFLOWS = ("pretrained", "dynamic", "static", "qat")
SETTINGS: dict[str, dict[str, Setting]] = {
    "float32": {},
    "pretrained": {},
    "dynamic": {"qconfig_spec": ("Linear", "LSTM", "GRU"), "dtype": "qint8"},
    "static": {"calibration_images": 256, "observer": "histogram", "per_channel": None},
    "qat": {"steps": 120, "learning_rate": 0.001, "batch": 64, "seed": 0},
}
# Workflow: size in bytes, share in int8, top-1 lost against float in points.
SHAPES = {
    "pretrained": (2_690_000, 0.98, 0.1),
    "dynamic": (8_940_000, 0.02, 0.0),
    "static": (2_690_000, 0.98, 0.4),
    "qat": (2_690_000, 0.98, 0.1),
}
SPEEDUPS = {"x86": 2.6, "fbgemm": 1.7, "onednn": 2.7, "qnnpack": 0.42}
ENVIRONMENT = Environment(
    cpu="AMD EPYC 9B45",
    machine="x86_64",
    instruction_sets=("AVX2", "AVX-512", "AVX-512 VNNI"),
    physical_cores=2,
    memory_gib=8,
    operating_system="Linux 6.1",
    python="3.11.7",
    libraries={"torch": "2.13.0", "torchvision": "0.28.0", "numpy": "2.4.0"},
    engines=BACKENDS,
)

# Of a float model that 8 bits represent without trouble.
STATISTICS = FloatStatistics(
    calibration_images=64,
    evaluation_images=64,
    outlier=Extreme("features.2.conv.1.0", 3.1),
    channel=Extreme("features.5.conv.2", 4.2),
    depthwise_layers=17,
    depthwise=Extreme("features.1.conv.0.0", 6.3),
    outside=Extreme("features.0.0", 0.00002),
    shift=Extreme("features.18.0", 0.12),
)


def result(
    workflow: str = "static",
    backend: str | None = "x86",
    *,
    size_bytes: int = 2_690_000,
    ratio: float = 2.6,
    spread: float = 0.03,
    top1: float | None = 0.93,
    images: int = IMAGES,
    int8_share: float = 0.98,
    agreement: float | None = 0.975,
    sqnr_db: float | None = 22.4,
    peak_memory_bytes: int = 21_000_000,
    model: str = MODEL,
    tag: str = "",
    **settings: Setting,
) -> VariantResult:
    """Return one row; `spread` is the relative half width of the speed-up's interval."""
    p50 = FLOAT_MS / ratio
    return VariantResult(
        key=digest([model, workflow, backend, tag, settings]),
        model=model,
        workflow=workflow,
        backend=backend,
        settings={**SETTINGS.get(workflow, {}), **settings},
        threads=1,
        batch=1,
        image_size=64,
        artifact=Artifact(digest([workflow, backend, tag, "file"]), size_bytes),
        state_dict_bytes=int(size_bytes * 0.97),
        latency_ms=Latency(p50, 1.05 * p50, p50 / (1 + spread), p50 * (1 + spread), STARTS),
        speedup=Speedup(
            ratio, ratio / (1 + spread), ratio * (1 + spread), STARTS, settled=spread <= 0.05
        ),
        accuracy=None if top1 is None else _accuracy(top1, images),
        agreement=agreement,
        sqnr_db=sqnr_db,
        fidelity_images=images,
        int8_share=int8_share,
        peak_memory_bytes=peak_memory_bytes,
        memory_baseline_bytes=254_000_000,
        machine_busy=False,
        conversion_s=3.2,
    )


def _accuracy(top1: float, images: int) -> Accuracy:
    right = round(top1 * images)
    return Accuracy(right / images, images, *metrics.wilson(right, images))


def float32(top1: float | None = 0.9335, **changes: object) -> VariantResult:
    """Return the reference row every comparison holds."""
    row = result("float32", None, size_bytes=FLOAT_BYTES, ratio=1.0, spread=0.0, top1=top1)
    exact = replace(row, agreement=None if top1 is None else 1.0, sqnr_db=None, int8_share=0.0)
    return replace(exact, peak_memory_bytes=48_000_000, **changes)  # type: ignore[arg-type]


def floats() -> tuple[VariantResult, ...]:
    """Return the float32 row of every runtime, each a little faster than the one before."""
    return tuple(
        result("float32", each, size_bytes=FLOAT_BYTES, ratio=1 + place / 4)
        for place, each in enumerate(float_backends(BACKENDS_BY_NAME))
    )


def failure(
    workflow: str = "pretrained",
    backend: str | None = "onednn",
    reason: str = "There is no ready-quantized checkpoint of mobilenet_v2 for onednn.",
    remedy: str = "Use static or qat on onednn instead.",
    *,
    details: str = "",
    refused: bool = True,
    model: str = MODEL,
) -> Failure:
    """Return one cell that could not be."""
    key = digest([model, workflow, backend, "failure"])
    settings = SETTINGS.get(workflow, {})
    return Failure(key, model, workflow, backend, settings, reason, remedy, details, refused)


def comparison(
    results: Iterable[VariantResult], failures: Iterable[Failure] = (), model: str = MODEL
) -> Comparison:
    """Return a comparison that asked for exactly these rows."""
    rows, refused = tuple(results), tuple(failures)
    cells: tuple[VariantResult | Failure, ...] = (*rows, *refused)
    asked = tuple(
        Variant(row.workflow, row.backend, tuple(sorted(row.settings.items()))) for row in cells
    )
    request = CompareRequest(ModelSpec(model), asked, ImageSpec(), MeasureSpec())
    return Comparison("2026-11-24T12:00:00+00:00", ENVIRONMENT, request, rows, refused)


def _grid_row(workflow: str, backend: str, top1: float = 0.9335) -> VariantResult:
    size, share, lost = SHAPES[workflow]
    lost += 2.1 if (workflow, backend) == ("static", "qnnpack") else 0.0
    ratio = 1.01 if workflow == "dynamic" else SPEEDUPS[backend]
    notes = ("Its convolutions stay float under dynamic.",) if workflow == "dynamic" else ()
    row = result(
        workflow,
        backend,
        size_bytes=size - (300_000 if backend == "qnnpack" and share > 0.5 else 0),
        ratio=ratio * (1.0 + 0.004 * WORKFLOWS.index(workflow)),
        top1=top1 - lost / 100,
        int8_share=share,
        agreement=1 - (lost + 1.2) / 100,
    )
    return replace(row, notes=notes)


def typical() -> Comparison:
    """Return the 17 cells of one model: 14 measured, two refused, one crashed."""
    crashed = failure(
        "qat",
        "fbgemm",
        "The worker ended in the middle of QAT: it was killed (signal 9).",
        "Try again; if it happens again, lower the batch or give it more memory.",
        details="ChildDiedError: exit code -9",
        refused=False,
    )
    missing = failure(
        "pretrained",
        "fbgemm",
        "There is no ready-quantized checkpoint of mobilenet_v2 for fbgemm.",
        "Use pretrained on x86, whose weights are the same.",
    )
    failures = (failure(), missing, crashed)
    failed = {(cell.workflow, cell.backend) for cell in failures}
    cells = [(w, b) for w in WORKFLOWS for b in BACKENDS if (w, b) not in failed]
    return comparison([float32(), *(_grid_row(*cell) for cell in cells)], failures)


def perfect() -> Comparison:
    """Return a comparison in which one variant is best in everything and loses nothing."""
    best = result("static", "x86", size_bytes=2_200_000, ratio=4.2, top1=0.9335, agreement=0.999)
    slower = result("qat", "fbgemm", size_bytes=2_500_000, ratio=2.1, top1=0.930)
    larger = result("dynamic", "x86", size_bytes=8_940_000, ratio=1.02, top1=0.9335)
    return comparison([float32(), best, slower, larger])


def all_ties() -> Comparison:
    """Return variants of one size whose latency and accuracy differ by less than their noise."""
    rows = [
        result("static", backend, ratio=2.6 + 0.02 * place, spread=0.05, top1=0.9325 + place / 4e3)
        for place, backend in enumerate(BACKENDS)
    ]
    return comparison([float32(), *rows])


def all_failed() -> Comparison:
    """Return a comparison without a single result, not even float32."""
    reason, remedy = "The data folder is full.", "Free some space or lower QUANTCORE_QUOTA_GB."
    cells = [("float32", None), *((w, b) for w in WORKFLOWS for b in BACKENDS)]
    return comparison([], [failure(w, b, reason, remedy, refused=False) for w, b in cells])


def random_weights() -> Comparison:
    """Return a model with seeded weights: sizes and latencies, neither accuracy nor agreement."""
    model = "torchvision/mobilenet_v2@random"
    bare = {"top1": None, "agreement": None, "sqnr_db": None, "model": model}
    rows = [
        result("static", "x86", ratio=2.6, size_bytes=3_940_000, **bare),  # type: ignore[arg-type]
        result("static", "qnnpack", ratio=0.4, size_bytes=3_630_000, **bare),  # type: ignore[arg-type]
    ]
    return comparison([float32(None, model=model), *rows], [failure(model=model)], model)


def unlabelled() -> Comparison:
    """Return a trained model on loose pictures: agreement with float32, no accuracy."""
    rows = [
        replace(row, accuracy=None, notes=("The pictures carry no labels.",))
        for row in typical().results
    ]
    return comparison(rows)


def one_variant() -> Comparison:
    """Return float32 and a single variant."""
    return comparison([float32(), result()])


def only_float() -> Comparison:
    """Return float32 alone."""
    return comparison([float32()])


def disappointing() -> Comparison:
    """Return a variant that keeps no promise, for every reason that is known of it."""
    hard = replace(
        STATISTICS,
        outlier=Extreme("features.2.conv.1.0", 38.0),
        channel=Extreme("features.5.conv.2", 21.0),
        depthwise=Extreme("features.1.conv.0.0", 44.0),
        outside=Extreme("features.0.0", 0.031),
        shift=Extreme("features.18.0", 1.4),
    )
    row = result(
        size_bytes=5_000_000,
        ratio=1.2,
        spread=0.2,
        top1=0.86,
        int8_share=0.6,
        calibration_images=8,
        observer="minmax",
        per_channel=False,
    )
    row = replace(row, machine_busy=True)
    return comparison([float32(statistics=hard), row])


def many(count: int = 200) -> Comparison:
    """Return float32 and `count` variants spread over size, latency and accuracy (seeded)."""
    rng = np.random.default_rng(7)
    rows = [
        result(
            WORKFLOWS[place % 4],
            BACKENDS[place // 4 % 4],
            size_bytes=int(rng.uniform(2.2e6, 9e6)),
            ratio=float(rng.uniform(0.4, 4.5)),
            spread=float(rng.uniform(0.01, 0.08)),
            top1=float(rng.uniform(0.80, 0.94)),
            int8_share=float(rng.uniform(0.02, 0.98)),
            peak_memory_bytes=int(rng.uniform(1e7, 6e7)),
            tag=str(place),
            calibration_images=16 * (1 + place),
        )
        for place in range(count)
    ]
    return comparison([float32(), *rows])


def on(
    row: VariantResult,
    model: str = MODEL,
    *,
    image_size: int = 64,
    threads: int = 1,
    batch: int = 1,
    times: float = 1.0,
    bytes_times: float = 1.0,
) -> VariantResult:
    """Return the row in another reference group: slower by `times`, and so much larger."""
    latency = slowed(row.latency_ms, times)
    artifact = replace(row.artifact, size_bytes=int(row.artifact.size_bytes * bytes_times))
    return replace(
        row,
        key=digest([row.key, model, image_size, threads, batch]),
        model=model,
        image_size=image_size,
        threads=threads,
        batch=batch,
        latency_ms=latency,
        artifact=artifact,
        state_dict_bytes=int(row.state_dict_bytes * bytes_times),
    )


def slowed(latency: Latency, times: float) -> Latency:
    """Return a latency so many times as long."""
    return Latency(
        latency.p50 * times,
        latency.p90 * times,
        latency.low * times,
        latency.high * times,
        latency.starts,
    )


def swept(results: Iterable[VariantResult], failures: Iterable[Failure] = ()) -> Comparison:
    """Return a sweep's comparison: one request for each reference group of the rows."""
    rows, refused = tuple(results), tuple(failures)
    asked: dict[tuple[str, int | None, int | None, int | None], dict[Variant, None]] = {}
    for cell in (*rows, *refused):
        variant = Variant(cell.workflow, cell.backend, tuple(sorted(cell.settings.items())))
        reference_group = (cell.model, cell.image_size, cell.threads, cell.batch)
        asked.setdefault(reference_group, {})[variant] = None
    requests = [
        CompareRequest(
            ModelSpec(model),
            tuple(variants),
            ImageSpec(image_size=size),
            MeasureSpec(threads=threads or 1, batch=batch or 1),
        )
        for (model, size, threads, batch), variants in asked.items()
    ]
    whole = comparison(rows, refused, rows[0].model)
    return replace(whole, request=requests[0], also=tuple(requests[1:]))


SMALL = "bundled/row_lstm"


def two_models() -> Comparison:
    """Return a large model, and a small one whose float is faster than the large one's best."""
    large = [float32(0.9335), result(), result("dynamic", "x86", size_bytes=8_940_000, ratio=1.01)]
    small = [float32(0.931), result("dynamic", "x86", ratio=1.05, top1=0.930, size_bytes=9_000_000)]
    return swept([*large, *(on(row, SMALL, times=0.1, bytes_times=0.05) for row in small)])


def sweep() -> Comparison:
    """Return two models at two image sizes, static with two observers each, and a refusal each."""
    cells = [
        float32(),
        *(
            result(observer=observer, top1=0.92 + 0.004 * (observer == "histogram"))
            for observer in ("histogram", "minmax")
        ),
        result("dynamic", "x86", size_bytes=8_940_000, ratio=1.01, top1=0.9335),
    ]
    rows = [
        on(row, model, image_size=size, times=times * size / 64, bytes_times=times)
        for model, times in ((MODEL, 1.0), (SMALL, 0.3))
        for size in (64, 96)
        for row in cells
    ]
    refused = [
        replace(
            failure(model=model),
            key=digest([model, size, "failure"]),
            image_size=size,
            threads=1,
            batch=1,
        )
        for model in (MODEL, SMALL)
        for size in (64, 96)
    ]
    return swept(rows, refused)


def disturbed(row: VariantResult) -> VariantResult:
    """Return the row as timed on a busy machine."""
    return replace(row, machine_busy=True, speedup=replace(row.speedup, settled=False))


def naming(row: VariantResult, classes: int, most: float = 0.12) -> VariantResult:
    """Return the row as one that names so many classes, the most frequent on a share `most`."""
    return replace(row, named=Named(classes, 1.0 if classes == 1 else most))


def evaluated(row: VariantResult, images: int, top1: float, chance: float = 0.1) -> VariantResult:
    """Return the row evaluated on so many pictures; one class for all is right on a `chance`."""
    accuracy = replace(_accuracy(top1, images), chance=chance)
    return replace(row, accuracy=accuracy, fidelity_images=images)


def so_far() -> Comparison:
    """Return the first two of six cells, the others of which are still to be measured."""
    others = [result(workflow, "fbgemm") for workflow in WORKFLOWS]
    whole = comparison([float32(), result(), *others])
    return replace(whole, results=whole.results[:2])


def first_so_far() -> Comparison:
    """Return the first of six cells."""
    return replace(so_far(), results=so_far().results[:1])


def busy() -> Comparison:
    """Return a fast variant timed on a busy machine, and a slower one that was not disturbed."""
    return comparison([float32(), disturbed(result(ratio=4.0)), result("static", "fbgemm")])


def all_busy() -> Comparison:
    """Return float32, and variants that were all timed on a busy machine."""
    return comparison([float32(), *(disturbed(result("static", each)) for each in BACKENDS[:2])])


def one_class() -> Comparison:
    """Return a very fast variant that names one class for every picture, and a good one.

    Most pictures are of that class, so that it is right nearly as often.
    """
    rows = (
        evaluated(naming(float32(), 10, 0.9), IMAGES, 0.945, chance=0.92),
        evaluated(naming(result(ratio=9.0), 1), IMAGES, 0.92, chance=0.92),
        evaluated(naming(result("static", "fbgemm"), 10, 0.9), IMAGES, 0.944, chance=0.92),
    )
    return comparison(rows)


def float_names_one_class() -> Comparison:
    """Return a model that names one class for every picture, in float32 and in 8 bits."""
    rows = float32(None, agreement=1.0), result(top1=None, agreement=1.0)
    return comparison(naming(row, 1) for row in rows)


def near_chance() -> Comparison:
    """Return a model that is right as often as who always names the most frequent class."""
    rows = (evaluated(row, IMAGES, 0.21, chance=0.2) for row in (float32(), result()))
    return comparison(rows)


def few_pictures() -> Comparison:
    """Return rows evaluated on 28 pictures."""
    return comparison(evaluated(row, 28, 0.93) for row in (float32(), result()))


def tie() -> Comparison:
    """Return two variants of which one is 10 kB smaller, and nothing else differs."""
    return comparison(
        [float32(), result(size_bytes=2_690_000), result("static", "fbgemm", size_bytes=2_700_000)]
    )


def unsettled() -> Comparison:
    """Return a variant that is faster for sure, though nobody knows by how much."""
    return comparison([float32(), result(ratio=2.6, spread=0.2)])


def larger() -> Comparison:
    """Return a variant that is faster, larger, and takes more memory."""
    row = result(
        size_bytes=int(1.3 * FLOAT_BYTES), ratio=1.8, top1=0.9335, peak_memory_bytes=80_000_000
    )
    return comparison([float32(), row])


def trifle() -> Comparison:
    """Return a variant that is smaller and faster by too little to count."""
    row = result("dynamic", size_bytes=FLOAT_BYTES - 130, ratio=1.015, spread=0.001, top1=0.9335)
    return comparison([float32(), row])


def over_floats(row: VariantResult, **ratios: float) -> VariantResult:
    """Return the row with speed-ups over several float32 rows, the last of them its own."""
    width = row.speedup.high / row.speedup.ratio
    speedups = {
        name: Speedup(ratio, ratio / width, ratio * width, STARTS) for name, ratio in ratios.items()
    }
    return replace(row, speedup=list(speedups.values())[-1], speedups=speedups)


def two_runtimes() -> Comparison:
    """Return two runtimes, of which the second runs float32 1.5 times faster."""
    fast = result("float32", "onnxruntime", size_bytes=FLOAT_BYTES, ratio=1.5, top1=0.9335)
    fast = replace(fast, int8_share=0.0, agreement=1.0, peak_memory_bytes=48_000_000)
    on_torch = (result("static", each, ratio=SPEEDUPS[each]) for each in ("x86", "fbgemm"))
    onnxruntime = (
        result(workflow, "onnxruntime", ratio=ratio, size_bytes=2_610_000)
        for workflow, ratio in (("static", 4.2), ("dynamic", 1.8))
    )
    rows = [
        over_floats(float32(), onnxruntime=1 / 1.5, torch=1.0),
        *(
            over_floats(row, onnxruntime=row.speedup.ratio / 1.5, torch=row.speedup.ratio)
            for row in on_torch
        ),
        *(
            over_floats(row, torch=row.speedup.ratio, onnxruntime=row.speedup.ratio / 1.5)
            for row in (fast, *onnxruntime)
        ),
    ]
    return comparison(rows)


def little() -> Comparison:
    """Return a variant that is 1.2 times faster for sure, and no different otherwise."""
    row = result(size_bytes=FLOAT_BYTES, ratio=1.2, spread=0.01, top1=0.9335)
    return comparison([float32(), row])


NAMED: dict[str, Callable[[], Comparison]] = {
    "typical": typical,
    "perfect": perfect,
    "all_ties": all_ties,
    "all_failed": all_failed,
    "random_weights": random_weights,
    "unlabelled": unlabelled,
    "one_variant": one_variant,
    "only_float": only_float,
    "disappointing": disappointing,
    "many": many,
    "two_models": two_models,
    "sweep": sweep,
    "so_far": so_far,
    "first_so_far": first_so_far,
    "busy": busy,
    "all_busy": all_busy,
    "one_class": one_class,
    "float_names_one_class": float_names_one_class,
    "near_chance": near_chance,
    "few_pictures": few_pictures,
    "tie": tie,
    "unsettled": unsettled,
    "larger": larger,
    "trifle": trifle,
    "little": little,
    "two_runtimes": two_runtimes,
}

# What every form says of these; compare with the case folded, since pages write titles for names.
SAID: dict[str, tuple[str, ...]] = {
    "typical": (
        "Ship QAT on oneDNN",
        "3.4× smaller (2.7 MB), 2.7× faster (2.6 ms), but 0.1 points less accurate (a tie on 2,000 "
        "pictures)",
    ),
    "perfect": ("equally accurate on 2,000 pictures",),
    "only_float": ("No verdict from one row", "only float32 was measured"),
    "so_far": ("So far (2 of 6): ship static on x86",),
    "first_so_far": ("So far (1 of 6): no verdict from one row",),
    "busy": (
        "Ship static on FBGEMM",
        "Static on x86 may be better, but the machine was busy while it was timed.",
    ),
    "all_busy": (
        "Keep float32",
        "Static on FBGEMM may be better, but the machine was busy while it was timed; it is 3.4× "
        "smaller",
        "Static on x86 may be better, but the machine was busy while it was timed.",
    ),
    "one_class": (
        "Ship static on FBGEMM",
        "Static on x86 may be better, but it names one class for every picture.",
    ),
    "float_names_one_class": (
        "float32 names one class for every picture, so that agreeing with it means nothing. "
        "Check how the pictures are prepared.",
    ),
    "near_chance": (
        "float32 is near chance: 21 % right, where always naming the most frequent class gets "
        "20 %.",
    ),
    "few_pictures": ("28 pictures cannot tell 10 points apart; about 3,600 would tell 1 point.",),
    "tie": ("A tie between static on x86 and static on FBGEMM: static on x86 is 10 kB smaller.",),
    "unsettled": ("Its speed-up is known less well than ±10 %: from 2.2× to 3.1×.",),
    "larger": (
        "1.8× faster (3.9 ms), equally accurate on 2,000 pictures, but 1.3× larger (12 MB) and "
        "32 MB more memory",
    ),
    "trifle": ("Keep float32", "is as large (9.2 MB), as fast (7 ms), equally accurate"),
    "little": ("Ship static on x86", "as large (9.2 MB), 1.2× faster (5.9 ms), equally accurate"),
}


def correctness(
    source: Comparison, seed: int = 0, noise: float = 0.05
) -> dict[str, NDArray[np.bool_]]:
    """Return, by key, which pictures each row with an accuracy gets right.

    Rows share a difficulty per picture, so they err on mostly the same pictures; `noise` says how
    much they differ. Each row is right exactly as often as its accuracy says.
    """
    rng = np.random.default_rng(seed)
    labelled_rows = [(row.key, row.accuracy) for row in source.results if row.accuracy]
    if not labelled_rows:
        return {}
    hardness = rng.uniform(size=labelled_rows[0][1].images)
    return {
        key: _right(hardness + rng.normal(0, noise, len(hardness)), a) for key, a in labelled_rows
    }


def _right(hardness: NDArray[np.float64], accuracy: Accuracy) -> NDArray[np.bool_]:
    right = np.zeros(accuracy.images, dtype=bool)
    right[np.argsort(hardness)[: round(accuracy.top1 * accuracy.images)]] = True
    return right
