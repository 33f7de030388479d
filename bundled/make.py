"""Make everything in this folder from scratch: `python -m bundled.make [--data DIR] [STEP ...]`.

Steps: `images`, `photos`, `float`, `figures`, `quantized`, `comparison`. A step whose files (or
figures) stand in `manifest.json` with the right digest is skipped, and training goes on from its
last whole epoch.
"""

import argparse
import hashlib
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bundled import photos, quantized, splits, training
from quantcore.backends import BACKENDS
from quantcore.cache import Store
from quantcore.engine import SHIPPED, float_cells, logits_of, plan, quantized_cells
from quantcore.models import Figures
from quantcore.schema import (
    FLOAT_WORKFLOW,
    CompareRequest,
    Comparison,
    MeasureSpec,
    ModelSpec,
    Variant,
    VariantResult,
)
from quantcore.service import Service
from quantcore.settings import Settings, physical_cores
from quantcore.workflows import WORKFLOWS

HERE = Path(__file__).parent
MANIFEST = HERE / "manifest.json"
WORK = HERE / ".work"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FLOAT_TOP1 = {"row_lstm": 0.88, "vit_tiny": 0.88}
DEFAULT_FLOAT_TOP1 = 0.92
MAX_CYCLES = 6
TRAINING_DATA = "Fashion-MNIST's training images, less the 1,000 that QAT holds out"


@dataclass(frozen=True)
class Options:
    """Where Fashion-MNIST is, and which models to make."""

    data: Path
    models: tuple[str, ...]


def sha256(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_manifest() -> dict[str, Any]:
    """Return what has been made so far: file name -> digest and how it came about."""
    return json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}


def record(path: Path, **facts: Any) -> None:
    """Add one file to the manifest, with its digest and the facts given."""
    manifest = read_manifest()
    facts = {"sha256": sha256(path), "bytes": path.stat().st_size, **facts}
    manifest[path.relative_to(HERE).as_posix()] = facts
    MANIFEST.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def recorded(path: Path) -> dict[str, Any]:
    """Return the manifest's facts of one file; none of a file that is not in it."""
    facts: dict[str, Any] = read_manifest().get(path.relative_to(HERE).as_posix(), {})
    return facts


def checkpoint(name: str) -> Path:
    """Return the path of a model's float weights."""
    return HERE / "checkpoints" / f"{name}.safetensors"


def is_current(path: Path) -> bool:
    """Return whether the file is there, whole, and in the manifest."""
    return path.exists() and recorded(path).get("sha256") == sha256(path)


def make_images(options: Options) -> None:
    """Write the three bundled splits."""
    folder = HERE / "fashion_mnist"
    if all(is_current(folder / f"{name}.npz") for name in ("evaluation", "calibration", "qat")):
        return
    for path in splits.write_splits(options.data, folder):
        record(path, source="Fashion-MNIST", license="MIT", seed=splits.SEED)


def make_photos(_: Options) -> None:
    """Cut the stand-in photographs for models trained on ImageNet."""
    folder = HERE / "photos"
    if all(is_current(folder / f"{name}.zip") for name in photos.HALVES):
        return
    for path in photos.write_photos(folder):
        record(
            path,
            source="scikit-image's sample pictures",
            license="CC0 and public domain",
            seed=photos.SEED,
        )


def make_float(options: Options) -> None:
    """Train every float checkpoint that is not there yet."""
    WORK.mkdir(exist_ok=True)
    parts = splits.split_all(options.data)
    for name in options.models:
        path = checkpoint(name)
        if not is_current(path):
            _make_one_float(name, training.PLANS[name], parts, path)


def _make_one_float(
    name: str, training_plan: training.TrainingPlan, parts: dict[str, splits.Split], path: Path
) -> None:
    model = training.untrained(training_plan)
    bar = FLOAT_TOP1.get(name, DEFAULT_FLOAT_TOP1)
    epochs, top1 = 0, 0.0
    for number in range(MAX_CYCLES):
        cycle = training.cycle(training_plan, number)
        training.train(name, model, cycle, parts["training"], WORK / f"{name}-{number}.pt")
        epochs += len(cycle.sizes)
        half = _in_half_precision(model)
        top1 = training.top1(model, parts["evaluation"])
        print(f"{name}: top-1 {top1:.4f} on the test images", flush=True)
        if top1 >= bar:
            path.parent.mkdir(exist_ok=True)
            save_file(half, path)
            images = len(parts["evaluation"].labels)
            made = {"seed": training_plan.seed, "epochs": epochs, "data": TRAINING_DATA}
            record(path, top1=top1, images=images, **made)
            return
    raise SystemExit(f"{name} reached only {top1:.4f}; change its plan in bundled/training.py")


def _in_half_precision(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights as they are stored, having set the model's own to what they hold."""
    half = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(half)
    return half


def make_figures(options: Options) -> None:
    """Measure each float checkpoint as a comparison would, for what is said of its model."""
    paths = {f"bundled/{name}": checkpoint(name) for name in options.models}
    missing = [name for name, path in paths.items() if "figures" not in recorded(path)]
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(Settings.from_env(), data=Path(folder))
        requests = [plan(ModelSpec(name), [FLOAT_WORKFLOW], []) for name in missing]
        rows = run_comparison(settings, requests).results if missing else ()
    for row in rows:
        path, figures = paths[row.model], figures_of(row)
        print(f"{row.model}: {figures.size}, {figures.accuracy}", flush=True)
        record(path, **recorded(path) | {"figures": asdict(figures)})


def figures_of(row: VariantResult) -> Figures:
    """Return what is said of a model whose float32 row this is."""
    assert row.accuracy is not None
    return Figures(row.artifact.size_bytes, row.accuracy.top1, row.accuracy.images)


def make_quantized(options: Options) -> None:
    """Fine-tune every ready-quantized checkpoint whose float one is there."""
    for name, engine in itertools.product(options.models, quantized.ENGINES):
        path = HERE / "quantized" / f"{name}.{engine}.pt"
        if name not in quantized.CONVOLUTIONAL or is_current(path):
            continue
        top1 = quantized.make(name, engine, path)
        float_top1 = recorded(checkpoint(name))["top1"]
        print(f"{name} for {engine}: top-1 {top1:.4f}, float {float_top1:.4f}", flush=True)
        if top1 < float_top1 - quantized.LARGEST_LOSS:
            path.unlink()
            raise SystemExit(f"{name} for {engine} lost too much; see bundled/quantized.py")
        made = {"seed": quantized.PLAN.seed, "steps": quantized.PLAN.steps}
        record(path, top1=top1, images=quantized.TEST_IMAGES, **made)


def make_comparison(_: Options) -> None:
    """Measure the comparison that the first page opens on, on this machine as it is now."""
    path, answers = HERE / "comparison.json", HERE / SHIPPED
    if is_current(path) and is_current(answers):
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(Settings.from_env(), data=Path(folder))
        cells = quantized_cells(WORKFLOWS, BACKENDS, named=False)
        variants = (*float_cells(tuple(BACKENDS)), *(Variant(*cell) for cell in cells))
        spec, measure = ModelSpec("bundled/mobilenet_v2"), MeasureSpec.of(settings)
        request = CompareRequest(spec, variants, measure=measure)
        comparison = run_comparison(settings, [request])
        with Store.open(settings) as store:
            kept = {str(row.predictions): logits_of(store, row) for row in comparison.results}
    path.write_text(comparison.to_json())
    arrays: dict[str, Any] = {name: kept[name] for name in sorted(kept)}
    np.savez_compressed(answers, **arrays)
    record(path)
    record(answers)


def run_comparison(settings: Settings, requests: Sequence[CompareRequest]) -> Comparison:
    """Return the comparison of these requests, all of it measured now."""
    comparisons = Service(settings)
    try:
        job = comparisons.start(requests)
        while (view := comparisons.wait(job)).is_open:
            pass
    finally:
        comparisons.close()
    if any(not row.refused for row in view.comparison.failures):
        raise SystemExit(view.comparison.failures)
    return view.comparison


STEPS: dict[str, Callable[[Options], None]] = {
    "images": make_images,
    "photos": make_photos,
    "float": make_float,
    "figures": make_figures,
    "quantized": make_quantized,
    "comparison": make_comparison,
}


def main() -> None:
    """Run the steps named on the command line, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="*", help=f"of {', '.join(STEPS)}; all by default")
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER, help="Fashion-MNIST's folder")
    parser.add_argument("--models", default=",".join(training.PLANS), help="comma-separated")
    parser.add_argument("--threads", type=int, default=physical_cores())
    arguments = parser.parse_args()
    unknown = [step for step in arguments.steps if step not in STEPS]
    if unknown:
        raise SystemExit(f"there is no step {unknown[0]!r}; the steps are {', '.join(STEPS)}")
    options = Options(arguments.data, tuple(arguments.models.split(",")))
    torch.set_num_threads(arguments.threads)
    for step in arguments.steps or STEPS:
        STEPS[step](options)


if __name__ == "__main__":
    main()
