"""TorchScript: the module traced or scripted, frozen, with what it was made from inside."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantcore.errors import UnsupportedError
from quantcore.formats import archive
from quantcore.formats.base import METADATA, Kernels, Planned, Predictor, Source, Written
from quantcore.formats.calls import operator_calls
from quantcore.formats.multiply_adds import float_multiply_adds
from quantcore.formats.programs import TEMPLATES, PythonCode
from quantcore.schema import YES, Check, Exported, Pass, Report, Support, Target

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "torchscript"
CAPTURED, TRACED, SCRIPTED, PROGRAM = "captured", "traced", "scripted", "as it came"
# How far a trace's logits may be from the module's: folding rounds elsewhere, but never so far.
TOLERANCE = 1e-3
_DEBUG = ".debug_pkl"
# Python that asks a loaded model.
RUN = "with torch.inference_mode():\n    scores = model(torch.from_numpy(batch))[0].numpy()"


class TorchFile:
    """What TorchScript and its mobile form share: torch writes both and runs both exactly."""

    package: ClassVar[str] = "torch"
    modules: ClassVar[tuple[str, ...]] = ()
    is_exact: ClassVar[bool] = True
    needs_source: ClassVar[bool] = False

    def supports(self, planned: Planned) -> Support:
        """Return yes: what is measured was traced, and what was traced can be interpreted."""
        return YES

    def versions(self) -> dict[str, str]:
        """Return none: torch's own is in every key."""
        return {}


@dataclass(frozen=True)
class TorchScript(TorchFile):
    """The file that torch's backends run, and are measured with: for Python and C++."""

    name: ClassVar[str] = FORMAT
    aliases: ClassVar[tuple[str, ...]] = ("pt",)
    title: ClassVar[str] = "TorchScript"
    summary: ClassVar[str] = "For PyTorch in Python or C++: the file that torch’s backends run."
    suffix: ClassVar[str] = ".pt"
    runtime: ClassVar[str] = "TorchScript"
    targets: ClassVar[tuple[Target, ...]] = ("server",)
    phone_engine: ClassVar[str | None] = None
    max_overhead: ClassVar[float | None] = None
    templates: ClassVar[Path] = TEMPLATES / "torchscript"

    def write(self, source: Source, path: Path, report: Report) -> Written:
        """Take the variant's own file as it is."""
        import torch

        report("reading the TorchScript file", 0.5)
        shutil.copyfile(source.file, path)
        module = self.module(source.file, source.kernels)
        how = _how(source.file)
        calls = operator_calls(module, source.example[:1])
        return Written(
            passes=_passes(how.get(CAPTURED, TRACED)),
            operators=tuple(sorted(torch.jit.export_opnames(module))),
            engines=(source.kernels.engine,) if source.kernels.engine else (),
            runs_on=f"PyTorch {torch.__version__.partition('+')[0]} or newer that still has "
            "quantized tensors, in Python or C++",
            int8_operators=calls.int8,
            total_operators=calls.total,
        )

    def load(self, path: Path, kernels: Kernels, threads: int) -> Predictor:
        """Return the file as the app runs it; torch's threads are the process's."""
        import torch

        module = self.module(path, kernels)
        if holds_float_compute(module):
            # Saved after this pass a file silently loses weights, so it runs after every load.
            module = torch.jit.optimize_for_inference(module)

        def predict(images: "Tensor") -> "Tensor":
            with torch.inference_mode():
                logits: Tensor = module(images)
            return logits

        return predict

    def float_multiply_adds(
        self, path: Path, kernels: Kernels, image_size: int, scratch: Path
    ) -> int:
        """Return the multiply-adds in float of one picture, counted as the file runs."""
        import torch

        module = self.module(path, kernels)
        return float_multiply_adds(module, torch.zeros(1, 3, image_size, image_size))

    def module(self, path: Path, kernels: Kernels) -> Any:
        """Return the module of a file.

        Weights are packed for whichever engine is set while the file loads, so it is set first.
        """
        import torch

        activate(kernels.engine)
        return torch.jit.load(path, map_location="cpu")

    def relabel(
        self, source: Path, kernels: Kernels, metadata: Mapping[str, object], path: Path
    ) -> None:
        """Write the file again, its weights packed for the other backend's engine."""
        save(self.module(source, kernels), kernels.engine, {**metadata, **_how(source)}, path)

    def read_metadata(self, path: Path) -> dict[str, object]:
        """Return the metadata that `save` wrote beside the weights."""
        return read_metadata(path)

    def checks(self, path: Path) -> tuple[Check, ...]:
        """Return none: that it loads and answers is all there is to see."""
        return ()

    def python(self, kernels: Kernels) -> PythonCode:
        """Return the lines for PyTorch."""
        return PythonCode(
            "import torch", f"{engine_line(kernels)}model = torch.jit.load({{path}})", RUN
        )

    def phone_facts(self, exported: Exported, version: str) -> dict[str, str]:
        """Return none: phones run the mobile form."""
        return {}


def engine_line(kernels: Kernels) -> str:
    """Return the line of Python that sets torch's quantized engine; empty where none is needed."""
    return f'torch.backends.quantized.engine = "{kernels.engine}"\n' if kernels.engine else ""


def _passes(how: str) -> tuple[Pass, ...]:
    if how == TRACED:
        why = "The trace answers as the model does, so its source need not be compiled."
        return Pass("trace", True), Pass("script", False, why), Pass("freeze", True)
    if how == PROGRAM:
        why = "It came as TorchScript."
        return Pass("trace", False, why), Pass("script", False, why), Pass("freeze", True)
    why = "The model takes another path for each picture, which a trace cannot follow."
    return Pass("trace", False, why), Pass("script", True), Pass("freeze", True)


def activate(engine: str | None) -> None:
    """Set torch's quantized engine in this process, where a file needs one.

    It is global: call it in a child, before any conversion or load.
    """
    import torch

    if engine is not None:
        torch.backends.quantized.engine = engine


def holds_float_compute(module: object) -> bool:
    """Return whether the TorchScript module has float convolutions left to optimize."""
    graph = module.inlined_graph  # type: ignore[attr-defined]
    return any(graph.findNode(kind) is not None for kind in ("aten::_convolution", "aten::conv2d"))


def export(
    module: "nn.Module",
    example: "Tensor",
    engine: str | None,
    metadata: Mapping[str, object],
    path: Path,
) -> None:
    """Write the module to `path`, as it answers for `example` and any other batch size.

    The engine must be active already: a quantized module can only be traced by the engine that
    its weights were packed for.

    `example` holds pictures `[N, 3, H, W]`; `metadata` goes into the file as JSON, for whoever
    finds it later.

    Raises:
        UnsupportedError: neither the traced nor the scripted module answers as the module itself.
    """
    import torch

    script, how = captured(module, example)
    with torch.no_grad():
        frozen = script if how == PROGRAM else torch.jit.freeze(script)
        if not _answers_alike(frozen, module, example):
            raise _unfaithful()
    # Recorded only for the few that are not traced.
    extra = {} if how == TRACED else {CAPTURED: how}
    save(frozen, engine, {**metadata, **extra}, path)


def captured(module: "nn.Module", example: "Tensor") -> tuple[Any, str]:
    """Return the module as TorchScript, not frozen yet, and how: `traced` or `scripted`.

    Scripted only where a trace does not answer as the module does. What is TorchScript already
    stays as it is, frozen.

    Raises:
        UnsupportedError: neither does.
    """
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return module, PROGRAM
    module.eval()
    # torch's fused attention is one opaque operator; the plain ones can be counted and exported.
    torch.backends.mha.set_fastpath_enabled(False)
    # Not in inference mode: tensors born in it cannot be saved in a module.
    with torch.no_grad():
        traced = _traced(module, example)
        if _answers_alike(traced, module, example):
            return traced, TRACED
        try:
            scripted = torch.jit.script(module)
        # Source that is not TorchScript: one of several errors that torch derives from this one.
        except RuntimeError as error:
            raise _unfaithful() from error
        if _answers_alike(scripted, module, example):
            return scripted, SCRIPTED
    raise _unfaithful()


def _traced(module: "nn.Module", example: "Tensor") -> Any:
    import torch

    try:
        return torch.jit.trace(module, example, check_trace=False)
    except RuntimeError as error:
        # torch 2.13's mean of an 8-bit map that is one pixel large and lies channels last.
        if "channels_last" not in str(error):
            raise
        side = example.shape[-1]
        raise UnsupportedError(
            f"At {side} px this model's last feature map is a single pixel, which torch cannot "
            "average in 8 bits.",
            f"Choose larger images, {2 * side} px or more.",
        ) from error


def _answers_alike(script: Any, module: "nn.Module", example: "Tensor") -> bool:
    import torch

    expected, traced = module(example[:1]), script(example[:1])
    return torch.allclose(expected, traced, rtol=TOLERANCE, atol=TOLERANCE)


def _unfaithful() -> UnsupportedError:
    return UnsupportedError(
        "The model takes another path for each picture, and its source cannot be compiled.",
        "Choose another workflow; this one has no file to ship.",
    )


def save(module: object, engine: str | None, metadata: Mapping[str, object], path: Path) -> None:
    """Write a TorchScript module with its metadata, which names the engine that loads it.

    Without torch's debug records: they name the folders of this machine, and so make the file of
    one model differ in bytes and size from machine to machine.
    """
    text = json.dumps({**metadata, "engine": engine}, sort_keys=True)
    # Through memory: on a full disk, torch's own writer ends the process instead of raising.
    content: bytes = module.save_to_buffer(_extra_files={METADATA: text})  # type: ignore[attr-defined]
    path.write_bytes(archive.rewritten(content, lambda name: not name.endswith(_DEBUG)))


def _how(path: Path) -> dict[str, str]:
    """Return the recorded capture method of a file's module; empty where it was traced."""
    extra = read_metadata(path)
    return {CAPTURED: str(extra[CAPTURED])} if CAPTURED in extra else {}


def read_metadata(path: Path) -> dict[str, object]:
    """Return the metadata that `save` wrote beside the weights.

    It loads the file, so it is called in child processes only.
    """
    import torch

    files = {METADATA: ""}
    torch.jit.load(path, map_location="cpu", _extra_files=files)
    content: dict[str, object] = json.loads(files[METADATA]) if files[METADATA] else {}
    return content
