"""Post-training static quantization: weights and activations, calibrated on pictures."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from quantcore.backends import Backend
from quantcore.errors import RequestError
from quantcore.workflows.base import Workflow


@dataclass(frozen=True)
class Static(Workflow):
    """Fuse, watch the activations on calibration pictures, convert.

    Attributes:
        calibration_images: pictures the activation ranges are read from.
        observer: `histogram` cuts rare outliers off where that costs least, `minmax` keeps the
            whole range seen; None takes the backend's default.
        per_channel: one weight scale per output channel; None takes the backend's default.
        equalize: balance neighbouring layers' weights first; None does it where a layer has one
            weight scale, which is where it helps.
    """

    calibration_images: int = 256
    observer: Literal["histogram", "minmax"] | None = None
    per_channel: bool | None = None
    equalize: bool | None = None

    name: ClassVar[str] = "static"
    aliases: ClassVar[tuple[str, ...]] = ("ptq", "post-training")
    title: ClassVar[str] = "Static"
    summary: ClassVar[str] = (
        "Converts everything, after looking at a few hundred pictures. Seconds."
    )
    color: ClassVar[str] = "#0072b2"
    uses: ClassVar[tuple[str, ...]] = ("calibration",)
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
