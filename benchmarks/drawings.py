"""Drawings of two kinds, unlike any picture that a bundled model has seen.

Stripes or checks fill one shape of some form, size, place and turn. Brightness, colours and the
background behind them are drawn from the same distribution for both, so that only the pattern
tells.
"""

import io
import math
import zipfile

import numpy as np
from PIL import Image, ImageFilter

KINDS = ("checks", "stripes")
SIDE = 96


def drawing(kind: str, seed: int) -> Image.Image:
    """Return one drawing."""
    chance = np.random.default_rng([KINDS.index(kind), seed])
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2.0 - chance.uniform(-12, 12, 2)[:, None, None]
    turn, width = chance.uniform(0, math.pi), chance.uniform(5, 9)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    pattern = np.floor(along / width)
    if kind == "checks":
        pattern = pattern + np.floor(across / width)
    radius = chance.uniform(24, 40)
    power = chance.uniform(1, 6)
    shape = (np.abs(x) ** power + np.abs(y) ** power) ** (1 / power) < radius
    light, dark = chance.uniform(120, 255, 3), chance.uniform(0, 110, 3)
    reference_group = chance.uniform(0, 255, 3) + chance.uniform(-1, 1, 3) * x[..., None]
    filled = np.where((pattern % 2 == 0)[..., None], light, dark)
    pixels = np.where(shape[..., None], filled, reference_group) + chance.normal(
        0, 14, (SIDE, SIDE, 3)
    )
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(float(chance.uniform(0, 1))))


def packed(count: int) -> bytes:
    """Return a zip of `count` drawings in a folder for each kind."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            content = io.BytesIO()
            drawing(kind, number).save(content, "JPEG", quality=90)
            archive.writestr(f"{kind}/{number:04}.jpg", content.getvalue())
    return buffer.getvalue()
