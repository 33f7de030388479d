"""What torch's toolchain does for each workflow. `TORCH` is the list; `TORCH_BFLOAT16` has `half`.

Torch is imported inside functions that run in child processes only.
"""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from quantcore import models, wording
from quantcore.backends.base import Recipe, Step, Toolchain
from quantcore.backends.options import DynamicOptions, QatOptions, StaticOptions
from quantcore.backends.torch_ao import (
    calibration,
    dynamic,
    graph,
    half,
    kept,
    qconfigs,
    static,
    training,
)
from quantcore.backends.torch_ao.module import TorchModel, evaluated
from quantcore.backends.torch_ao.numerics import ONEDNN, QNNPACK, X86, Numerics
from quantcore.formats import LayerKind, torchscript
from quantcore.images import ConversionInput
from quantcore.models import LAYER_TYPES, Subject
from quantcore.schema import YES, Environment, Report, Support, Tuning, current_environment

if TYPE_CHECKING:
    from torch import nn


class Engine(Protocol):
    """What a step of torch's reads of the backend that it is asked for."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def engine(self) -> str | None: ...  # noqa: D102
    @property
    def numerics(self) -> Numerics: ...  # noqa: D102
    @property
    def takes_float16(self) -> bool: ...  # noqa: D102


class TorchStep:
    """A step that needs no checkpoint, and supports every model."""

    note: ClassVar[str] = ""

    def supports(self, options: Any, subject: Subject, backend: Engine) -> Support:
        """Return yes."""
        return YES

    def checkpoint(self, backend: Engine) -> str | None:
        """Return None: it starts from the float weights."""
        return None


class Float32(TorchStep):
    """The float module as it is."""

    def layer_kind(self, options: object) -> LayerKind:
        """Return the model's own layers."""
        return "float"

    def recipe(self, options: Any, backend: Engine, environment: Environment) -> Recipe:
        """Return one name for all engines: none changes a float model."""
        return Recipe("float32")

    def convert(
        self, _: Any, inputs: ConversionInput, backend: Engine, report: Report, state: Path | None
    ) -> TorchModel:
        """Return the float module."""
        report("loading the model", 0.0)
        module = evaluated(models.build(inputs.spec))
        return TorchModel(module, inputs.image_size, backend.engine)


class Pretrained(TorchStep):
    """A checkpoint that was quantized by whoever published it."""

    def supports(self, options: Any, subject: Subject, backend: Engine) -> Support:
        """Return yes where a checkpoint for the engine's kernels exists."""
        engines = subject.model.pretrained_engines
        if backend.engine in engines:
            return YES
        if engines:
            return Support(
                False,
                f"No ready-quantized {subject.model.title} was made for {backend.title}.",
                f"Use static or QAT instead, or {wording.choice(engines)}.",
            )
        return Support(
            False,
            f"Nobody has published a ready-quantized {subject.model.title}.",
            "Use static or QAT; for models of linear layers or LSTMs, dynamic.",
        )

    def layer_kind(self, options: object) -> LayerKind:
        """Return 8-bit layers in fixed ranges."""
        return "static"

    def recipe(self, options: Any, backend: Engine, environment: Environment) -> Recipe:
        """Return the configuration that the checkpoint was made for."""
        return Recipe(backend.numerics.qconfig)

    def checkpoint(self, backend: Engine) -> str | None:
        """Return the configuration that names the checkpoint."""
        return backend.numerics.qconfig

    def convert(
        self, _: Any, inputs: ConversionInput, backend: Engine, report: Report, state: Path | None
    ) -> TorchModel:
        """Return the checkpoint in its quantized module."""
        report("loading the ready-quantized checkpoint", 0.0)
        module = models.ready_quantized(inputs.spec, backend.numerics.qconfig)
        return TorchModel(evaluated(module), inputs.image_size, backend.engine)


class Dynamic(TorchStep):
    """Linear and recurrent layers with 8-bit (or half precision) weights."""

    def supports(self, options: DynamicOptions, subject: Subject, backend: Engine) -> Support:
        """Return yes where the engine has kernels for such weights."""
        if options.dtype == "float16" and not backend.takes_float16:
            return Support(
                False,
                f"{backend.title} has no kernels for float16 weights.",
                "Use qint8 here, or float16 on x86 or fbgemm.",
            )
        if subject.model.is_program and options.layers != LAYER_TYPES:
            return Support(
                False,
                "A program's layers cannot be chosen one by one.",
                "Leave layers as it is: every linear layer is converted.",
            )
        return YES

    def layer_kind(self, options: DynamicOptions) -> LayerKind:
        """Return 8-bit layers, or float ones whose weights were halved."""
        return "half" if options.dtype == "float16" else "dynamic"

    def recipe(self, options: Any, backend: Engine, environment: Environment) -> Recipe:
        """Return one name for all engines: the weights are quantized alike for each."""
        return Recipe("dynamic")

    def convert(
        self,
        options: DynamicOptions,
        inputs: ConversionInput,
        backend: Engine,
        report: Report,
        state: Path | None,
    ) -> TorchModel:
        """Return the module with the chosen layers converted."""
        report("converting the weights", 0.0)
        torchscript.activate(backend.engine)
        module = dynamic.converted(inputs, options.layers, options.dtype)
        return TorchModel(evaluated(module), inputs.image_size, backend.engine)


class Static(TorchStep):
    """Layers fused, activations observed on calibration pictures, then converted."""

    def supports(self, options: StaticOptions, subject: Subject, backend: Engine) -> Support:
        """Return yes where torch can observe the model, and has what the settings ask for."""
        if subject.model.is_program and options.equalize:
            return Support(
                False,
                "Layers of a program cannot be balanced before they are converted.",
                "Leave equalize as it is.",
            )
        if options.observer == "entropy":
            return Support(
                False,
                "torch has no observer that goes by entropy.",
                f"Choose {wording.choice(qconfigs.OBSERVERS)}, or auto, which tries them.",
            )
        if options.reduce_range is False:
            full = full_range(backend, subject.environment)
            if not full.ok:
                return full
        return observable(subject)

    def layer_kind(self, options: StaticOptions) -> LayerKind:
        """Return 8-bit layers in fixed ranges."""
        return "static"

    def recipe(self, options: StaticOptions, backend: Engine, environment: Environment) -> Recipe:
        """Return the configuration with its range; x86 and FBGEMM share one."""
        numerics = ranges(options, backend, environment)
        is_own = numerics in (X86, ONEDNN, QNNPACK)
        return Recipe(numerics.qconfig if is_own else f"{numerics.qconfig} with 7 bits")

    def convert(
        self,
        options: StaticOptions,
        inputs: ConversionInput,
        backend: Engine,
        report: Report,
        state: Path | None,
    ) -> TorchModel:
        """Return the calibrated, converted module."""
        report("fusing layers", 0.0)
        torchscript.activate(backend.engine)
        numerics = ranges(options, backend, current_environment())
        if state is not None:
            qconfig = qconfigs.static_qconfig(numerics, "minmax", options.per_channel)
            module = filled(state, inputs, numerics, qconfig, is_qat=False)
            return costly(module, inputs, backend.engine)
        module, tuned = static.Conversion(options, inputs, numerics, report).run()
        return costly(module, inputs, backend.engine, tuned)


def ranges(options: StaticOptions, backend: Engine, environment: Environment) -> Numerics:
    """Return the engine's numerics with the range of activations that is asked for.

    Where none is, activations take all 8 bits wherever the engine's sums stay exact.
    """
    reduced = options.reduce_range
    if reduced is None:
        reduced = not full_range(backend, environment).ok
    if backend.numerics == ONEDNN and reduced:
        return X86  # Alike but for the range, so the work is done once.
    return replace(backend.numerics, reduce_range=reduced)


def full_range(backend: Engine, environment: Environment) -> Support:
    """Return whether sums of activations of all 8 bits are exact in the engine's kernels."""
    if backend.numerics.reduce_range:
        return Support(
            False,
            f"{backend.title} runs depthwise layers in FBGEMM's kernels, which add products in 16 "
            "bits on every processor: with all 8 bits of activations they overflow.",
            "Leave reduce_range as it is, or use onednn, which adds in 32 bits where there is "
            "VNNI.",
        )
    if backend.numerics == ONEDNN and environment.lacks_vnni:
        return Support(
            False,
            "This processor has no VNNI: oneDNN then adds products in 16 bits, which overflow with "
            "all 8 bits of activations.",
            "Leave reduce_range as it is, or convert on a machine that has VNNI.",
        )
    return YES


class Half(TorchStep):
    """The float module in bfloat16."""

    def supports(self, options: object, subject: Subject, backend: Engine) -> Support:
        """Return yes where the processor computes in bfloat16."""
        if not subject.environment.has_bfloat16:
            return Support(
                False,
                "This processor has no bfloat16 arithmetic: torch would be slower than in float32.",
                "Use half on onnxruntime or openvino for a file of half the size, or static.",
            )
        return YES

    def layer_kind(self, options: object) -> LayerKind:
        """Return layers in half precision."""
        return "half"

    def recipe(self, options: Any, backend: Engine, environment: Environment) -> Recipe:
        """Return one name: the numbers are the model's own, rounded."""
        return Recipe("bfloat16")

    def convert(
        self, _: Any, inputs: ConversionInput, backend: Engine, report: Report, state: Path | None
    ) -> TorchModel:
        """Return the module in bfloat16."""
        report("rounding to 16 bits", 0.0)
        torchscript.activate(backend.engine)
        return TorchModel(half.halved(inputs), inputs.image_size, backend.engine)


class Qat(TorchStep):
    """Fine-tuned with 8-bit rounding in the loop, then converted."""

    def supports(self, options: QatOptions, subject: Subject, backend: Engine) -> Support:
        """Return yes where torch can observe the architecture, and it came with its source."""
        return trainable(subject)

    def layer_kind(self, options: QatOptions) -> LayerKind:
        """Return 8-bit layers in fixed ranges."""
        return "static"

    def recipe(self, options: Any, backend: Engine, environment: Environment) -> Recipe:
        """Return the configuration trained for; x86, FBGEMM and oneDNN share one."""
        return Recipe(self.trained_for(backend).qconfig)

    def trained_for(self, backend: Engine) -> Numerics:
        """Return the numerics that are trained for.

        oneDNN would take activations of a full 8 bits, which its sums overflow on without VNNI.
        Training makes up for the bit that x86's configuration leaves free, and one training then
        serves all three.
        """
        return X86 if backend.numerics == ONEDNN else backend.numerics

    def convert(
        self,
        options: QatOptions,
        inputs: ConversionInput,
        backend: Engine,
        report: Report,
        state: Path | None,
    ) -> TorchModel:
        """Return the fine-tuned, converted module."""
        torchscript.activate(backend.engine)
        module = trained(options, inputs, self.trained_for(backend), report, state)
        return costly(module, inputs, backend.engine)


def trained(
    options: QatOptions,
    inputs: ConversionInput,
    numerics: Numerics,
    report: Report,
    state: Path | None,
) -> "nn.Module":
    """Return the module trained for these numerics and converted, or made from its state."""
    if state is None:
        return training.fine_tuned(options, inputs, numerics, report)
    qconfig = qconfigs.qat_qconfig(numerics, options.per_channel)
    return filled(state, inputs, numerics, qconfig, is_qat=True)


def filled(
    state: Path, inputs: ConversionInput, numerics: Numerics, qconfig: Any, *, is_qat: bool
) -> "nn.Module":
    """Return a converted module that has seen no picture, with the numbers of a state dict."""
    import torch

    numbers = torch.load(state, weights_only=True)
    with warnings.catch_warnings():
        # Observers that saw nothing warn, and here none is meant to see anything.
        warnings.simplefilter("ignore")
        prepared = calibration.prepared(inputs, numerics, qconfig, is_qat)
        observed = copy.deepcopy(prepared)
        module = calibration.converted(prepared, inputs)
        if not is_qat:
            kept.keep(module, observed, kept.names_in(numbers, static.units(observed)))
    module.load_state_dict(numbers)
    return module


def costly(
    module: "nn.Module",
    inputs: ConversionInput,
    engine: str | None,
    tuned: Tuning | None = None,
) -> TorchModel:
    """Return a converted module whose numbers took pictures to find."""
    return TorchModel(
        evaluated(module),
        inputs.image_size,
        engine,
        is_costly=not inputs.model.is_program,
        tuning=tuned,
    )


def observable(subject: Subject) -> Support:
    """Return whether torch can fuse and observe the architecture."""
    if subject.model.static_mode is None:
        return Support(False, subject.model.static_refusal, "Use dynamic quantization.")
    return YES


def trainable(subject: Subject, engine: str | None = None) -> Support:
    """Return whether torch can put fake quantization into the architecture, and has the engine.

    Backends of other runtimes name the engine whose training they share.
    """
    engines = subject.environment.engines
    if engine is not None and engine not in engines:
        return Support(
            False,
            f"Training for it takes torch's {engine} kernels, which torch on this "
            f"{subject.environment.machine} machine does not have.",
            f"Use static, or train for {wording.choice(engines)}.",
        )
    if subject.model.static_mode == graph.MODE:
        return Support(False, graph.NO_SOURCE, "Use static, or upload the weights alone.")
    return observable(subject)


STEPS: Mapping[str, Step] = {
    "float32": Float32(),
    "pretrained": Pretrained(),
    "dynamic": Dynamic(),
    "static": Static(),
    "qat": Qat(),
}
TORCH = Toolchain("torch", STEPS, makes_modules=True)
TORCH_BFLOAT16 = replace(TORCH, steps={**STEPS, "half": Half()})
