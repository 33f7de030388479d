"""Cut the stand-in photographs from scikit-image's freely licensed sample pictures.

`python -m bundled.make photos` calls this. Models trained on ImageNet are calibrated on them when
nobody brings pictures. Calibration crops come from the left half of each photograph, evaluation
crops from the right half, so that both show the same kinds of things and no pixel is in both.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

SEED = 20261124
SIDE = 192
QUALITY = 80
SMALLEST_SHARE = 0.45
# Photograph -> crops from each half: more from those that show objects, as ImageNet's do.
CROPS = {
    "astronaut.png": 24,
    "chelsea.png": 24,
    "coffee.png": 24,
    "rocket.jpg": 16,
    "camera.png": 12,
    "hubble_deep_field.jpg": 8,
    "retina.jpg": 4,
    "clock_motion.png": 4,
    "brick.png": 4,
    "grass.png": 4,
    "gravel.png": 4,
}
HALVES = ("calibration", "evaluation")
# Zip members carry a time; a fixed one keeps the files the same from run to run.
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_photos(target: Path) -> list[Path]:
    """Write `calibration.zip` and `evaluation.zip` into `target`; return their paths."""
    target.mkdir(parents=True, exist_ok=True)
    return [_write_half(target / f"{name}.zip", half) for half, name in enumerate(HALVES)]


def _write_half(path: Path, half: int) -> Path:
    generator = np.random.default_rng([SEED, half])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        crops = [
            (f"{Path(photo).stem}_{number:02}.jpg", crop)
            for photo, count in CROPS.items()
            for number, crop in enumerate(_crops(photo, half, count, generator))
        ]
        # Shuffled, so that the first few are already a fair sample.
        for position, number in enumerate(generator.permutation(len(crops))):
            name, crop = crops[number]
            archive.writestr(zipfile.ZipInfo(f"{position:03}_{name}", EPOCH), _jpeg(crop))
    return path


def _crops(photo: str, half: int, count: int, generator: np.random.Generator) -> list[Image.Image]:
    picture = Image.open(Path(skimage.__file__).parent / "data" / photo)
    left = half * (picture.width - picture.width // 2)
    width, height = picture.width // 2, picture.height
    crops = []
    for _ in range(count):
        side = int(min(width, height) * generator.uniform(SMALLEST_SHARE, 1))
        x = left + int(generator.integers(0, width - side + 1))
        y = int(generator.integers(0, height - side + 1))
        box = (x, y, x + side, y + side)
        crops.append(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))
    return crops


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
