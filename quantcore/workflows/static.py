"""Post-training static quantization: weights and activations, calibrated on pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from quantcore.backends import Backend, Observer, static_qconfig
from quantcore.workflows import calibration
from quantcore.workflows.base import ConversionInput, Report, Subject, Support, runs_here

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Static:
    """Fuse, watch the activations on calibration pictures, convert.

    Attributes:
        calibration_images: pictures the activation ranges are read from.
        observer: `histogram` or `minmax`.
        per_channel: one weight scale per output channel; None takes the backend's default.
        equalize: balance neighbouring layers' weights first (see `equalize`); None does it where
            a layer has one weight scale, which is where it helps.
    """

    calibration_images: int = 256
    observer: Observer = "histogram"
    per_channel: bool | None = None
    equalize: bool | None = None

    name: ClassVar[str] = "static"
    title: ClassVar[str] = "Static"
    summary: ClassVar[str] = (
        "Converts everything, after looking at a few hundred pictures. Seconds."
    )
    uses: ClassVar[tuple[str, ...]] = ("calibration",)
    weight: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        calibration.check_calibration_images(self.calibration_images)

    def supports(self, subject: Subject, backend: Backend) -> Support:
        """Return yes where torch can observe this architecture."""
        if subject.model.is_program and self.equalize:
            return Support(
                False,
                "Layers of a program cannot be balanced before they are converted.",
                "Leave equalize as it is.",
            )
        return observable(subject, backend)

    def qconfig(self, backend: Backend) -> str:
        """Return the backend's configuration; x86 and FBGEMM share one."""
        return backend.qconfig

    def convert(self, inputs: ConversionInput, backend: Backend, report: Report) -> "nn.Module":
        """Return the calibrated, converted module."""
        report("fusing layers", 0.0)
        qconfig = static_qconfig(backend, self.observer, self.per_channel)
        module = calibration.prepared(
            inputs,
            backend,
            qconfig,
            is_qat=False,
            equalized=calibration.equalizes(self.equalize, self.per_channel, backend),
        )
        calibration.calibrate(module, inputs, self.calibration_images, report)
        report("converting", 0.95)
        return calibration.converted(module, inputs)

    def empty_converted(self, inputs: ConversionInput, backend: Backend) -> "nn.Module":
        """Return the converted module as it is without calibration."""
        qconfig = static_qconfig(backend, self.observer, self.per_channel)
        return calibration.empty_converted(inputs, backend, qconfig, is_qat=False)


def observable(subject: Subject, backend: Backend) -> Support:
    """Return whether the architecture can be fused and observed, and the engine is here."""
    if subject.model.static_mode is None:
        return Support(False, subject.model.static_refusal, "Use dynamic quantization.")
    return runs_here(backend, subject.environment)
