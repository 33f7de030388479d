"""ONNX Runtime: its own quantizers, and QAT as torch trains it, in files of ONNX.

Its quantizer keeps more of a float model's answers than torch's static modules exported to the same
runtime, range for range (`python -m benchmarks onnxruntime`), so `static` and `dynamic` are its.
onnx and onnxruntime are imported inside functions that run in child processes only.
"""

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantcore import models
from quantcore.backends.base import (
    NO_VNNI,
    REDUCED_RANGE,
    SERVERS,
    Recipe,
    RunsFormat,
    Step,
    Symbol,
    Toolchain,
)
from quantcore.backends.options import DynamicOptions, Observer, QatOptions, StaticOptions
from quantcore.backends.torch_ao import module as torch_module
from quantcore.backends.torch_ao import numerics, steps
from quantcore.errors import UnsupportedError
from quantcore.formats import LayerKind, MeasuredFormat, Onnx, onnx, torchscript
from quantcore.images import ConversionInput, Split
from quantcore.models import Subject
from quantcore.schema import YES, Cause, Environment, Report, Setting, Support, Target, Tuning

if TYPE_CHECKING:
    from onnx import ModelProto

    from quantcore.backends.base import Backend

PACKAGES = ("onnx", "onnxruntime")
OPSET = 17
FATAL = 4
# Weights take 7 of their 8 bits, which are all that processors without VNNI add up exactly. It
# costs 0 to 2.6 dB of SQNR and no speed, and the file may go anywhere.
REDUCE_RANGE = True
# Fewer pictures at a time give the same ranges, and hold fewer layers' numbers at once.
CALIBRATION_BATCH = 4
# Layer types as the operators that torch writes them as; a fully connected Gemm becomes a MatMul.
DYNAMIC_OPERATORS = {"Linear": ("MatMul",), "LSTM": ("LSTM",)}
RECURRENT = ("LSTM", "GRU")


@dataclass(frozen=True)
class OnnxModel:
    """A graph for any number of pictures.

    Attributes:
        graph: the model.
        kept: the state of the torch module that it was exported from, if that took training.
        tuning: what its conversion chose by itself.
    """

    graph: "ModelProto"
    kept: bytes | None = None
    tuning: Tuning | None = None

    module: ClassVar[None] = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the graph and all its numbers, whatever its metadata says."""
        return hashlib.sha256(self.graph.graph.SerializeToString(deterministic=True)).hexdigest()

    @property
    def state_bytes(self) -> int:
        """Return the size of the numbers in the graph."""
        return sum(each.ByteSize() for each in self.graph.graph.initializer)

    def state(self) -> bytes | None:
        """Return the torch module's state, from which other backends' files are made as well."""
        return self.kept

    def write(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write the file, the metadata inside."""
        onnx.save(self.graph, metadata, path)


class OnnxStep:
    """A step of this toolchain: numbers of its own, from the float weights."""

    name: ClassVar[str]
    computes: ClassVar[LayerKind] = "static"

    def supports(self, options: Any, subject: Subject, backend: "Backend") -> Support:
        """Return yes."""
        return YES

    def layer_kind(self, options: object) -> LayerKind:
        """Return what its graphs compute with."""
        return self.computes

    def recipe(self, options: Any, backend: "Backend", environment: Environment) -> Recipe:
        """Return a name that no other toolchain's step has."""
        return Recipe(f"onnxruntime {self.name}", PACKAGES)

    def checkpoint(self, backend: "Backend") -> str | None:
        """Return None: it starts from the float weights."""
        return None


class Float32(OnnxStep):
    """The float model as a graph."""

    name = "float32"
    computes = "float"

    def convert(
        self,
        options: Any,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the float graph."""
        return OnnxModel(float_graph(inputs, report))


class Pretrained(OnnxStep):
    """A graph that was quantized before it came."""

    name = "pretrained"

    def supports(self, options: Any, subject: Subject, backend: "Backend") -> Support:
        """Return yes for a model that came in 8 bits."""
        if subject.model.in_8_bits:
            return YES
        return Support(
            False,
            "Nobody publishes ready-quantized models for ONNX Runtime.",
            "Use static, dynamic or qat, or upload an ONNX file that is quantized already.",
        )

    def convert(
        self,
        options: Any,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the graph as it came."""
        report("reading the graph", 0.0)
        return OnnxModel(uploaded_graph(inputs))


class Dynamic(OnnxStep):
    """Weights of linear layers and LSTMs in 8 bits."""

    name = "dynamic"
    computes = "dynamic"

    def supports(self, options: DynamicOptions, subject: Subject, backend: "Backend") -> Support:
        """Return yes where the runtime has an 8-bit operator for one of the layers."""
        if options.dtype != "qint8":
            return Support(
                False,
                "ONNX Runtime computes in float32 here; float16 would only halve the file.",
                "Use qint8 here, or float16 on x86 or fbgemm.",
            )
        if not set(options.layers) <= {*DYNAMIC_OPERATORS, "GRU"}:
            return Support(
                False,
                "ONNX Runtime's quantizer fuses and renames layers, so none can be named.",
                f"Name layer types: {' or '.join(DYNAMIC_OPERATORS)}.",
            )
        names = [name for name in options.layers if subject.model.dynamic_layers.get(name)]
        if names == ["GRU"]:
            return Support(
                False, "ONNX Runtime has no 8-bit GRU.", "Use dynamic on x86 or fbgemm instead."
            )
        return YES

    def convert(
        self,
        options: DynamicOptions,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the graph with these layers' weights in 8 bits."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        prepared = preprocessed(float_graph(inputs, report), inputs.scratch)
        report("converting the weights", 0.8)
        path = inputs.scratch / "dynamic.onnx"
        quantize_dynamic(
            prepared,
            path,
            op_types_to_quantize=[
                kind for layer in options.layers for kind in DYNAMIC_OPERATORS.get(layer, ())
            ],
            per_channel=True,
            reduce_range=REDUCE_RANGE,
            weight_type=QuantType.QInt8,
        )
        return OnnxModel(quantized(path))


class Static(OnnxStep):
    """Ranges from calibration pictures; QDQ, weights per channel."""

    name = "static"

    def supports(self, options: StaticOptions, subject: Subject, backend: "Backend") -> Support:
        """Return yes for models that are not made of recurrent layers."""
        recurrent = [name for name in RECURRENT if subject.model.dynamic_layers.get(name)]
        if recurrent:
            return Support(
                False,
                f"ONNX Runtime's quantizer leaves {recurrent[0]} layers in float.",
                "Use dynamic quantization.",
            )
        if options.observer == "histogram":
            return Support(
                False,
                "ONNX Runtime's quantizer keeps the whole range seen; its histograms gained "
                "nothing on the bundled models.",
                "Leave observer as it is, or choose minmax.",
            )
        if options.equalize:
            return Support(
                False,
                "Layers are not balanced before ONNX Runtime's quantizer.",
                "Leave equalize as it is.",
            )
        return YES

    def convert(
        self,
        options: StaticOptions,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the calibrated graph, layers between QuantizeLinear and DequantizeLinear."""
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        prepared = preprocessed(float_graph(inputs, report), inputs.scratch)
        path = inputs.scratch / "static.onnx"
        quantize_static(
            prepared,
            path,
            CalibrationReader(inputs.images.calibration, options.calibration_images, report),
            quant_format=QuantFormat.QDQ,
            per_channel=options.per_channel is not False,
            reduce_range=REDUCE_RANGE,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return OnnxModel(quantized(path))


class Qat(OnnxStep):
    """Trained by torch for x86's ranges, which need no VNNI, then exported."""

    name = "qat"

    def supports(self, options: QatOptions, subject: Subject, backend: "Backend") -> Support:
        """Return yes where torch can train it."""
        return steps.trainable(subject)

    def recipe(self, options: Any, backend: "Backend", environment: Environment) -> Recipe:
        """Return the recipe of the torch engines whose training it shares."""
        return Recipe(numerics.X86.qconfig)

    def convert(
        self,
        options: QatOptions,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the trained module as a graph.

        Raises:
            UnsupportedError: an operator of the trained module has no form in ONNX.
        """
        torchscript.activate(ENGINE)
        module = steps.trained(options, inputs, numerics.X86, report, state)
        model = steps.costly(module, inputs, ENGINE)
        return OnnxModel(graph_of(model.module, inputs), model.state())


# The engine under which torch's modules with x86's numbers are run and exported.
ENGINE = "x86"
STEPS: dict[str, Step] = {
    "float32": Float32(),
    "pretrained": Pretrained(),
    "dynamic": Dynamic(),
    "static": Static(),
    "qat": Qat(),
}


class CalibrationReader:
    """Calibration pictures for the quantizer, a few at a time; `report` may raise to stop it."""

    def __init__(self, split: Split, count: int, report: Report) -> None:
        self._batches = self._reported(split, min(count, len(split)), report)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next pictures `[N, 3, H, W]` by the input's name; None at the end."""
        return next(self._batches, None)

    def _reported(self, split: Split, total: int, report: Report) -> Iterator[dict[str, Any]]:
        for part, (images, _) in enumerate(split.batches(CALIBRATION_BATCH, total)):
            report(f"calibrating on {total} images", part * CALIBRATION_BATCH / total)
            yield {onnx.INPUT: images.contiguous().numpy()}


def float_graph(inputs: ConversionInput, report: Report) -> "ModelProto":
    """Return the float model as a graph; one that came as a graph is taken as it is.

    Raises:
        UnsupportedError: an operator of the model has no form in ONNX.
    """
    report("exporting to ONNX", 0.0)
    if inputs.model.is_graph:
        return uploaded_graph(inputs)
    return graph_of(torch_module.evaluated(models.build(inputs.spec)), inputs)


def uploaded_graph(inputs: ConversionInput) -> "ModelProto":
    """Return the graph of a model that came as one, for pictures of the size that is asked for.

    Raises:
        UnsupportedError: it takes pictures of another size only.
    """
    import onnx as onnx_package

    graph = onnx_package.load(models.graph_file(inputs.spec), load_external_data=False)
    (pictures,) = graph.graph.input
    for side in pictures.type.tensor_type.shape.dim[2:]:
        if side.dim_value not in (0, inputs.image_size):
            raise UnsupportedError(
                f"This ONNX model takes pictures of {side.dim_value:,} px, and no others.",
                f"Set its input size to {side.dim_value}, or export it with an open height and "
                "width.",
            )
        side.dim_value = inputs.image_size
    return graph


def graph_of(module: Any, inputs: ConversionInput) -> "ModelProto":
    """Return a module, converted or not, as a graph for any number of pictures."""
    from quantcore.formats import onnx_graph

    example = torch_module.example(inputs.image_size)
    path = inputs.scratch / "exported.onnx"
    graph = onnx.exported(module, example, path, OPSET, dynamic_batch=True)
    path.unlink()
    return onnx_graph.tidied(graph)[0]


def preprocessed(graph: "ModelProto", scratch: Path) -> Path:
    """Return the graph in a file of `scratch` as the quantizers want it: optimized, shapes known.

    The quantizers put temporary files beside it and into the process's temporary folder.
    """
    import onnxruntime
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Warnings about scalars without a channel, and about cores that a locked process cannot pick.
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(FATAL)
    tempfile.tempdir = str(scratch)
    source, prepared = scratch / "float.onnx", scratch / "prepared.onnx"
    source.write_bytes(graph.SerializeToString())
    quant_pre_process(source, prepared)
    return prepared


def quantized(path: Path) -> "ModelProto":
    """Return the model that a quantizer wrote, without the quantizer's own metadata."""
    import onnx as onnx_package

    graph = onnx_package.load(path)
    used = {node.domain for node in graph.graph.node} | {""}
    imports = [each for each in graph.opset_import if each.domain in used]
    del graph.metadata_props[:], graph.opset_import[:]
    graph.opset_import.extend(imports)
    return graph


@dataclass(frozen=True)
class OnnxRuntime(RunsFormat):
    """ONNX Runtime on the processor, with kernels of its own."""

    name: ClassVar[str] = "onnxruntime"
    aliases: ClassVar[tuple[str, ...]] = ("ort",)
    title: ClassVar[str] = "ONNX Runtime"
    summary: ClassVar[str] = (
        "Servers, PCs and phones, from any language. Quantizes and runs ONNX files by itself."
    )
    targets: ClassVar[tuple[Target, ...]] = ("server", "phone", "browser")
    format: ClassVar[MeasuredFormat] = Onnx()
    toolchain: ClassVar[Toolchain] = Toolchain("onnxruntime", STEPS, PACKAGES, reads_graphs=True)
    float_backend: ClassVar[str | None] = "onnxruntime"
    per_channel: ClassVar[bool] = True
    observer: ClassVar[Observer] = "minmax"
    symbol: ClassVar[Symbol] = "star"
    pace: ClassVar[float] = 1.0
    engine: ClassVar[str | None] = None
    saturates: ClassVar[bool] = False
    rounds_biases: ClassVar[bool] = True

    def multiply_adds(self, path: Path, image_size: int, scratch: Path) -> int:
        """Return the multiply-adds of a graph, in float or in 8 bits."""
        return Onnx().multiply_adds(path, image_size, scratch)

    def available(self, environment: Environment) -> Support:
        """Return whether its packages are installed on that machine."""
        missing = [name for name in PACKAGES if not environment.has(name)]
        if not missing:
            return YES
        return Support(
            False, f"{' and '.join(missing)} are not installed there.", "Choose another backend."
        )

    def speed_causes(self, environment: Environment) -> tuple[Cause, ...]:
        """Return that sums of 8-bit products are slow without VNNI."""
        return () if environment.has_vnni or environment.machine not in SERVERS else (NO_VNNI,)

    def accuracy_causes(
        self, settings: Mapping[str, Setting], environment: Environment
    ) -> tuple[Cause, ...]:
        """Return that one of 8 bits is left free; where it is trained, training makes up for it."""
        return () if "steps" in settings else (REDUCED_RANGE,)


BACKEND = OnnxRuntime()
