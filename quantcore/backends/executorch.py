"""ExecuTorch: PyTorch's runtime for phones, with XNNPACK's kernels, quantized through PT2E.

Its runtime takes graphs of its own, so all is made from the float model: `static`, `dynamic` and
`qat`. torch, torchao and executorch are imported inside functions that run in child processes only.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantcore.backends import pt2e, tuning, xnnpack
from quantcore.backends.base import FromFloat, RunsFormat, Step, Symbol, Toolchain
from quantcore.backends.options import DynamicOptions, Observer, QatOptions, StaticOptions
from quantcore.backends.torch_ao import module as torch_module
from quantcore.backends.torch_ao import training
from quantcore.errors import RequestError
from quantcore.formats import ExecuTorch, MeasuredFormat, executorch_program
from quantcore.images import ConversionInput, Split
from quantcore.models import LAYER_TYPES, Subject
from quantcore.schema import YES, Cause, Environment, Report, Setting, Support, Target, Tuning

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from quantcore.backends.base import Backend

PACKAGES = executorch_program.PACKAGES
OBSERVERS: tuple[Observer, ...] = ("minmax", "histogram")


@dataclass(frozen=True)
class ExecuTorchModel:
    """A lowered program.

    Attributes:
        program: as it would ship, without its provenance.
        digest: SHA-256 of the graph and the numbers that it was lowered from.
        tuning: what its conversion chose by itself.
    """

    program: executorch_program.Program
    digest: str
    tuning: Tuning | None = None

    module: ClassVar[None] = None

    @property
    def state_bytes(self) -> int:
        """Return the size of the weights and scales in the program."""
        return len(self.program.segments)

    def state(self) -> None:
        """Return none: no other backend's files are made from it."""

    def write(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write the file, the metadata inside."""
        path.write_bytes(self.program.with_provenance(metadata))


class ExecuTorchStep(FromFloat):
    """A step of this toolchain."""

    toolchain = "executorch"
    packages = PACKAGES

    def supports(self, options: Any, subject: Subject, backend: "Backend") -> Support:
        """Return yes where the model came with its source, and has no recurrent layers."""
        if subject.model.is_program:
            return Support(
                False,
                "ExecuTorch is given a model by torch.export, which reads its Python; this one "
                "came as a program.",
                "Upload the weights alone, or choose another backend.",
            )
        if recurrent := subject.model.recurrent:
            return Support(
                False,
                f"ExecuTorch has no {recurrent[0]}: it would write out every step of it, and take "
                "minutes over that.",
                "Choose dynamic on QNNPACK, which has kernels for it.",
            )
        return YES


class Float32(ExecuTorchStep):
    """The float model, lowered."""

    name = "float32"
    computes = "float"

    def convert(
        self,
        options: Any,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> ExecuTorchModel:
        """Return the float program."""
        report("exporting the float model", 0.0)
        return _lowered(pt2e.exported(inputs), inputs, report)


class Dynamic(ExecuTorchStep):
    """Linear layers with 8-bit weights, each input in a range of its own."""

    name = "dynamic"
    computes = "dynamic"

    def supports(self, options: DynamicOptions, subject: Subject, backend: "Backend") -> Support:
        """Return yes where linear layers are to become 8 bits."""
        if options.dtype != "qint8":
            return Support(
                False,
                "XNNPACK's dynamic kernels have 8-bit weights, not float16 ones.",
                "Use qint8 here, or float16 on x86 or fbgemm.",
            )
        return super().supports(options, subject, backend)

    def convert(
        self,
        options: DynamicOptions,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> ExecuTorchModel:
        """Return the program with the chosen linear layers' weights in 8 bits.

        Raises:
            RequestError: a layer is named that the model does not have.
        """
        report("exporting the float model", 0.0)
        graph = pt2e.exported(inputs)
        report("converting the weights", 0.3)
        chosen = _chosen(graph, options.layers)
        observed = pt2e.prepared(
            graph,
            "dynamic",
            only=lambda node: not pt2e.is_convolution(node) and pt2e.layer_of(node) in chosen,
        )
        # Ranges of weights are seen as they are used, whatever the picture.
        pt2e.predictor(observed)(torch_module.example(inputs.image_size))
        return _lowered(pt2e.converted(observed), inputs, report)


class Static(ExecuTorchStep):
    """Ranges from calibration pictures."""

    name = "static"

    def supports(self, options: StaticOptions, subject: Subject, backend: "Backend") -> Support:
        """Return yes for the settings that make sense with XNNPACK's kernels."""
        if options.observer not in (None, "auto", *OBSERVERS):
            return Support(
                False,
                f"PT2E has no {options.observer} observer.",
                "Choose auto, minmax or histogram.",
            )
        if options.reduce_range:
            return Support(
                False,
                "XNNPACK adds 8-bit products in 32 bits, which cannot overflow: no bit has to be "
                "left free.",
                "Leave reduce_range as it is.",
            )
        if options.bias_correction:
            return Support(
                False,
                "Biases are not corrected in the graphs that ExecuTorch is given.",
                "Leave bias_correction as it is, or use QAT, which trains them.",
            )
        return super().supports(options, subject, backend)

    def convert(
        self,
        options: StaticOptions,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> ExecuTorchModel:
        """Return the calibrated program."""
        report("exporting the float model", 0.0)
        quantization = _Quantization(options, inputs, report)
        observer, decibels = quantization.observer()
        module, kept, loss = quantization.quantized(observer)
        chosen = Tuning(
            observer=observer,
            sqnr_db=decibels,
            equalized=quantization.equalized,
            kept_float=kept,
            layers=len(quantization.layers),
            loss_points=loss,
        )
        return _lowered(module, inputs, report, chosen)


class _Quantization:
    """One model's static quantization, and the trials that it takes to choose."""

    def __init__(self, options: StaticOptions, inputs: ConversionInput, report: Report) -> None:
        self._options, self._inputs, self._report = options, inputs, report
        self.per_channel = options.per_channel is not False
        self.equalized = not self.per_channel if options.equalize is None else options.equalize
        self.graph = pt2e.exported(inputs, equalized=self.equalized)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The names of all layers; one that is called twice counts once."""
        return tuple(dict.fromkeys(map(pt2e.layer_of, pt2e.layers(self.graph))))

    def observer(self) -> tuple[Observer, dict[str, float]]:
        """Return how ranges are found, and the decibels of each way that was tried."""
        seen, unseen = tuning.parted(self._inputs.images, self._options.calibration_images)

        def trial(observer: Observer) -> tuning.Logits:
            module = self._calibrated(observer, (), seen, len(seen))
            return tuning.answers(pt2e.predictor(pt2e.converted(module)), unseen)

        reference = lambda: tuning.answers(pt2e.predictor(self.graph), unseen)  # noqa: E731
        return tuning.best_observer(self._options.observer, OBSERVERS, trial, reference)

    def quantized(self, observer: Observer) -> "tuple[GraphModule, tuple[str, ...], float | None]":
        """Return the rounded graph, its layers that stay in float, and what is lost, in points."""
        observed = self._observed(observer, ())
        weights = pt2e.float_weights(observed)
        quantized = pt2e.converted(observed)

        def trial(names: Collection[str], split: Split) -> tuning.Logits:
            with pt2e.reverted(quantized, names, weights):
                return tuning.answers(pt2e.predictor(quantized), split)

        kept, loss = tuning.kept_float(
            self.layers,
            lambda split: tuning.answers(pt2e.predictor(self.graph), split),
            trial,
            self._inputs.images,
            self._options,
            self._report,
        )
        if kept:
            # What only float layers read and give needs no rounding either.
            quantized = pt2e.converted(self._observed(observer, kept))
        return quantized, kept, loss

    def _observed(self, observer: Observer, kept: Sequence[str]) -> "GraphModule":
        split = self._inputs.images.calibration
        return self._calibrated(observer, kept, split, self._options.calibration_images)

    def _calibrated(
        self, observer: Observer, kept: Sequence[str], split: Any, count: int
    ) -> "GraphModule":
        ranges: pt2e.Ranges = "minmax" if observer == "minmax" else "histogram"
        module = pt2e.prepared(self.graph, ranges, per_channel=self.per_channel, kept=kept)
        pt2e.calibrate(module, split, count, self._report)
        return module


class Qat(ExecuTorchStep):
    """Trained with XNNPACK's rounding in the loop."""

    name = "qat"

    def convert(
        self,
        options: QatOptions,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> ExecuTorchModel:
        """Return the fine-tuned program."""
        report("exporting the float model", 0.0)
        per_channel = options.per_channel is not False
        equalized = not per_channel if options.equalize is None else options.equalize
        graph = pt2e.exported(inputs, equalized=equalized)
        observed = pt2e.prepared(graph, "trained", per_channel=per_channel)
        module = training.trained(options, observed, inputs, pt2e.converted, report)
        return _lowered(module, inputs, report)


STEPS: dict[str, Step] = {
    "float32": Float32(),
    "dynamic": Dynamic(),
    "static": Static(),
    "qat": Qat(),
}


def _lowered(
    module: "GraphModule", inputs: ConversionInput, report: Report, chosen: Tuning | None = None
) -> ExecuTorchModel:
    report("lowering to XNNPACK", 0.6)
    program = xnnpack.lowered(module, torch_module.example(inputs.image_size)[:1])
    # The scales of activations stand in the graph, those of weights among the numbers.
    total = hashlib.sha256(str(module.graph).encode())
    total.update(torch_module.state_digest(module).encode())
    return ExecuTorchModel(program, total.hexdigest(), chosen)


def _chosen(graph: "GraphModule", names: Sequence[str]) -> set[str]:
    """Return the linear layers that are of a named type, or within a named submodule.

    Raises:
        RequestError: there is no such layer.
    """
    linear = [pt2e.layer_of(node) for node in pt2e.layers(graph) if pt2e.is_linear(node)]
    chosen: set[str] = set()
    for name in names:
        within = {each for each in linear if f"{each}.".startswith(f"{name}.")}
        if name not in LAYER_TYPES and not within:
            raise RequestError(
                f"The model has no submodule {name!r} with linear layers.",
                f"Name layer types (Linear), or some of {', '.join(linear[:8])}.",
            )
        chosen |= set(linear) if name == "Linear" else within
    return chosen


@dataclass(frozen=True)
class ExecuTorchBackend(RunsFormat):
    """ExecuTorch with XNNPACK on the processor."""

    name: ClassVar[str] = "executorch"
    aliases: ClassVar[tuple[str, ...]] = ("xnnpack",)
    title: ClassVar[str] = "ExecuTorch"
    summary: ClassVar[str] = (
        "Android and iOS, after PyTorch Mobile. Runs XNNPACK's kernels, made for ARM and x86."
    )
    targets: ClassVar[tuple[Target, ...]] = ("phone",)
    format: ClassVar[MeasuredFormat] = ExecuTorch()
    toolchain: ClassVar[Toolchain] = Toolchain("executorch", STEPS, PACKAGES)
    float_backend: ClassVar[str | None] = "executorch"
    per_channel: ClassVar[bool] = True
    observer: ClassVar[Observer] = "histogram"
    symbol: ClassVar[Symbol] = "bowtie"
    pace: ClassVar[float] = 1.5
    engine: ClassVar[str | None] = None
    saturates: ClassVar[bool] = False
    rounds_biases: ClassVar[bool] = True

    def delegated(self, path: Path) -> float:
        """Return the share of a file's multiply-adds that XNNPACK runs."""
        return executorch_program.Program(path.read_bytes()).work().delegated

    def speed_causes(self, environment: Environment) -> tuple[Cause, ...]:
        """Return none: XNNPACK has 8-bit kernels for every processor that it runs on."""
        return ()

    def accuracy_causes(
        self, settings: Mapping[str, Setting], environment: Environment
    ) -> tuple[Cause, ...]:
        """Return none: its ranges are full."""
        return ()


BACKEND = ExecuTorchBackend()
