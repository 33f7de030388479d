"""ONNX: for ONNX Runtime and whatever else reads it; 8-bit layers as QuantizeLinear pairs.

torch's own exporter writes a converted module's layers between `QuantizeLinear` and
`DequantizeLinear` (QDQ), which runtimes fuse into 8-bit kernels. What it lacks is added in
`onnx_symbolics`.
"""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantcore.errors import RequestError, UnsupportedError
from quantcore.formats.base import METADATA, Kernels, Planned, Predictor, Source, Written
from quantcore.formats.programs import TEMPLATES, PythonCode
from quantcore.models import LAYER_TYPES
from quantcore.schema import (
    YES,
    Check,
    Exported,
    Pass,
    Report,
    Support,
    Target,
    current_environment,
)

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession
    from torch import Tensor

QUANTIZE = "QuantizeLinear"
# One of them is in a graph whose layers find the range of each input as it comes.
DYNAMIC = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeLSTM"})
INPUT, OUTPUT = "images", "logits"
# Of ONNX Runtime's log, which tells by exceptions all that matters.
FATAL = 4
MIN_OPSET, MAX_OPSET = 13, 20
# Which ONNX Runtime is the first that reads an opset.
# https://onnxruntime.ai/docs/reference/compatibility.html
FIRST_RUNTIME = {
    13: "1.7",
    14: "1.8",
    15: "1.10",
    16: "1.11",
    17: "1.12",
    18: "1.14",
    19: "1.15",
    20: "1.17",
}
# Without VNNI, ONNX Runtime adds pairs of products in 16 bits, and where activations use all 8 of
# their bits the sums overflow. This makes it multiply exactly there, and changes nothing elsewhere.
# https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
PRECISE = ("session.x64quantprecision", "1")
PRECISE_LINES = (
    "options = onnxruntime.SessionOptions()\n"
    f'options.add_session_config_entry("{PRECISE[0]}", "{PRECISE[1]}")\n'
)
PROVIDER = "CPUExecutionProvider"
ROUNDED_BIASES = (
    "ONNX's 8-bit layers add a whole number of products, where this backend's kernels add a float. "
    "Because of that some pictures may get another class. Files of backends whose kernels add a "
    "whole number too answer alike."
)
# Asked of a file for any number of pictures before it is offered as one.
BATCHES = (1, 3)


@dataclass(frozen=True)
class Onnx:
    """A graph that other runtimes read.

    Attributes:
        opset: version of the operators, 13 to 20; below 13 weights cannot have a scale a channel.
        dynamic_batch: any number of pictures a call; else one.
    """

    opset: int = 17
    dynamic_batch: bool = False

    name: ClassVar[str] = "onnx"
    aliases: ClassVar[tuple[str, ...]] = ("ort",)
    title: ClassVar[str] = "ONNX"
    summary: ClassVar[str] = "For ONNX Runtime on any system, and most other runtimes."
    suffix: ClassVar[str] = ".onnx"
    runtime: ClassVar[str] = "ONNX Runtime"
    package: ClassVar[str] = "onnxruntime"
    modules: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    is_exact: ClassVar[bool] = False
    targets: ClassVar[tuple[Target, ...]] = ("server", "phone", "browser")
    phone_engine: ClassVar[str | None] = None
    needs_source: ClassVar[bool] = True
    max_overhead: ClassVar[float | None] = None
    templates: ClassVar[Path] = TEMPLATES / "onnx"

    def __post_init__(self) -> None:
        if not MIN_OPSET <= self.opset <= MAX_OPSET:
            raise RequestError(
                f"Opset {self.opset} cannot be written.", f"Take {MIN_OPSET} to {MAX_OPSET}."
            )

    def supports(self, planned: Planned) -> Support:
        """Return yes unless ONNX has no operator for a layer."""
        if planned.layer_kind == "half":
            return Support(
                False,
                "ONNX has no linear layer with float16 weights and float32 numbers between them.",
                "Choose qint8 weights, or TorchScript.",
            )
        if planned.layer_kind != "dynamic":
            return YES
        chosen = planned.settings.get("layers", LAYER_TYPES)
        assert isinstance(chosen, tuple)
        recurrent = [name for name in planned.subject.model.recurrent if name in chosen]
        if recurrent:
            return Support(
                False,
                f"ONNX has no 8-bit {' or '.join(recurrent)}.",
                "Export float32 to ONNX, or this variant as TorchScript.",
            )
        return YES

    def versions(self) -> dict[str, str]:
        """Return the version of onnx, which writes the file."""
        return {"onnx": version("onnx")}

    def write(self, source: Source, path: Path, report: Report) -> Written:
        """Write the file, its weights inside; a variant that is an ONNX file is taken as it is.

        Raises:
            UnsupportedError: an operator of the model has no form in ONNX.
        """
        import onnx

        from quantcore.formats import onnx_graph

        if source.file_format == self.name:
            shutil.copyfile(source.file, path)
            return _described(onnx.load(path), source, folded=0, dynamic_batch=True)
        report("making the module again", 0.1)
        module = source.module()
        report("exporting to ONNX", 0.4)
        example = source.example if self.dynamic_batch else source.example[:1]
        written = exported(module, example, path, self.opset, dynamic_batch=self.dynamic_batch)
        report("folding constants", 0.7)
        model, folded = onnx_graph.tidied(written)
        report("checking the graph", 0.9)
        add_provenance(model, source.provenance)
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())
        if self.dynamic_batch:
            self._require_any_batch(path, source)
        return _described(model, source, folded=folded, dynamic_batch=self.dynamic_batch)

    def _require_any_batch(self, path: Path, source: Source) -> None:
        """Refuse a file in which tracing has made a constant of the number of pictures.

        Raises:
            UnsupportedError: it does not answer for every number of pictures.
        """
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument
        from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException as Unfit

        predict = self.load(path, source.kernels, threads=1)
        try:
            answered = [len(predict(source.example[:1].repeat(n, 1, 1, 1))) for n in BATCHES]
        # What ONNX Runtime raises over shapes that do not fit.
        except (Fail, InvalidArgument, Unfit) as error:
            raise _fixed_batch() from error
        if answered != list(BATCHES):
            raise _fixed_batch()

    def load(self, path: Path, kernels: Kernels, threads: int) -> Predictor:
        """Return the file in ONNX Runtime, on the CPU; a file for one picture is asked one by one.

        ONNX Runtime has kernels of its own; of the backend only its range matters to them.
        """
        import numpy as np
        import torch

        running = session(path, threads, is_precise=_saturates(path, kernels))
        is_single = running.get_inputs()[0].shape[0] == 1

        def predict(images: "Tensor") -> "Tensor":
            whole = images.contiguous().numpy()
            parts = np.split(whole, len(whole)) if is_single else [whole]
            return torch.from_numpy(
                np.concatenate([running.run(None, {INPUT: part})[0] for part in parts])
            )

        return predict

    def float_multiply_adds(
        self, path: Path, kernels: Kernels, image_size: int, scratch: Path
    ) -> int:
        """Return the multiply-adds in float of one picture, in the graph that is really run."""
        from quantcore.formats.onnx_multiply_adds import float_multiply_adds

        return float_multiply_adds(path, image_size, scratch)

    def multiply_adds(self, path: Path, image_size: int, scratch: Path) -> int:
        """Return the multiply-adds of one picture, in float or in 8 bits, as a graph is written."""
        from quantcore.formats.onnx_multiply_adds import multiply_adds

        return multiply_adds(path, image_size, scratch)

    def module(self, path: Path, kernels: Kernels) -> None:
        """Return none: a graph is no torch module."""

    def relabel(
        self, source: Path, kernels: Kernels, metadata: Mapping[str, object], path: Path
    ) -> None:
        """Write the graph again with the metadata of another backend."""
        import onnx

        save(onnx.load(source), metadata, path)

    def read_metadata(self, path: Path) -> dict[str, object]:
        """Return the provenance from the file's metadata."""
        import onnx

        properties = {each.key: each.value for each in onnx.load(path).metadata_props}
        content: dict[str, object] = json.loads(properties.get(METADATA, "{}"))
        return content

    def checks(self, path: Path) -> tuple[Check, ...]:
        """Return the check by `onnx.checker`, shapes and types included."""
        import onnx

        name = "onnx.checker"
        try:
            onnx.checker.check_model(path, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            return (Check(name, False, f"It found fault: {_first_sentence(error)}"),)
        opset = opset_of(onnx.load(path))
        return (Check(name, True, f"It finds no fault, all shapes known; opset {opset}."),)

    def python(self, kernels: Kernels) -> PythonCode:
        """Return the lines for ONNX Runtime, which multiplies exactly where sums may overflow."""
        options = PRECISE_LINES if kernels.saturates else ""
        chosen = "options, " if options else ""
        session = 'session = onnxruntime.InferenceSession({path}, %sproviders=["%s"])'
        return PythonCode(
            "import onnxruntime",
            options + session % (chosen, PROVIDER),
            f'scores = session.run(None, {{"{INPUT}": batch}})[0][0]',
        )

    def phone_facts(self, exported: Exported, version: str) -> dict[str, str]:
        """Return none."""
        return {}


def _described(model: "ModelProto", source: Source, *, folded: int, dynamic_batch: bool) -> Written:
    from quantcore.formats import onnx_graph

    int8, total = onnx_graph.int8_operators(model)
    operators = onnx_graph.operators(model)
    return Written(
        passes=_passes(operators, source.kernels, folded, dynamic_batch),
        operators=operators,
        engines=(),
        runs_on=runs_on(model, source.kernels),
        int8_operators=int8,
        total_operators=total,
    )


def _passes(
    operators: Collection[str], kernels: Kernels, folded: int, dynamic_batch: bool
) -> tuple[Pass, ...]:
    """Return what was done to a graph, as the operators in it show."""
    static, dynamic = QUANTIZE in operators, not DYNAMIC.isdisjoint(operators)
    return (
        Pass(
            "QuantizeLinear and DequantizeLinear around 8-bit layers",
            static,
            "" if static else "The model has no static 8-bit layers.",
        ),
        Pass(
            "DynamicQuantizeLinear and MatMulInteger for dynamic layers",
            dynamic,
            "" if dynamic else "The model has no dynamic 8-bit layers.",
        ),
        *(
            [Pass("keep biases unrounded", False, ROUNDED_BIASES)]
            if static and not kernels.rounds_biases
            else []
        ),
        Pass(
            "fold constants",
            folded > 0,
            "" if folded else "There were none left to fold.",
        ),
        Pass("infer shapes", True),
        Pass("batch axis dynamic", dynamic_batch, "" if dynamic_batch else "Not asked for."),
    )


def exported(
    module: Any, example: "Tensor", path: Path, opset: int, *, dynamic_batch: bool
) -> "ModelProto":
    """Return a module, converted or not, as a graph; `path` is where torch may write it.

    `example` holds pictures `[N, 3, H, W]`.

    Raises:
        UnsupportedError: an operator of the model has no form in ONNX.
    """
    import onnx
    import torch

    from quantcore.formats import onnx_symbolics

    axes = {INPUT: {0: "pictures"}, OUTPUT: {0: "pictures"}} if dynamic_batch else None
    try:
        with torch.no_grad():
            torch.onnx.export(
                onnx_symbolics.exportable(module, opset),
                (example.contiguous(),),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=opset,
                dynamic_axes=axes,
                dynamo=False,
            )
    # Base of all that torch's exporter says of a model that it cannot carry over.
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise UnsupportedError(
            f"ONNX cannot carry a part of this model: {_first_sentence(error)}", _instead(error)
        ) from error
    return onnx.load(path)


def add_provenance(model: "ModelProto", provenance: Mapping[str, object]) -> None:
    """Put the provenance into a graph's metadata, whole and what tools look for by itself."""
    apart = ("model", "workflow", "backend", "labels", "image_size", "mean", "std", "channels")
    single = {key: json.dumps(provenance[key]) for key in apart if key in provenance}
    del model.metadata_props[:]
    for key, text in {METADATA: json.dumps(dict(provenance), sort_keys=True), **single}.items():
        model.metadata_props.add(key=key, value=text)


def save(model: "ModelProto", provenance: Mapping[str, object], path: Path) -> None:
    """Write a graph with its provenance, alike for alike content."""
    add_provenance(model, provenance)
    path.write_bytes(model.SerializeToString(deterministic=True))


def opset_of(model: "ModelProto") -> int:
    """Return the version of ONNX's own operators in a graph."""
    return next(int(each.version) for each in model.opset_import if each.domain in ("", "ai.onnx"))


def runs_on(model: "ModelProto", kernels: Kernels) -> str:
    """Return which runtimes run a graph, in words."""
    from quantcore.formats import onnx_graph

    opset = opset_of(model)
    # Of an uploaded graph, which may be of any opset.
    first = FIRST_RUNTIME.get(opset) or version("onnxruntime")
    name, value = PRECISE
    saturates = kernels.saturates and onnx_graph.takes_all_bits(model)
    overflows = f"; on PCs without VNNI with {name}={value}" if saturates else ""
    return (
        f"ONNX Runtime {first} or newer, and others that read opset {opset} "
        f"(IR version {model.ir_version}){overflows}"
    )


def _saturates(path: Path, kernels: Kernels) -> bool:
    """Return whether sums of a file's 8-bit products can overflow on this machine."""
    if not (kernels.saturates and current_environment().lacks_vnni):
        return False
    import onnx

    from quantcore.formats import onnx_graph

    return onnx_graph.takes_all_bits(onnx.load(path))


def session(source: Path | bytes, threads: int, *, is_precise: bool) -> "InferenceSession":
    """Return a graph in ONNX Runtime, on the CPU.

    Args:
        source: the file, or its bytes.
        threads: that compute.
        is_precise: whether 8-bit sums that overflow in 16 bits are computed in a slower way.

    Raises:
        UnsupportedError: ONNX Runtime has no such way for this graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = FATAL
    if is_precise:
        options.add_session_config_entry(*PRECISE)
    try:
        return onnxruntime.InferenceSession(source, options, providers=[PROVIDER])
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
        if not is_precise:
            raise
        # ONNX Runtime 1.32 makes one tensor twice then, seen of transformers.
        raise UnsupportedError(
            "ONNX Runtime cannot keep this graph's 8-bit sums from overflowing on a processor "
            "without VNNI.",
            "Leave reduce_range as it is, or take openvino.",
        ) from error


def _fixed_batch() -> UnsupportedError:
    return UnsupportedError(
        "This model's graph holds how many pictures it was traced with, so that ONNX cannot carry "
        "it for any other number.",
        "Leave dynamic_batch out, and ask it one picture at a time.",
    )


def _instead(error: Exception) -> str:
    if "opset version" in str(error):
        return f"Take a newer opset, up to {MAX_OPSET}, or TorchScript."
    return "Choose TorchScript, or another workflow."


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "unknown rank" in text:
        return "torch's exporter loses count of dimensions behind its 8-bit layers."
    return text.partition(". ")[0].partition(" [")[0][:200].rstrip(".") + "."
