"""ExecuTorch: PyTorch's newer runtime for phones, here with XNNPACK's kernels.

It cannot take over a converted module: it quantizes an exported graph of the float model itself
(PT2E), so an 8-bit file has numbers of its own, and is held against the PT2E model it came from.
"""

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantcore import models
from quantcore.errors import RequestError, UnsupportedError
from quantcore.formats.base import Kernels, Planned, Predictor, Source, Written
from quantcore.formats.programs import TEMPLATES, PythonCode, release
from quantcore.schema import YES, Check, Exported, Pass, Report, Support

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ("executorch", "torchao")
# torch's engine whose numbers XNNPACK's come nearest: both are made for ARM phones.
NEAREST = "qnnpack"
RECURRENT = ("LSTM", "GRU")
# A method of the file that answers with its provenance.
PROVENANCE = "provenance"
DELEGATE = "executorch_call_delegate"
BATCH = 32


@dataclass(frozen=True)
class ExecuTorch:
    """A program for ExecuTorch's runtime.

    Attributes:
        calibration_images: pictures the activation ranges are read from; float32 needs none.
        per_channel: one weight scale per output channel; else one per layer.
    """

    calibration_images: int = 256
    per_channel: bool = True

    name: ClassVar[str] = "executorch"
    aliases: ClassVar[tuple[str, ...]] = ("pte",)
    title: ClassVar[str] = "ExecuTorch"
    summary: ClassVar[str] = "For ExecuTorch on Android and iOS, which follows PyTorch Mobile."
    suffix: ClassVar[str] = ".pte"
    runtime: ClassVar[str] = "ExecuTorch"
    package: ClassVar[str] = PACKAGES[0]
    modules: ClassVar[tuple[str, ...]] = ("executorch.extension.pybindings.portable_lib",)
    is_exact: ClassVar[bool] = False
    converts: ClassVar[tuple[str, ...]] = ("float32", "static")
    phone_engine: ClassVar[str | None] = None
    needs_source: ClassVar[bool] = True
    max_overhead: ClassVar[float | None] = None
    templates: ClassVar[Path] = TEMPLATES / "executorch"

    def __post_init__(self) -> None:
        if self.calibration_images < 1:
            raise RequestError(
                "Calibration needs pictures: without them no activation range is known.",
                "Ask for at least 1 calibration image; 256 is a good start.",
            )

    def supports(self, planned: Planned) -> Support:
        """Return yes where its packages are here and it can quantize the float model that way."""
        missing = [name for name in PACKAGES if _version(name) is None]
        if missing:
            return Support(
                False,
                f"ExecuTorch is not installed here: {' and '.join(missing)} are missing.",
                "`pip install executorch torchao` brings them, as requirements.txt pins them.",
            )
        recurrent = [name for name in RECURRENT if planned.subject.model.dynamic_layers.get(name)]
        if recurrent:
            return Support(
                False,
                f"ExecuTorch has no {recurrent[0]}: it would write out every step of it, and take "
                "minutes over that.",
                "Choose TorchScript mobile, or ONNX for float32.",
            )
        if planned.layer_kind == "float":
            return YES
        if planned.layer_kind != "static" or planned.variant.workflow not in self.converts:
            return Support(
                False,
                f"ExecuTorch quantizes the float model itself; not {planned.variant.label}.",
                f"Choose {' or '.join(self.converts)} on {NEAREST}, or take this variant as "
                "TorchScript.",
            )
        if planned.kernels.engine != NEAREST:
            return Support(
                False,
                "ExecuTorch runs XNNPACK's kernels, which are not those of "
                f"{planned.kernels.name}.",
                f"Choose {planned.variant.workflow} on {NEAREST}, which is for phones as well.",
            )
        return YES

    def versions(self) -> dict[str, str]:
        """Return the versions of its packages."""
        return {name: _version(name) or "missing" for name in PACKAGES}

    def write(self, source: Source, path: Path, report: Report) -> Written:
        """Quantize the float model (unless float32 is asked for) and lower it to XNNPACK.

        Raises:
            UnsupportedError: a part of the model cannot be lowered.
        """
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        report("exporting the float model", 0.05)
        module, passes = self._quantized(source, report)
        report("lowering to XNNPACK", 0.5)
        example = source.example[:1].contiguous()
        try:
            program = to_edge_transform_and_lower(
                torch.export.export(module, (example,)),
                partitioner=[XnnpackPartitioner()],
                constant_methods={PROVENANCE: json.dumps(dict(source.provenance), sort_keys=True)},
            ).to_executorch()
        # The exporter and its partitioner raise errors of many kinds over what they do not know.
        except (RuntimeError, ValueError, KeyError, AssertionError) as error:
            raise _not_carried(error) from error
        path.write_bytes(program.buffer)
        lowered, left = _calls(program.exported_program())
        int8, total = _int8_calls(module)
        return Written(
            passes=(*passes, Pass("lower to XNNPACK", lowered > 0, _left(left))),
            operators=tuple(sorted(left)),
            engines=(),
            runs_on=f"ExecuTorch {_short(version('executorch'))} or newer with XNNPACK",
            int8_operators=int8,
            total_operators=total,
            reference=_reference(module),
        )

    def _quantized(self, source: Source, report: Report) -> tuple["nn.Module", tuple[Pass, ...]]:
        import torch

        # torch's fused attention is one opaque operator; the plain ones can be lowered.
        torch.backends.mha.set_fastpath_enabled(False)
        name = "quantize with PT2E and XNNPACKQuantizer"
        # For any number of pictures, since one by one takes minutes; lowered for one.
        module = torch.export.export(
            models.build(source.inputs.spec),
            (source.example.contiguous(),),
            dynamic_shapes=({0: torch.export.Dim("pictures", max=BATCH)},),
        ).module()
        if source.layer_kind == "float":
            return module, (Pass(name, False, "float32 was asked for."),)
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        config = get_symmetric_quantization_config(is_per_channel=self.per_channel)
        observed = prepare_pt2e(module, XNNPACKQuantizer().set_global(config))
        self._calibrate(observed, source, report)
        return convert_pt2e(observed), (Pass(name, True),)

    def _calibrate(self, observed: "nn.Module", source: Source, report: Report) -> None:
        import torch

        split = source.inputs.images.calibration
        total = min(self.calibration_images, len(split))
        with torch.no_grad():
            for part, (images, _) in enumerate(split.batches(BATCH, total)):
                report(f"calibrating on {total} images", 0.1 + 0.3 * part * BATCH / total)
                observed(images.contiguous())

    def load(self, path: Path, kernels: Kernels, threads: int) -> Predictor:
        """Return the file in ExecuTorch's runtime, which answers one picture a call."""
        import torch
        from executorch.extension.pybindings import portable_lib

        portable_lib._unsafe_reset_threadpool(threads)
        program = portable_lib._load_for_executorch(str(path))

        def predict(images: "Tensor") -> "Tensor":
            single = (image[None].contiguous() for image in images)
            return torch.cat([program.forward([image])[0].clone() for image in single])

        return predict

    def read_metadata(self, path: Path) -> dict[str, object]:
        """Return the provenance that the file answers with."""
        from executorch.extension.pybindings import portable_lib

        program = portable_lib._load_for_executorch(str(path))
        if PROVENANCE not in program.method_names():
            return {}
        content: dict[str, object] = json.loads(program.run_method(PROVENANCE, [])[0])
        return content

    def checks(self, path: Path) -> tuple[Check, ...]:
        """Return none: the runtime verifies a program as it loads."""
        return ()

    def python(self, kernels: Kernels) -> PythonCode:
        """Return the lines for ExecuTorch's own bindings."""
        return PythonCode(
            "import torch\n"
            "from executorch.extension.pybindings.portable_lib import _load_for_executorch",
            "program = _load_for_executorch({path})",
            "scores = program.forward([torch.from_numpy(batch)])[0][0].numpy()",
        )

    def phone_facts(self, exported: Exported, version: str) -> dict[str, str]:
        """Return the release of ExecuTorch that the programs ask for."""
        return {"release": release(version) or release(exported.runs_on)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _short(full: str) -> str:
    return ".".join(full.split(".")[:2])


def _reference(module: "nn.Module") -> Predictor:
    """Return the quantized graph as a function from pictures to its own answers."""
    import torch

    def predict(images: "Tensor") -> "Tensor":
        with torch.no_grad():
            return torch.cat([module(part.contiguous()) for part in images.split(BATCH)])

    return predict


def _calls(program: Any) -> tuple[int, set[str]]:
    """Return how many parts of a program XNNPACK runs, and the operators left to others."""
    calls = [node.target for node in program.graph.nodes if node.op == "call_function"]
    names = [str(getattr(target, "__name__", target)) for target in calls]
    left = {name for name in names if name not in (DELEGATE, "getitem")}
    return names.count(DELEGATE), left


def _left(left: set[str]) -> str:
    return f"Left to other kernels: {', '.join(sorted(left))}." if left else ""


def _int8_calls(module: Any) -> tuple[int, int]:
    """Return how many operators of a PT2E graph stand between dequantize and quantize, and all."""
    calls = [node for node in module.graph.nodes if node.op == "call_function"]
    counted = [node for node in calls if "quantize" not in str(node.target)]
    return sum(_is_int8(node) for node in counted), len(counted)


def _is_int8(node: Any) -> bool:
    reads = [each for each in node.all_input_nodes if each.op == "call_function"]
    return bool(reads) and all("dequantize" in str(each.target) for each in reads)


def _not_carried(error: Exception) -> UnsupportedError:
    text = " ".join(str(error).split()).partition(". ")[0][:200].rstrip(".")
    return UnsupportedError(
        f"ExecuTorch cannot carry a part of this model: {text}.",
        "Choose TorchScript mobile, or ONNX.",
    )
