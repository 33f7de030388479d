"""What a conversion works on."""

from dataclasses import dataclass
from pathlib import Path

from quantcore.images.split import ImageData
from quantcore.models import ModelInfo
from quantcore.schema import ModelSpec


@dataclass(frozen=True)
class ConversionInput:
    """A float model, the pictures to calibrate and train with, and their side in px.

    `scratch` is a folder for temporary files, the only one where a sandboxed child may have them.
    """

    spec: ModelSpec
    model: ModelInfo
    images: ImageData
    image_size: int
    scratch: Path
