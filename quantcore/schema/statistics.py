"""What a float model and its pictures hold that 8 bits find hard to represent."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

# Beyond this it does not matter how far a figure is.
MAX_FIGURE = 1e6


@dataclass(frozen=True)
class Extreme:
    """The layer in which a figure is largest, as the model names it, and the figure."""

    layer: Annotated[str, Field(max_length=200)]
    value: Annotated[float, Field(ge=0, le=MAX_FIGURE)]


@dataclass(frozen=True)
class FloatStatistics:
    """What convolutions and linear layers read on some pictures, and how their weights spread.

    An extreme is None where no layer has such a figure.

    Attributes:
        calibration_images: pictures looked at of those that ranges are calibrated on.
        evaluation_images: pictures looked at of those that accuracy is measured on.
        outlier: largest activation over the 99.9th percentile of a layer's, signs and zeros aside.
        channel: largest activation of a layer's widest channel over that of its median channel.
        depthwise_layers: how many convolutions give each channel a filter of its own.
        depthwise: largest weight of such a layer's widest channel over that of its median channel,
            the batch norm behind it folded in.
        outside: share of a layer's activations on the evaluation pictures that lie outside the
            range seen on the calibration pictures, 0 to 1, less what chance gives.
        shift: distance between a layer's mean activations on the two, in standard deviations from
            picture to picture: root mean square over its channels, less what chance gives.
    """

    calibration_images: int
    evaluation_images: int
    outlier: Extreme | None
    channel: Extreme | None
    depthwise_layers: int
    depthwise: Extreme | None
    outside: Extreme | None
    shift: Extreme | None
