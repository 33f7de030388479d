"""Static quantization: ranges from calibration pictures, and what is found out by trial."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from quantcore.backends import tuning
from quantcore.backends.base import Backend, Recipe, reduces_range
from quantcore.backends.fidelity import sqnr_db
from quantcore.backends.onnxruntime import correction, graphs, qdq, ranges
from quantcore.backends.onnxruntime.graphs import PACKAGES, OnnxModel
from quantcore.backends.onnxruntime.qdq import Layout, Weights
from quantcore.backends.onnxruntime.ranges import Observed, Span
from quantcore.backends.onnxruntime.steps import OnnxStep
from quantcore.backends.options import Observer, StaticOptions
from quantcore.errors import UnsupportedError
from quantcore.images import ConversionInput, ImageData, Split
from quantcore.models import Subject
from quantcore.schema import YES, Environment, Report, Support, Tuning, current_environment

# What `auto` tries. Entropy cuts off too much of ReLU6's and hard swish's ranges to win ever.
TRIED: tuple[Observer, ...] = ("minmax", "percentile", "histogram")

Array = NDArray[Any]
Biases = Mapping[str, Array]


class Static(OnnxStep):
    """Ranges from calibration pictures; QDQ, weights per channel."""

    name = "static"

    def supports(self, options: StaticOptions, subject: Subject, backend: Backend) -> Support:
        """Return yes for models that are not made of recurrent layers."""
        if recurrent := subject.model.recurrent:
            return Support(
                False,
                f"ONNX Runtime's quantizer leaves {recurrent[0]} layers in float.",
                "Use dynamic quantization.",
            )
        if options.equalize:
            return Support(
                False,
                "Layers are not balanced before ONNX Runtime's quantizer.",
                "Leave equalize as it is.",
            )
        return YES

    def recipe(self, options: StaticOptions, backend: Backend, environment: Environment) -> Recipe:
        """Return a name of its own for each range of weights."""
        bits = 7 if reduces_range(options.reduce_range, environment) else 8
        return Recipe(f"onnxruntime static {bits}", PACKAGES)

    def convert(
        self,
        options: StaticOptions,
        inputs: ConversionInput,
        backend: Backend,
        report: Report,
        state: Path | None,
    ) -> OnnxModel:
        """Return the calibrated graph, layers between QuantizeLinear and DequantizeLinear.

        Raises:
            UnsupportedError: an operator has no form in ONNX, or no layer has one in 8 bits.
        """
        prepared = graphs.preprocessed(graphs.float_graph(inputs, report), inputs.scratch)
        weights = Weights(
            options.per_channel is not False,
            reduces_range(options.reduce_range, current_environment()),
        )
        layout = qdq.layout_of(prepared, inputs.scratch, weights)
        if not layout.layers:
            raise UnsupportedError(
                "ONNX Runtime's quantizer found no layer that it can run in 8 bits.",
                "Use dynamic quantization, or another backend.",
            )
        return _Search(layout, inputs.images, options, report).model()


@dataclass
class _Search:
    """What one conversion tries, and holds against float on pictures it did not calibrate on."""

    layout: Layout
    images: ImageData
    options: StaticOptions
    report: Report

    def model(self) -> OnnxModel:
        """Return the model that is nearest to float, and what was chosen for it."""
        observed = self._observed(self._calibrating)
        observer, decibels = self._best_observer(observed)
        corrects = self._corrects(observed.fitted(observer), decibels.get(observer))
        split = self.images.calibration.first(self.options.calibration_images)
        if len(split) > len(self._calibrating):
            observed = self._observed(split)
        chosen = observed.fitted(observer)
        biases = self._biases(chosen, split) if corrects else {}
        kept, loss = self._kept_float(chosen, biases)
        return OnnxModel(
            self.layout.graph(chosen, biases, kept),
            tuning=Tuning(
                observer=observer,
                sqnr_db=decibels,
                reduce_range=self.layout.weights.reduce_range,
                bias_correction=corrects,
                kept_float=tuple(map(title, kept)),
                layers=len(self.layout.multiplying),
                loss_points=loss,
            ),
        )

    @cached_property
    def _parts(self) -> tuple[Split, Split]:
        return tuning.parted(self.images, self.options.calibration_images)

    @property
    def _calibrating(self) -> Split:
        return self._parts[0]

    @property
    def _judging(self) -> Split:
        return self._parts[1]

    @cached_property
    def _reference(self) -> tuning.Logits:
        return tuning.answers(graphs.predictor(self.layout.source), self._judging)

    def _observed(self, split: Split) -> Observed:
        return ranges.observed(
            self.layout.source,
            self.layout.tensors,
            split,
            shapes=self.options.observer != "minmax",
            report=self.report,
        )

    def _answers(
        self,
        split: Split,
        spans: Mapping[str, Span],
        biases: Biases | None = None,
        kept: Collection[str] = (),
    ) -> tuning.Logits:
        return tuning.answers(graphs.predictor(self.layout.graph(spans, biases, kept)), split)

    def _best_observer(self, observed: Observed) -> tuple[Observer, dict[str, float]]:
        def trial(observer: Observer) -> tuning.Logits:
            self.report(f"trying the observer {observer}", 0.8)
            return self._answers(self._judging, observed.fitted(observer))

        reference = lambda: self._reference  # noqa: E731
        return tuning.best_observer(self.options.observer, TRIED, trial, reference)

    def _biases(self, spans: Mapping[str, Span], split: Split) -> Biases:
        return correction.corrected(self.layout, spans, split, self.report)

    def _corrects(self, spans: Mapping[str, Span], without: float | None) -> bool:
        """Return whether biases are corrected: as asked, or where that brings answers nearer."""
        if self.options.bias_correction is not None:
            return self.options.bias_correction
        if without is None:
            without = sqnr_db(self._reference, self._answers(self._judging, spans))
        biases = self._biases(spans, self._calibrating)
        corrected = sqnr_db(self._reference, self._answers(self._judging, spans, biases))
        if without is None or corrected is None:
            return False
        return corrected > without

    def _kept_float(
        self, spans: Mapping[str, Span], biases: Biases
    ) -> tuple[tuple[str, ...], float | None]:
        """Return the layers that stay in float, the most harmful first, and the loss left."""
        exact = graphs.predictor(self.layout.source)
        return tuning.kept_float(
            self.layout.multiplying,
            lambda split: tuning.answers(exact, split),
            lambda kept, split: self._answers(split, spans, biases, kept),
            self.images,
            self.options,
            self.report,
        )


def title(node: str) -> str:
    """Return a layer's name for people: its node's without number and operator."""
    name = node.partition(":")[2].strip("/")
    path, _, operator = name.rpartition("/")
    return path or operator
