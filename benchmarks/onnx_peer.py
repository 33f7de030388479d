"""The peer: the same float model in ONNX, and ONNX Runtime's own static quantization of it."""

from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CALIBRATION_IMAGES = 32
OPSET = 17
INPUT = "images"


def run_export_child(_: Connection, name: str, image_size: int, folder: Path) -> tuple[Path, Path]:
    """Write the float and the 8-bit ONNX file of a model; return their paths.

    As ONNX Runtime's documentation advises: preprocessed, 8-bit activations and weights, one
    scale per output channel. https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    import torch
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from quantcore import models
    from quantcore.schema import ModelSpec

    exported, whole, small = (folder / f"{part}.onnx" for part in ("exported", "float", "int8"))
    example = torch.zeros(1, 3, image_size, image_size)
    model = models.build(ModelSpec(name)).eval()
    torch.onnx.export(
        model, (example,), exported, input_names=[INPUT], opset_version=OPSET, dynamo=False
    )
    quant_pre_process(exported, whole)
    quantization.quantize_static(
        whole,
        small,
        Noise(image_size),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return whole, small


class Noise:
    """Hands ONNX Runtime its calibration pictures, one by one; none decides speed or size."""

    def __init__(self, image_size: int) -> None:
        self._pictures = self._make(image_size)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next picture by the name of the model's input; None after the last."""
        return next(self._pictures, None)

    def _make(self, image_size: int) -> Iterator[dict[str, Any]]:
        import numpy as np

        numbers = np.random.default_rng(0)
        for _ in range(CALIBRATION_IMAGES):
            shape = (1, 3, image_size, image_size)
            yield {INPUT: numbers.standard_normal(shape, dtype=np.float32)}
