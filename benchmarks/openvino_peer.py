"""The peer: the same float model in OpenVINO, quantized as its documentation writes it."""

import contextlib
import io
import logging
from multiprocessing.connection import Connection
from pathlib import Path

CALIBRATION_IMAGES = 32


def run_export_child(_: Connection, name: str, image_size: int, folder: Path) -> tuple[Path, Path]:
    """Write the float and the 8-bit IR of a model; return their paths.

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
    whole, small = folder / "float.xml", folder / "int8.xml"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exported = openvino.convert_model(model, example_input=torch.zeros(shape), input=[shape])
        openvino.save_model(exported, whole)
        openvino.save_model(nncf.quantize(exported, nncf.Dataset(pictures)), small)
    return whole, small
