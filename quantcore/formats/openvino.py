"""OpenVINO: Intel's runtime for servers and PCs; the two files of its IR and metadata in one zip.

It computes float32 in bfloat16 by itself on processors with AMX, so a file is always loaded with
the precision that it is made for: 16 bits where its weights have 16, else 32.
"""

import hashlib
import json
import math
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from xml.etree import ElementTree

from quantcore.errors import UnsupportedError
from quantcore.formats import onnx
from quantcore.formats.base import METADATA, Kernels, Planned, Predictor, Source, Written
from quantcore.formats.openvino_packages import openvino
from quantcore.formats.programs import TEMPLATES, PythonCode, release
from quantcore.schema import YES, Check, Exported, Pass, Report, Support, Target, library_versions

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

Shape = tuple[int, ...]
GRAPH, WEIGHTS = "model.xml", "model.bin"
# The same content makes the same bytes, whenever it is written.
DATE = (1980, 1, 1, 0, 0, 0)
# Names that OpenVINO numbers through a process; they differ from one conversion to the next.
NUMBERED = re.compile(r"[A-Za-z]+(_\d+)+")
# Shapes of pictures that a loaded file is compiled for at a time, the latest ones.
SHAPES = 2
OPSET = 17
INT8 = ("i8", "u8")
# What its front ends raise beside RuntimeError.
FAILURES = (
    "GeneralFailure",
    "InitializationFailure",
    "NotImplementedFailure",
    "OpConversionFailure",
    "OpValidationFailure",
)
# What is no computing on pictures.
UNCOUNTED = ("FakeQuantize", "Const", "Convert", "Reorder", "Reshape", "Input", "Output")
# Attention is one kernel, whose products the graph that is run does not tell apart.
APART = {"SNIPPETS_MODE": "DISABLE"}
PYTHON_LOAD = """\
archive = zipfile.ZipFile({path})
graph, weights = archive.read("model.xml"), archive.read("model.bin")
model = openvino.Core().read_model(graph, openvino.Tensor(np.frombuffer(weights, np.uint8)))"""
PYTHON_RUN = """\
model.reshape(batch.shape)
precision = "bf16" if b'element_type="f16"' in graph else "f32"
settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
scores = openvino.compile_model(model, "CPU", settings)(batch)[0][0]"""


@dataclass(frozen=True)
class Ir:
    """An OpenVINO graph as its files hold it: XML, and the numbers that it points at."""

    graph: bytes
    weights: bytes

    @property
    def digest(self) -> str:
        """Return the SHA-256 of both."""
        return hashlib.sha256(self.graph + self.weights).hexdigest()

    @property
    def is_half(self) -> bool:
        """Return whether weights have 16 bits."""
        return b'element_type="f16"' in self.graph


@dataclass(frozen=True)
class OpenVino:
    """OpenVINO's IR in a zip."""

    name: ClassVar[str] = "openvino"
    aliases: ClassVar[tuple[str, ...]] = ("ir", "ir.zip")
    title: ClassVar[str] = "OpenVINO IR"
    summary: ClassVar[str] = "For OpenVINO on servers and PCs: model.xml and model.bin in a zip."
    suffix: ClassVar[str] = ".ir.zip"
    runtime: ClassVar[str] = "OpenVINO"
    package: ClassVar[str] = "openvino"
    modules: ClassVar[tuple[str, ...]] = ("openvino",)
    is_exact: ClassVar[bool] = False
    targets: ClassVar[tuple[Target, ...]] = ("server",)
    phone_engine: ClassVar[str | None] = None
    needs_source: ClassVar[bool] = True
    max_overhead: ClassVar[float | None] = None
    templates: ClassVar[Path] = TEMPLATES / "openvino"

    def supports(self, planned: Planned) -> Support:
        """Return yes where the package is here, and OpenVINO has kernels for the layers.

        Variants that are such files already are not asked.
        """
        if _version() is None:
            return Support(
                False,
                "OpenVINO is not installed here: the package openvino is missing.",
                "`pip install openvino nncf` brings it, as requirements.txt pins it.",
            )
        if planned.layer_kind in ("half", "dynamic"):
            return Support(
                False,
                "OpenVINO would compute this variant in float: it has no layers that find their "
                "ranges as numbers come, nor float16 weights between float32 numbers.",
                "Choose static, QAT or float32, or TorchScript.",
            )
        if planned.layer_kind == "static" and planned.kernels.rounds_biases:
            return Support(
                False,
                f"Layers of {planned.kernels.name} add biases as whole numbers, and OpenVINO's as "
                "floats, so that some pictures would get another class.",
                "Choose static or QAT on openvino, or TorchScript.",
            )
        return YES

    def versions(self) -> dict[str, str]:
        """Return the versions of openvino, which writes the file, and of onnx, which is between."""
        installed = library_versions()
        return {name: installed[name] for name in (self.package, "onnx")}

    def write(self, source: Source, path: Path, report: Report) -> Written:
        """Write the file by way of ONNX; a variant that is such a file is taken as it is.

        Raises:
            UnsupportedError: ONNX or OpenVINO has no form for an operator of the model.
        """
        if source.file_format == self.name:
            shutil.copyfile(source.file, path)
            return _described(read(path), source.inputs.image_size)
        scratch = source.inputs.scratch
        report("making the module again", 0.1)
        module = source.module()
        report("exporting to ONNX", 0.4)
        graph = onnx.exported(
            module, source.example, scratch / "exported.onnx", OPSET, dynamic_batch=True
        )
        report("converting to OpenVINO", 0.7)
        ir = ir_of(from_onnx(graph, scratch), scratch)
        save(ir, source.provenance, path)
        return _described(ir, source.inputs.image_size)

    def load(self, path: Path, kernels: Kernels, threads: int) -> Predictor:
        """Return the file in OpenVINO, on the processor."""
        ir = read(path)
        return predictor(model_of(ir), threads, half=ir.is_half)

    def float_multiply_adds(
        self, path: Path, kernels: Kernels, image_size: int, scratch: Path
    ) -> int:
        """Return the multiply-adds of one picture that the graph which is run leaves in float."""
        return float_multiply_adds(run_layers(read(path), image_size))

    def module(self, path: Path, kernels: Kernels) -> None:
        """Return none: a graph is no torch module."""

    def relabel(
        self, source: Path, kernels: Kernels, metadata: Mapping[str, object], path: Path
    ) -> None:
        """Write the graph again with the metadata of another backend."""
        save(read(source), metadata, path)

    def read_metadata(self, path: Path) -> dict[str, object]:
        """Return the provenance from the zip."""
        with zipfile.ZipFile(path) as archive:
            written = archive.read(METADATA) if METADATA in archive.namelist() else b"{}"
        content: dict[str, object] = json.loads(written)
        return content

    def checks(self, path: Path) -> tuple[Check, ...]:
        """Return the check that the zip holds what OpenVINO's tools look for."""
        with zipfile.ZipFile(path) as archive:
            missing = {GRAPH, WEIGHTS} - set(archive.namelist())
        if missing:
            return (Check("zip", False, f"It lacks {' and '.join(sorted(missing))}."),)
        return (Check("zip", True, f"It holds {GRAPH} and {WEIGHTS}, as OpenVINO's tools want."),)

    def python(self, kernels: Kernels) -> PythonCode:
        """Return the lines for OpenVINO, which compute as `load` does."""
        return PythonCode("import openvino, zipfile", PYTHON_LOAD, PYTHON_RUN)

    def phone_facts(self, exported: Exported, version: str) -> dict[str, str]:
        """Return none."""
        return {}


def _version() -> str | None:
    try:
        return version(OpenVino.package)
    except PackageNotFoundError:
        return None


def _described(ir: Ir, image_size: int) -> Written:
    layers = run_layers(ir, image_size)
    counted = [each for each in layers if _fact(each, "layerType") not in UNCOUNTED]
    int8 = sum(_fact(each, "runtimePrecision") in INT8 for each in counted)
    return Written(
        passes=(
            Pass(
                "layers in 8 bits",
                int8 > 0,
                "" if int8 else "OpenVINO runs none of its layers in 8 bits.",
            ),
            Pass("weights in 16 bits", ir.is_half, "" if ir.is_half else "Not asked for."),
            Pass("batch axis dynamic", applied=True),
        ),
        operators=operators(ir),
        engines=(),
        runs_on=f"OpenVINO {release(version('openvino'))} or newer, on the processor",
        int8_operators=int8,
        total_operators=len(counted),
    )


def operators(ir: Ir) -> tuple[str, ...]:
    """Return the operators that a graph is made of, sorted."""
    layers = ElementTree.fromstring(ir.graph).iter("layer")
    return tuple(sorted({each.get("type", "") for each in layers} - {"Const"}))


def read(path: Path) -> Ir:
    """Return the graph in a file."""
    with zipfile.ZipFile(path) as archive:
        return Ir(archive.read(GRAPH), archive.read(WEIGHTS))


def save(ir: Ir, metadata: Mapping[str, object], path: Path) -> None:
    """Write a graph with its metadata, alike for alike content.

    Weights are stored as they are: deflating saves 7 % of 8-bit ones, and costs time at each start.
    """
    described = json.dumps(dict(metadata), sort_keys=True).encode()
    contents = {GRAPH: ir.graph, WEIGHTS: ir.weights, METADATA: described}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name == WEIGHTS else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def ir_of(model: Any, scratch: Path, *, half: bool = False) -> Ir:
    """Return an `openvino.Model` as its files hold it; `scratch` is for temporary files."""
    path = scratch / GRAPH
    openvino().save_model(model, path, compress_to_fp16=half)
    ir = Ir(_tidied(path.read_bytes()), (scratch / WEIGHTS).read_bytes())
    path.unlink()
    (scratch / WEIGHTS).unlink()
    return ir


def _tidied(graph: bytes) -> bytes:
    """Return the XML without what differs from one conversion to the next, or names its inputs."""
    root = ElementTree.fromstring(graph)
    root.set("name", "model")
    for part in root.findall("rt_info"):
        root.remove(part)
    for layer in root.iter("layer"):
        if NUMBERED.fullmatch(layer.get("name", "")):
            layer.set("name", f"{layer.get('type')} {layer.get('id')}")
    tidied: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return tidied


def model_of(ir: Ir) -> Any:
    """Return the graph as an `openvino.Model`."""
    import numpy as np

    package = openvino()
    weights = package.Tensor(np.frombuffer(ir.weights, np.uint8))
    return package.Core().read_model(ir.graph, weights)


def from_onnx(graph: "ModelProto", scratch: Path) -> Any:
    """Return an ONNX graph as an `openvino.Model`; `scratch` is for temporary files.

    `Core.read_model` reads ONNX as well, but leaves shapes and limits to be computed in each call,
    so that 8-bit layers are not found: MobileNetV2's depthwise ones would stay in float.

    Raises:
        UnsupportedError: OpenVINO has no form for an operator.
    """
    package = openvino()
    failures = tuple(getattr(package.frontend, name) for name in FAILURES)
    path = scratch / "graph.onnx"
    path.write_bytes(graph.SerializeToString())
    try:
        return _fusible(package.convert_model(path))
    except (RuntimeError, *failures) as error:
        raise UnsupportedError(
            f"OpenVINO cannot read a part of this model: {_reason(error)}",
            "Choose ONNX Runtime or one of torch's backends.",
        ) from error
    finally:
        path.unlink()


def _fusible(model: Any) -> Any:
    """Write hard sigmoids as the operator that OpenVINO fuses into the convolution before them.

    ONNX's operator takes slope and offset as inputs, and is run by itself, in float.
    """
    from openvino import opset13
    from openvino.utils import replace_node

    for node in model.get_ops():
        if node.get_type_name() != "HardSigmoid":
            continue
        numbers = [inlet.get_source_output().get_node() for inlet in node.inputs()[1:]]
        if all(each.get_type_name() == "Constant" for each in numbers):
            slope, offset = (float(each.data.item()) for each in numbers)
            if math.isclose(slope, 1 / 6, rel_tol=1e-6) and offset == 0.5:
                replace_node(node, opset13.hsigmoid(node.input_value(0)))
    return model


def _reason(error: Exception) -> str:
    """Return the sentence of a front end's error that names the operator."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "No conversion rule" in line]
    text = (named or lines[-1:] or ["it does not say why"])[0]
    return text.lstrip("- ")[:200].rstrip(".") + "."


def compiled_for(
    model: Any,
    shape: Iterable[int],
    threads: int,
    *,
    half: bool,
    more: Mapping[str, str] | None = None,
) -> Any:
    """Return an `openvino.Model` compiled for pictures of one shape `[N, 3, S, S]`.

    For any number of pictures it would be a tenth slower.

    Args:
        model: for any number of pictures.
        shape: of the pictures.
        threads: that compute.
        half: whether to compute in bfloat16; OpenVINO takes float32 where the processor has none.
        more: properties for the compilation.
    """
    fitting = model.clone()
    fitting.reshape(list(shape))
    properties: dict[str, object] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        # Whoever times a file says which cores it runs on.
        "ENABLE_CPU_PINNING": False,
        **(more or {}),
    }
    return openvino().Core().compile_model(fitting, "CPU", properties)


def predictor(model: Any, threads: int, *, half: bool) -> Predictor:
    """Return an `openvino.Model` as a function from `[N, 3, H, W]` pictures to logits."""
    import torch

    @lru_cache(SHAPES)
    def compiled(shape: tuple[int, ...]) -> Any:
        return compiled_for(model, shape, threads, half=half)

    def predict(images: "Tensor") -> "Tensor":
        pictures = images.contiguous().numpy()
        return torch.from_numpy(compiled(pictures.shape)(pictures)[0])

    return predict


def run_layers(ir: Ir, image_size: int) -> list[Any]:
    """Return the layers that run for one picture of `image_size` px, with what they compute in."""
    shape = (1, 3, image_size, image_size)
    compiled = compiled_for(model_of(ir), shape, 1, half=ir.is_half, more=APART)
    return list(compiled.get_runtime_model().get_ops())


def float_multiply_adds(layers: Iterable[Any]) -> int:
    """Return the multiply-adds in float among the layers of a graph as it is run."""
    return sum(
        _multiply_adds(layer) for layer in layers if _fact(layer, "runtimePrecision") not in INT8
    )


def _fact(layer: Any, name: str) -> str:
    return str(layer.get_rt_info()[name].value)


def _multiply_adds(layer: Any) -> int:
    count = COUNTS.get(_fact(layer, "layerType"))
    if count is None:
        return 0
    reads = [tuple(each.get_shape()) for each in layer.inputs()]
    return count(tuple(layer.get_output_shape(0)), reads)


def _convolution(out: Shape, reads: Sequence[Shape]) -> int:
    # Weights are [O, I, ...] or, in groups, [G, O / G, I / G, ...].
    return math.prod(out) * math.prod(reads[1]) // out[1]


def _transposed(out: Shape, reads: Sequence[Shape]) -> int:
    return math.prod(reads[0]) * math.prod(reads[1]) // reads[0][1]


def _product(out: Shape, reads: Sequence[Shape]) -> int:
    # The left side is [.., m, k], perhaps turned, and the result [.., m, n].
    return math.prod(out) * math.prod(reads[0][-2:]) // out[-2]


def _recurrent(_: Shape, reads: Sequence[Shape]) -> int:
    # What is read: [batch, steps, width], states, lengths, and two matrices of weights.
    batch, steps, _width = reads[0]
    return batch * steps * sum(math.prod(each) for each in reads[-3:-1])


# Layers of a graph that is run, by how many times they multiply and add.
COUNTS: dict[str, Callable[[Shape, Sequence[Shape]], int]] = {
    "Convolution": _convolution,
    "Deconvolution": _transposed,
    "FullyConnected": _product,
    "MatMul": _product,
    "RNNSeq": _recurrent,
}
