"""The peer: the same float model in OpenVINO, quantized as its documentation writes it."""

import contextlib
import io
import logging
from multiprocessing.connection import Connection
from pathlib import Path

CALIBRATION_IMAGES = 32
# Those with activations other than ReLU, for which the documentation recommends the preset `mixed`.
MIXED = ("mobilenet_v3_large", "efficientnet_b0")


def run_export_child(_: Connection, name: str, image_size: int, folder: Path) -> tuple[Path, ...]:
    """Write the IRs of a model, return their paths: float, 8 bits, and so by the default preset.

    The last is there only where another preset is recommended.

    https://docs.openvino.ai/2026/openvino-workflow/model-optimization-guide/quantizing-models-post-training/basic-quantization-flow.html
    """
    import nncf
    import openvino
    import torch

    from quantcore import models
    from quantcore.schema import ModelSpec

    logging.disable(logging.WARNING)
    shape = (1, 3, image_size, image_size)
    model = models.build(ModelSpec(name)).eval()
    numbers = torch.Generator().manual_seed(0)
    pictures = [torch.randn(shape, generator=numbers).numpy() for _ in range(CALIBRATION_IMAGES)]
    whole, small, default = (folder / f"{each}.xml" for each in ("float", "int8", "default"))
    recommended = name.partition("/")[2].removesuffix("@random") in MIXED
    preset = nncf.QuantizationPreset.MIXED if recommended else None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exported = openvino.convert_model(model, example_input=torch.zeros(shape), input=[shape])
        openvino.save_model(exported, whole)
        data = nncf.Dataset(pictures)
        openvino.save_model(nncf.quantize(exported, data, preset=preset), small)
        if not recommended:
            return whole, small
        openvino.save_model(nncf.quantize(exported, data), default)
    return whole, small, default
