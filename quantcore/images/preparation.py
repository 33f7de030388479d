"""From the bytes of a picture to normalised floats, as a model expects them."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from quantcore.models import ModelInfo

MAX_PIXELS = 64 * 10**6
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode(content: bytes, formats: tuple[str, ...] | None) -> Image.Image:
    """Return a picture upright, `L` or `RGB`, transparency laid on white.

    Raises:
        ValueError: its format is not among the accepted ones, or it has too many pixels.
        OSError, SyntaxError: it is damaged.
    """
    try:
        with Image.open(io.BytesIO(content), formats=formats) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} × {picture.height} pixels are too many")
            upright = ImageOps.exif_transpose(picture)
            return _opaque(upright)
    except UnidentifiedImageError as error:
        raise ValueError("its format is not known") from error
    except Image.DecompressionBombError as error:
        raise ValueError("it has too many pixels") from error


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit greyscale: Pillow's own conversion clips at 255 instead of scaling.
        return Image.fromarray((np.asarray(picture).clip(0, 65_535) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def shorter_side(info: ModelInfo, size: int) -> int:
    """Return the px that a picture's shorter side is scaled to before `size` px are cut out."""
    return max(size, round(info.resize_size * size / info.image_size))


def is_grey(info: ModelInfo) -> bool:
    """Return whether a model sees greyscale, in three equal channels."""
    return info.channels == "grey"


def prepare(picture: Image.Image, info: ModelInfo, size: int) -> NDArray[np.float32]:
    """Return `[3, size, size]` normalised floats, as torchvision's classification presets do.

    The shorter side is resized in the model's own proportion to `size`, the centre cut out, and
    channels normalised, in the order in which the model takes them. Some see greyscale.
    """
    picture = picture.convert("L" if is_grey(info) else "RGB").convert("RGB")
    shorter = shorter_side(info, size)
    scaled = picture.resize(_scaled_size(picture.size, shorter), FILTERS[info.interpolation])
    left, top = (round((side - size) / 2) for side in scaled.size)
    square = scaled.crop((left, top, left + size, top + size))
    pixels = np.asarray(square, np.float32).transpose(2, 0, 1) / 255
    if info.channels == "BGR":
        pixels = pixels[::-1]
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (info.mean, info.std))
    return ((pixels - mean) / std).astype(np.float32, copy=False)


def _scaled_size(size: Sequence[int], shorter: int) -> tuple[int, int]:
    width, height = size
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter
