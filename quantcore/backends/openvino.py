"""OpenVINO: Intel's runtime, and its own quantizer (NNCF) on graphs that come by way of ONNX.

openvino, nncf and onnx are imported inside functions that run in child processes only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantcore.backends import nncf, onnxruntime, tuning
from quantcore.backends.base import (
    NO_VNNI,
    FromFloat,
    Recipe,
    RunsFormat,
    Step,
    Symbol,
    Toolchain,
    reduces_range,
)
from quantcore.backends.options import Observer, QatOptions, StaticOptions
from quantcore.backends.torch_ao import numerics, steps
from quantcore.formats import LayerKind, MeasuredFormat, OpenVino, openvino, torchscript
from quantcore.images import ConversionInput
from quantcore.models import Subject
from quantcore.schema import (
    YES,
    Cause,
    Environment,
    Report,
    Setting,
    Support,
    Target,
    Tuning,
    current_environment,
)
from quantcore.settings import physical_cores

if TYPE_CHECKING:
    from quantcore.backends.base import Backend

PACKAGES = ("openvino", "nncf", "onnx")
# What `observer=auto` tries; percentiles were never best, on bundled models nor real weights.
TRIED: tuple[Observer, ...] = ("minmax", "histogram")
REDUCED = Cause(
    "Its weights take 128 of 256 steps, so that sums stay exact without VNNI.",
    "Set reduce_range=no where it runs on processors with VNNI.",
)


@dataclass(frozen=True)
class OpenVinoModel:
    """A graph for any number of pictures.

    Attributes:
        ir: the graph as its files hold it.
        kept: the state of the torch module that it was exported from, if that took training.
        tuning: what its conversion chose by itself.
    """

    ir: openvino.Ir
    kept: bytes | None = None
    tuning: Tuning | None = None

    module: ClassVar[None] = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the graph and its numbers, whatever its metadata says."""
        return self.ir.digest

    @property
    def state_bytes(self) -> int:
        """Return the size of the numbers in the graph."""
        return len(self.ir.weights)

    def state(self) -> bytes | None:
        """Return the torch module's state, from which other backends' files are made as well."""
        return self.kept

    def write(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write the file, the metadata inside."""
        openvino.save(self.ir, metadata, path)


class OpenVinoStep(FromFloat):
    """A step of this toolchain."""

    toolchain = "openvino"
    packages = PACKAGES


@dataclass(frozen=True)
class Float(OpenVinoStep):
    """The float model as a graph, its weights in 32 bits or in 16."""

    name: str  # type: ignore[misc]
    half: bool

    @property
    def computes(self) -> LayerKind:  # type: ignore[override]
        """Return `half` or `float`."""
        return "half" if self.half else "float"

    def convert(
        self,
        options: Any,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> OpenVinoModel:
        """Return the graph."""
        model = float_model(inputs, report)
        return OpenVinoModel(openvino.ir_of(model, inputs.scratch, half=self.half))


class Static(OpenVinoStep):
    """Ranges from calibration pictures, by NNCF."""

    name = "static"
    computes = "static"

    def supports(self, options: StaticOptions, subject: Subject, backend: "Backend") -> Support:
        """Return yes unless something is asked for that NNCF does not have."""
        if options.observer == "entropy":
            return Support(
                False,
                "NNCF has no observer by entropy.",
                f"Choose {', '.join(nncf.RANGES)} or auto.",
            )
        if options.equalize:
            return Support(
                False,
                "NNCF balances the linear layers of transformers by itself, and its way for "
                "convolutions fails on OpenVINO's graphs.",
                "Leave equalize as it is.",
            )
        return YES

    def recipe(
        self, options: StaticOptions, backend: "Backend", environment: Environment
    ) -> Recipe:
        """Return a name that tells whether weights leave a bit free."""
        bits = 7 if reduces_range(options.reduce_range, environment) else 8
        return Recipe(f"openvino {self.name}, {bits} bits", PACKAGES)

    def convert(
        self,
        options: StaticOptions,
        inputs: ConversionInput,
        backend: "Backend",
        report: Report,
        state: Path | None,
    ) -> OpenVinoModel:
        """Return the calibrated graph."""
        trials = Trials(float_model(inputs, report), options, inputs, report)
        chosen = trials.observed()
        model = trials.quantized(chosen.observer)
        layers = nncf.layers(model)
        kept, loss = trials.kept_float(model, layers)
        if kept:
            model = nncf.with_float(model, kept)
        ir = openvino.ir_of(nncf.packed(model), inputs.scratch)
        chosen = replace(chosen, kept_float=kept, layers=len(layers), loss_points=loss)
        return OpenVinoModel(ir, tuning=chosen)


class Trials:
    """Trials of one static conversion, and the answers that they are judged by."""

    def __init__(
        self,
        model: Any,
        options: StaticOptions,
        inputs: ConversionInput,
        report: Report,
    ) -> None:
        """Take the float `openvino.Model`, and what `Step.convert` takes."""
        self._model = model
        self._options = options
        self._images = inputs.images
        self._report = report
        self._reduces = reduces_range(options.reduce_range, current_environment())

    def observed(self) -> Tuning:
        """Return how ranges are found, which is tried out where that was asked for."""
        observer, found = self._best_observer()
        return Tuning(
            observer,
            found,
            reduce_range=self._reduces,
            bias_correction=self._options.bias_correction is not False,
            equalized=nncf.is_transformer(self._model) and self._options.equalize is not False,
        )

    def _best_observer(self) -> tuple[Observer, dict[str, float]]:
        calibrating, judging = tuning.parted(self._images, self._options.calibration_images)
        trial = lambda observer: self._answers(  # noqa: E731
            self._quantizer(observer).quantized(self._model, calibrating, self._report), judging
        )
        reference = lambda: self._answers(self._model, judging)  # noqa: E731
        return tuning.best_observer(self._options.observer, TRIED, trial, reference)

    def quantized(self, observer: Any) -> Any:
        """Return the model calibrated on all pictures asked for."""
        split = self._images.calibration.first(self._options.calibration_images)
        return self._quantizer(observer).quantized(self._model, split, self._report)

    def _quantizer(self, observer: Observer) -> nncf.Quantizer:
        return nncf.Quantizer(
            observer,
            per_channel=self._options.per_channel is not False,
            reduce_range=self._reduces,
            bias_correction=self._options.bias_correction,
            equalize=self._options.equalize is not False,
        )

    def _answers(self, model: Any, split: Any) -> tuning.Logits:
        return tuning.answers(openvino.predictor(model, physical_cores(), half=False), split)

    def kept_float(self, model: Any, layers: Sequence[str]) -> tuple[tuple[str, ...], float | None]:
        """Return the layers that stay in float, and the loss in points that is left."""
        return tuning.kept_float(
            layers,
            lambda split: self._answers(self._model, split),
            lambda names, split: self._answers(nncf.with_float(model, names), split),
            self._images,
            self._options,
            self._report,
        )


class Qat(OpenVinoStep):
    """Trained by torch for x86's ranges, which need no VNNI, then exported by way of ONNX."""

    name = "qat"
    computes = "static"

    def supports(self, options: QatOptions, subject: Subject, backend: "Backend") -> Support:
        """Return yes where torch can train it."""
        return steps.trainable(subject, onnxruntime.ENGINE)

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
    ) -> OpenVinoModel:
        """Return the trained module as a graph.

        Raises:
            UnsupportedError: an operator of the trained module has no form in ONNX or OpenVINO.
        """
        torchscript.activate(onnxruntime.ENGINE)
        module = steps.trained(options, inputs, numerics.X86, report, state)
        made = steps.costly(module, inputs, onnxruntime.ENGINE)
        model = openvino.from_onnx(onnxruntime.graph_of(made.module, inputs), inputs.scratch)
        return OpenVinoModel(openvino.ir_of(model, inputs.scratch), made.state())


STEPS: dict[str, Step] = {
    "float32": Float("float32", half=False),
    "half": Float("half", half=True),
    "static": Static(),
    "qat": Qat(),
}


def float_model(inputs: ConversionInput, report: Report) -> Any:
    """Return the float model as an `openvino.Model`.

    Raises:
        UnsupportedError: an operator of the model has no form in ONNX or OpenVINO.
    """
    graph = onnxruntime.float_graph(inputs, report)
    report("converting to OpenVINO", 0.1)
    return openvino.from_onnx(graph, inputs.scratch)


@dataclass(frozen=True)
class OpenVinoBackend(RunsFormat):
    """OpenVINO on the processor, with kernels of its own."""

    name: ClassVar[str] = "openvino"
    aliases: ClassVar[tuple[str, ...]] = ("ov", "nncf")
    title: ClassVar[str] = "OpenVINO"
    summary: ClassVar[str] = (
        "Intel's runtime for servers and PCs; NNCF quantizes for it. Often the fastest there."
    )
    targets: ClassVar[tuple[Target, ...]] = ("server",)
    format: ClassVar[MeasuredFormat] = OpenVino()
    toolchain: ClassVar[Toolchain] = Toolchain("openvino", STEPS, PACKAGES, reads_graphs=True)
    float_backend: ClassVar[str | None] = "openvino"
    per_channel: ClassVar[bool] = True
    observer: ClassVar[Observer] = "minmax"
    symbol: ClassVar[Symbol] = "hexagon"
    pace: ClassVar[float] = 1.0
    engine: ClassVar[str | None] = None
    saturates: ClassVar[bool] = False
    rounds_biases: ClassVar[bool] = False

    def speed_causes(self, environment: Environment) -> tuple[Cause, ...]:
        """Return that sums of 8-bit products are slow without VNNI."""
        return (NO_VNNI,) if environment.lacks_vnni else ()

    def accuracy_causes(
        self, settings: Mapping[str, Setting], environment: Environment
    ) -> tuple[Cause, ...]:
        """Return that weights have one of 8 bits less, where they were calibrated that way."""
        if "observer" not in settings:
            return ()
        chosen = settings.get("reduce_range")
        reduced = reduces_range(None if chosen is None else bool(chosen), environment)
        return (REDUCED,) if reduced else ()


BACKEND = OpenVinoBackend()
