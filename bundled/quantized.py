"""Make the ready-quantized checkpoints: QAT of a bundled float checkpoint, as the app does it.

Each is the state dict of the converted module in full precision, written by `torch.save` (no
format without code knows quantized tensors) and read back with `weights_only=True`.
"""

from pathlib import Path

import torch

from quantcore.backends import TorchModel, runtime
from quantcore.images import ConversionInput, load_images
from quantcore.models import find
from quantcore.schema import ImageSpec, ModelSpec
from quantcore.workflows import Qat

CONVOLUTIONAL = ("mobilenet_v2", "resnet18", "shufflenet_v2_x1_0", "mobilenet_v3_large")
# x86's serves FBGEMM too: both have the same weights, scales and zero points.
ENGINES = ("x86", "qnnpack")
PLAN = Qat(steps=60, batch=64)
TEST_IMAGES = 10_000
LARGEST_LOSS = 0.01


def make(name: str, engine: str, path: Path) -> float:
    """Write one checkpoint, and return its top-1 on the test images."""
    spec, backend = ModelSpec(f"bundled/{name}"), runtime(engine)
    info = find(spec)
    images = load_images(ImageSpec(evaluation_images=TEST_IMAGES), info)
    inputs = ConversionInput(spec, info, images, info.image_size, path.parent)
    model = PLAN.convert(inputs, backend, lambda _stage, _share: None)
    assert isinstance(model, TorchModel)
    module = model.module
    path.parent.mkdir(exist_ok=True)
    torch.save(module.state_dict(), path)
    right = 0
    with torch.inference_mode():
        for pictures, labels in images.evaluation.batches(100):
            right += int((module(pictures).argmax(1) == labels).sum())
    return right / TEST_IMAGES
