"""Post-training static quantization: weights and activations, calibrated on pictures."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from quantcore.backends import Backend, KeepFloat, Observer
from quantcore.errors import RequestError
from quantcore.workflows.base import Workflow


@dataclass(frozen=True)
class Static(Workflow):
    """Fuse, watch the activations on calibration pictures, convert.

    Attributes:
        calibration_images: pictures the activation ranges are read from.
        observer: `minmax` keeps the whole range seen, `histogram`, `percentile` and `entropy` cut
            rare outliers off, each by a rule of its own; `auto` tries what the backend has, and
            keeps what answers nearest to float32 on calibration pictures it has not seen. None
            takes the backend's default.
        per_channel: one weight scale per output channel; None takes the backend's default.
        equalize: balance neighbouring layers' weights first; None does it where a layer has one
            weight scale, which is where it helps.
        reduce_range: activations (torch) or weights (other runtimes) leave one of their 8 bits
            free, so that sums stay exact on processors without 8-bit dot products; None does it
            where this machine has none.
        bias_correction: let biases make up for what rounding the weights shifts; None takes the
            backend's default.
        keep_float: how many layers stay in float, the most harmful first; `auto` takes as many as
            it needs to lose no more than `max_loss_points`.
        max_loss_points: of top-1, or of agreement with float32 where pictures have no labels.
    """

    calibration_images: int = 256
    observer: Observer | None = None
    per_channel: bool | None = None
    equalize: bool | None = None
    reduce_range: bool | None = None
    bias_correction: bool | None = None
    keep_float: KeepFloat = 0
    max_loss_points: float = 0.5

    name: ClassVar[str] = "static"
    aliases: ClassVar[tuple[str, ...]] = ("ptq", "post-training")
    title: ClassVar[str] = "Static"
    summary: ClassVar[str] = (
        "Converts everything, after looking at a few hundred pictures. Seconds."
    )
    color: ClassVar[str] = "#0072b2"
    reads_pictures: ClassVar[bool] = True
    weight: ClassVar[float] = 2.0

    def resolved(self, backend: Backend) -> Self:
        """Return the workflow with the backend's observer, unless one was chosen."""
        return replace(self, observer=self.observer or backend.observer)

    def __post_init__(self) -> None:
        if self.calibration_images < 1:
            raise RequestError(
                "Calibration needs pictures: without them no activation range is known, and the "
                "converted model answers at random.",
                "Ask for at least 1 calibration image; 256 is a good start.",
            )
        if self.keep_float != "auto" and self.keep_float < 0:
            raise RequestError(
                f"{self.keep_float} layers cannot stay in float.", "Take 0 or more, or auto."
            )
        if self.max_loss_points <= 0:
            raise RequestError(
                f"No 8-bit model loses {self.max_loss_points} points or less for certain.",
                "Allow a loss above 0: 0.5 points.",
            )
