"""The full grid written by hand from PyTorch's quantization recipe: `python -m benchmarks.recipe`.

What somebody who knows the recipe would run to learn the same as the app: for each of the four
engines dynamic, static, QAT and a ready-quantized checkpoint, each evaluated, timed and sized.
https://docs.pytorch.org/tutorials/recipes/quantization.html gives the four workflows, the
"static quantization" tutorial the training loop. Of the app it uses only where its files lie.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn import functional

from quantcore.models import bundled_file, torchvision_import

ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")
# Which ready-quantized checkpoint an engine can load; nobody publishes one for onednn.
READY_QUANTIZED = {"x86": "x86", "fbgemm": "x86", "qnnpack": "qnnpack"}
SIDE_PX, CLASSES = 64, 10
MEAN, STD = 0.2860, 0.3530


@dataclass(frozen=True)
class Effort:
    """How much is done for each variant."""

    calibration_images: int = 256
    calibration_batch: int = 32
    qat_steps: int = 60
    qat_batch: int = 64
    learning_rate: float = 1e-3
    evaluation_images: int = 2_000
    evaluation_batch: int = 50
    warm_up_runs: int = 10
    timed_runs: int = 100


@dataclass(frozen=True)
class Row:
    """What is learned of one variant."""

    workflow: str
    engine: str | None
    state_dict_bytes: int
    latency_ms: float
    top1: float


class Images:
    """Labelled pictures of one file, made into the model's input batch by batch."""

    def __init__(self, split: str) -> None:
        with np.load(bundled_file(f"fashion_mnist/{split}.npz")) as file:
            self._images = torch.from_numpy(file["images"])
            self._labels = torch.from_numpy(file["labels"].astype(np.int64))

    def batches(self, count: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the first `count` pictures, `size` at a time: `[N, 3, 64, 64]` and labels `[N]`."""
        for start in range(0, count, size):
            stop = min(start + size, count)
            images = self._images[start:stop, None].float() / 255
            images = functional.interpolate(images, (SIDE_PX, SIDE_PX), mode="bilinear")
            yield ((images - MEAN) / STD).repeat(1, 3, 1, 1), self._labels[start:stop]


def float_model() -> nn.Module:
    """Return torchvision's quantizable MobileNetV2 with the trained float weights."""
    model: nn.Module = torchvision_import.torchvision().models.quantization.mobilenet_v2(
        weights=None, quantize=False, num_classes=CLASSES
    )
    model.load_state_dict(load_file(bundled_file("checkpoints/mobilenet_v2.safetensors")))
    return model.eval()


def dynamic(model: nn.Module) -> nn.Module:
    """Return a copy with its linear layers quantized."""
    quantized: nn.Module = quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    return quantized


def static(model: nn.Module, engine: str, effort: Effort) -> nn.Module:
    """Return a copy that was fused, calibrated and converted."""
    model = copy.deepcopy(model).eval()
    model.fuse_model(is_qat=False)  # type: ignore[operator]
    model.qconfig = quantization.get_default_qconfig(engine)
    quantization.prepare(model, inplace=True)
    calibration = Images("calibration")
    with torch.inference_mode():
        for images, _ in calibration.batches(effort.calibration_images, effort.calibration_batch):
            model(images)
    converted: nn.Module = quantization.convert(model)
    return converted


def qat(model: nn.Module, engine: str, effort: Effort) -> nn.Module:
    """Return a copy that was fine-tuned with fake quantization and converted."""
    model = copy.deepcopy(model).train()
    model.fuse_model(is_qat=True)  # type: ignore[operator]
    model.qconfig = quantization.get_default_qat_qconfig(engine)
    quantization.prepare_qat(model, inplace=True)
    optimizer = torch.optim.SGD(model.parameters(), effort.learning_rate, momentum=0.9)
    count = effort.qat_steps * effort.qat_batch
    for step, (images, labels) in enumerate(Images("qat").batches(count, effort.qat_batch)):
        # As the tutorial does in its last epochs.
        if step == effort.qat_steps * 2 // 3:
            model.apply(quantization.disable_observer)
            model.apply(torch.ao.nn.intrinsic.qat.freeze_bn_stats)
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    converted: nn.Module = quantization.convert(model.eval())
    return converted


def ready_quantized(engine: str, path: Path) -> nn.Module:
    """Return the model of a ready-quantized checkpoint, loaded into an empty converted one."""
    model: nn.Module = torchvision_import.torchvision().models.quantization.mobilenet_v2(
        weights=None, quantize=False, num_classes=CLASSES
    )
    model.train().fuse_model(is_qat=True)  # type: ignore[operator]
    model.qconfig = quantization.get_default_qat_qconfig(engine)
    quantization.prepare_qat(model, inplace=True)
    quantization.convert(model.eval(), inplace=True)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


def top1(model: nn.Module, effort: Effort) -> float:
    """Return the share of evaluation pictures the model names right."""
    right = 0
    with torch.inference_mode():
        evaluation = Images("evaluation")
        for images, labels in evaluation.batches(effort.evaluation_images, effort.evaluation_batch):
            right += int((model(images).argmax(1) == labels).sum())
    return right / effort.evaluation_images


def latency_ms(model: nn.Module, effort: Effort) -> float:
    """Return the median time of one call with one picture."""
    image = torch.randn(1, 3, SIDE_PX, SIDE_PX)
    samples = []
    with torch.inference_mode():
        for _ in range(effort.warm_up_runs):
            model(image)
        for _ in range(effort.timed_runs):
            started = time.perf_counter()
            model(image)
            samples.append(1_000 * (time.perf_counter() - started))
    return statistics.median(samples)


def state_dict_bytes(model: nn.Module) -> int:
    """Return the size of the state dict on disk, as the recipe's `print_model_size` takes it."""
    with tempfile.TemporaryDirectory() as folder:
        # The file's name is part of every record in it, so it is the recipe's.
        path = Path(folder) / "tmp.pt"
        torch.save(model.state_dict(), path)
        return path.stat().st_size


def examined(workflow: str, engine: str | None, model: nn.Module, effort: Effort) -> Row:
    """Return a variant's figures."""
    return Row(
        workflow,
        engine,
        state_dict_bytes(model),
        latency_ms(model, effort),
        top1(model, effort),
    )


def rows(effort: Effort, engines: tuple[str, ...] = ENGINES) -> Iterator[Row]:
    """Yield the grid's rows, one after the other."""
    model = float_model()
    yield examined("float32", None, model, effort)
    for engine in engines:
        torch.backends.quantized.engine = engine
        yield examined("dynamic", engine, dynamic(model), effort)
        yield examined("static", engine, static(model, engine, effort), effort)
        yield examined("qat", engine, qat(model, engine, effort), effort)
        if engine in READY_QUANTIZED:
            path = bundled_file(f"quantized/mobilenet_v2.{READY_QUANTIZED[engine]}.pt")
            if path.exists():
                yield examined("pretrained", engine, ready_quantized(engine, path), effort)


SMALL = Effort(
    calibration_images=8,
    calibration_batch=8,
    qat_steps=2,
    qat_batch=2,
    evaluation_images=8,
    evaluation_batch=8,
    warm_up_runs=1,
    timed_runs=2,
)


def main() -> None:
    """Print the grid row by row; write it to a file as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--small", action="store_true", help="one engine, few pictures")
    options = parser.parse_args()
    target: Path | None = options.json
    done = []
    for row in rows(SMALL, ENGINES[:1]) if options.small else rows(Effort()):
        done.append(row)
        print(
            f"{row.workflow:<10} {row.engine or '':<8} {row.state_dict_bytes / 1e6:6.2f} MB "
            f"{row.latency_ms:8.2f} ms {row.top1:8.4f}",
            flush=True,
        )
    if target:
        target.write_text(json.dumps([asdict(row) for row in done]))


if __name__ == "__main__":
    main()
