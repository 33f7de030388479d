"""A picture as a model gets it, drawn on one scale, so that a wrong preparation shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantcore.images.files import read_source
from quantcore.images.preparation import prepare
from quantcore.models import ModelInfo, bundled_file

# What black and white become with ImageNet's mean and std, which most models are trained with.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# One with black, white and strong colours in it: the shuttle behind an orange suit.
PHOTOGRAPH = 42
# Of a number on the way to a colour and back.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Preview:
    """One picture before and after it is prepared.

    Attributes:
        before: scaled and cut out, in its own colours.
        after: the numbers a model gets, in the order of its channels, as colours: what ImageNet's
            mean and std make black is black, and what they make white is white.
        low: the smallest of these numbers.
        high: the largest.
        clipped: share of the numbers that are darker than black or brighter than white.
    """

    before: Image.Image
    after: Image.Image
    low: float
    high: float
    clipped: float


def preview(info: ModelInfo) -> Preview:
    """Return a photograph that ships with the project as this model gets it."""
    files = read_source(str(bundled_file("photos/evaluation.zip"))).files
    picture = files[PHOTOGRAPH].open()
    numbers = prepare(picture, info, info.image_size)
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (info.mean, info.std))
    plain = numbers * std + mean
    if info.channels == "BGR":
        plain = plain[::-1]
    fixed_mean, fixed_std = (
        np.array(each, np.float32)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD)
    )
    drawn = numbers * fixed_std + fixed_mean
    outside = (drawn < -ROUNDING) | (drawn > 1 + ROUNDING)
    return Preview(
        before=_image(plain),
        after=_image(drawn),
        low=float(numbers.min()),
        high=float(numbers.max()),
        clipped=float(outside.mean()),
    )


def _image(channels: NDArray[np.float32]) -> Image.Image:
    pixels = (channels.clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(pixels.transpose(1, 2, 0))
