"""Static quantization: a calibrated module, and what is found by trial on the way to it."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from quantcore import models
from quantcore.backends import tuning
from quantcore.backends.options import Observer, StaticOptions
from quantcore.backends.torch_ao import biases, calibration, kept, qconfigs
from quantcore.backends.torch_ao.module import evaluated, is_program
from quantcore.backends.torch_ao.numerics import Numerics
from quantcore.errors import UnsupportedError
from quantcore.images import ConversionInput, Split
from quantcore.schema import Report, Tuning

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Calibrated:
    """A float module whose observers have seen pictures.

    Attributes:
        module: observed.
        shifts: what rounding its weights shifts, where biases are to make up for it.
    """

    module: "nn.Module"
    shifts: biases.Shifts

    def converted(self, inputs: ConversionInput) -> "nn.Module":
        """Return a copy in 8 bits."""
        copied = copy.deepcopy(self.module)
        biases.correct(copied, self.shifts)
        return calibration.converted(copied, inputs)


@dataclass(frozen=True)
class Conversion:
    """One static conversion: what is asked of it, and on what.

    Attributes:
        options: the workflow's settings.
        inputs: the float model and its pictures.
        numerics: the engine's, with the range of activations that was chosen.
        report: of progress.
    """

    options: StaticOptions
    inputs: ConversionInput
    numerics: Numerics
    report: Report

    def run(self) -> "tuple[nn.Module, Tuning]":
        """Return the 8-bit module, and what was chosen for it."""
        observer, decibels = self._observer()
        count = self.options.calibration_images
        calibrated = self.calibrated(observer, self.inputs.images.calibration.first(count))
        self.report("converting", 0.5)
        module = calibrated.converted(self.inputs)
        layers, names, loss = self._kept(module, calibrated.module)
        kept.keep(module, calibrated.module, names)
        return module, Tuning(
            observer=observer,
            sqnr_db=decibels,
            reduce_range=self.numerics.reduce_range,
            bias_correction=bool(calibrated.shifts),
            equalized=self._equalized,
            kept_float=names,
            layers=len(layers),
            loss_points=loss,
        )

    def calibrated(self, observer: Observer, split: Split) -> Calibrated:
        """Return the float module, calibrated on a split."""
        module = observed(self.options, self.inputs, self.numerics, observer, self._equalized)
        if is_program(module) and self.options.bias_correction:
            raise UnsupportedError(
                "torch cannot correct the biases of this program.",
                "Leave bias_correction as it is, or use onnxruntime or openvino.",
            )
        corrects = self.options.bias_correction is not False and not is_program(module)
        watch = biases.Watch(module) if corrects else None
        calibration.calibrate(module, split, self.report)
        return Calibrated(module, watch.stop() if watch else {})

    @property
    def _equalized(self) -> bool:
        options = self.options
        if self.inputs.model.is_program:
            return False
        return calibration.equalizes(options.equalize, options.per_channel, self.numerics)

    @cached_property
    def _float(self) -> "nn.Module":
        return evaluated(models.build(self.inputs.spec))

    def _observer(self) -> tuple[Observer, dict[str, float]]:
        """Return the observer asked for, or that of the best trial, and decibels of each trial."""
        calibrating, judging = tuning.parted(self.inputs.images, self.options.calibration_images)

        def trial(observer: Observer) -> tuning.Logits:
            module = self.calibrated(observer, calibrating).converted(self.inputs)
            return answers(module, judging)

        reference = lambda: answers(self._float, judging)  # noqa: E731
        return tuning.best_observer(self.options.observer, qconfigs.OBSERVERS, trial, reference)

    def _kept(
        self, module: "nn.Module", observed: "nn.Module"
    ) -> tuple[Sequence[str], tuple[str, ...], float | None]:
        """Return all layers, those that stay in float, and the loss in points that is left."""
        if is_program(observed):
            if self.options.keep_float:
                raise UnsupportedError(
                    "torch can only convert all layers of this program, or none.",
                    "Set keep_float to 0, or use onnxruntime or openvino.",
                )
            return (), (), None
        layers = units(observed)

        def trial(names: Collection[str], split: Split) -> tuning.Logits:
            with kept.kept(module, observed, names) as changed:
                return answers(changed, split)

        reference = lambda split: answers(self._float, split)  # noqa: E731
        found = tuning.kept_float(
            layers, reference, trial, self.inputs.images, self.options, self.report
        )
        return layers, *found


def observed(
    options: StaticOptions,
    inputs: ConversionInput,
    numerics: Numerics,
    observer: Observer,
    equalized: bool,
) -> "nn.Module":
    """Return the float module with observers that have seen nothing."""
    qconfig = qconfigs.static_qconfig(numerics, observer, options.per_channel)
    return calibration.prepared(inputs, numerics, qconfig, is_qat=False, equalized=equalized)


def units(module: "nn.Module") -> list[str]:
    """Return the names of an observed module's layers, each with what is fused into it."""
    from torch import nn
    from torch.ao.nn.intrinsic.modules.fused import _FusedModule

    found: list[str] = []
    for name, part in module.named_modules():
        within = tuple(f"{each}." for each in found)
        is_layer = isinstance(part, (nn.Conv2d, nn.Linear, _FusedModule))
        if is_layer and not name.startswith(within) and getattr(part, "qconfig", None) is not None:
            found.append(name)
    return found


def answers(module: Any, split: Split) -> tuning.Logits:
    """Return a module's logits `[N, classes]` on a split's pictures."""
    import torch

    with torch.inference_mode():
        return tuning.answers(module, split)
