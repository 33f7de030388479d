"""The other workflows of ONNX Runtime's toolchain: float32, half, dynamic, and QAT of torch's."""

from pathlib import Path
from typing import Any

from quantcore.backends.base import Backend, FromFloat, Recipe
from quantcore.backends.onnxruntime import graphs
from quantcore.backends.onnxruntime.graphs import PACKAGES, OnnxModel
from quantcore.backends.options import DynamicOptions, QatOptions
from quantcore.backends.torch_ao import numerics, steps
from quantcore.formats import torchscript
from quantcore.images import ConversionInput
from quantcore.models import Subject
from quantcore.schema import YES, Environment, Report, Support

# Layer types as the operators that torch writes them as; a fully connected Gemm becomes a MatMul.
DYNAMIC_OPERATORS = {"Linear": ("MatMul",), "LSTM": ("LSTM",)}
# The engine under which torch's modules with x86's numbers are run and exported.
ENGINE = "x86"


class OnnxStep(FromFloat):
    """A step of this toolchain."""

    toolchain = "onnxruntime"
    packages = PACKAGES


class Float32(OnnxStep):
    """The float model as a graph."""

    name = "float32"
    computes = "float"

    def convert(
        self,
        options: Any,
        inputs: ConversionInput,
        backend: Backend,
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the float graph."""
        return OnnxModel(graphs.float_graph(inputs, report))


class Half(OnnxStep):
    """Weights in float16, which ONNX Runtime turns into float32 when it loads them."""

    name = "half"
    computes = "weights"
    note = (
        "On a processor, ONNX Runtime turns the float16 weights into float32 when it loads them: "
        "half the file, float32's speed."
    )

    def convert(
        self,
        options: Any,
        inputs: ConversionInput,
        backend: Backend,
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the float graph with its weights in float16."""
        graph = graphs.float_graph(inputs, report)
        report("rounding the weights", 0.9)
        return OnnxModel(graphs.halved(graph))


class Pretrained(OnnxStep):
    """A graph that was quantized before it came."""

    name = "pretrained"

    def supports(self, options: Any, subject: Subject, backend: Backend) -> Support:
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
        backend: Backend,
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the graph as it came."""
        report("reading the graph", 0.0)
        return OnnxModel(graphs.uploaded_graph(inputs))


class Dynamic(OnnxStep):
    """Weights of linear layers and LSTMs in 8 bits."""

    name = "dynamic"
    computes = "dynamic"

    def supports(self, options: DynamicOptions, subject: Subject, backend: Backend) -> Support:
        """Return yes where the runtime has an 8-bit operator for one of the layers."""
        if options.dtype != "qint8":
            return Support(
                False,
                "ONNX Runtime computes in float32 here; float16 would only halve the file.",
                "Use qint8 here, the workflow half, or float16 on x86 or fbgemm.",
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
        backend: Backend,
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the graph with these layers' weights in 8 bits."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        prepared = graphs.preprocessed(graphs.float_graph(inputs, report), inputs.scratch)
        report("converting the weights", 0.8)
        path = inputs.scratch / "dynamic.onnx"
        quantize_dynamic(
            prepared,
            path,
            op_types_to_quantize=[
                kind for layer in options.layers for kind in DYNAMIC_OPERATORS.get(layer, ())
            ],
            per_channel=True,
            # All 8 bits overflow without VNNI, and nobody says where the file will run.
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return OnnxModel(graphs.without_metadata(path))


class Qat(OnnxStep):
    """Trained by torch for x86's ranges, which need no VNNI, then exported."""

    name = "qat"

    def supports(self, options: QatOptions, subject: Subject, backend: Backend) -> Support:
        """Return yes where torch can train it."""
        return steps.trainable(subject, ENGINE)

    def recipe(self, options: Any, backend: Backend, environment: Environment) -> Recipe:
        """Return the recipe of the torch engines whose training it shares."""
        return Recipe(numerics.X86.qconfig)

    def convert(
        self,
        options: QatOptions,
        inputs: ConversionInput,
        backend: Backend,
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
        return OnnxModel(graphs.graph_of(model.module, inputs), model.state())
