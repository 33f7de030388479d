"""ONNX Runtime as a backend: files of ONNX, made by its own quantizer or trained by torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from quantcore.backends.base import (
    NO_VNNI,
    RunsFormat,
    Step,
    Symbol,
    Toolchain,
    reduces_range,
)
from quantcore.backends.onnxruntime.graphs import PACKAGES
from quantcore.backends.onnxruntime.static import Static
from quantcore.backends.onnxruntime.steps import Dynamic, Float32, Half, Pretrained, Qat
from quantcore.backends.options import Observer
from quantcore.formats import MeasuredFormat, Onnx
from quantcore.schema import Cause, Environment, Setting, Target

STEPS: dict[str, Step] = {
    "float32": Float32(),
    "half": Half(),
    "pretrained": Pretrained(),
    "dynamic": Dynamic(),
    "static": Static(),
    "qat": Qat(),
}
# Settings of the workflows that quantize the float weights. Before there was a choice, weights left
# one bit free.
EIGHT_BITS = frozenset({"observer", "reduce_range", "dtype"})
REDUCED_WEIGHTS = Cause(
    "Its weights take 128 of 256 steps, so that sums stay exact without VNNI.",
    "Use static with reduce_range=no for processors with VNNI, or QAT, which trains the model "
    "for it.",
)


@dataclass(frozen=True)
class OnnxRuntime(RunsFormat):
    """ONNX Runtime on the processor, with kernels of its own."""

    name: ClassVar[str] = "onnxruntime"
    aliases: ClassVar[tuple[str, ...]] = ("ort",)
    title: ClassVar[str] = "ONNX Runtime"
    summary: ClassVar[str] = (
        "Servers, PCs, phones and browsers, from any language. Quantizes and runs ONNX files."
    )
    targets: ClassVar[tuple[Target, ...]] = ("server", "phone", "browser")
    format: ClassVar[MeasuredFormat] = Onnx()
    toolchain: ClassVar[Toolchain] = Toolchain("onnxruntime", STEPS, PACKAGES, reads_graphs=True)
    float_backend: ClassVar[str | None] = "onnxruntime"
    per_channel: ClassVar[bool] = True
    observer: ClassVar[Observer] = "auto"
    symbol: ClassVar[Symbol] = "star"
    pace: ClassVar[float] = 1.0
    engine: ClassVar[str | None] = None
    saturates: ClassVar[bool] = True
    rounds_biases: ClassVar[bool] = True

    def multiply_adds(self, path: Path, image_size: int, scratch: Path) -> int:
        """Return the multiply-adds of a graph, in float or in 8 bits."""
        return Onnx().multiply_adds(path, image_size, scratch)

    def speed_causes(self, environment: Environment) -> tuple[Cause, ...]:
        """Return that sums of 8-bit products are slow without VNNI."""
        return (NO_VNNI,) if environment.lacks_vnni else ()

    def accuracy_causes(
        self, settings: Mapping[str, Setting], environment: Environment
    ) -> tuple[Cause, ...]:
        """Return that weights leave one of 8 bits free; training makes up for that."""
        if "steps" in settings or not EIGHT_BITS.intersection(settings):
            return ()
        chosen = settings.get("reduce_range", True)
        reduced = reduces_range(None if chosen is None else bool(chosen), environment)
        return (REDUCED_WEIGHTS,) if reduced else ()


BACKEND = OnnxRuntime()
