"""The bundled Fashion-MNIST pictures."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantcore.images.split import ImageData, Split, combined, fewer_note
from quantcore.models import bundled_file, fashion_mnist
from quantcore.schema import file_digest

if TYPE_CHECKING:
    from torch import Tensor

# The tail of the QAT file, which the float checkpoints never saw in training.
QAT_HELD_OUT = 1_000


def preprocess(images: "Tensor", size: int) -> "Tensor":
    """Return `[N, 3, size, size]` normalised floats for `[N, 28, 28]` uint8 pictures."""
    import torch
    from torch.nn import functional

    scaled = functional.interpolate(
        images[:, None].float() / 255, size=(size, size), mode="bilinear", align_corners=False
    )
    normalised = (scaled - fashion_mnist.MEAN) / fashion_mnist.STD
    return normalised.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class ArrayPictures:
    """Greyscale pictures in one array, uint8 `[N, 28, 28]`."""

    images: NDArray[np.uint8]
    size: int

    def picture(self, index: int) -> Image.Image:
        """Return one picture, 28 px."""
        return Image.fromarray(self.images[index])

    def tensors(self, indices: NDArray[np.int64]) -> "Tensor":
        """Return float32 `[len(indices), 3, size, size]` in channels-last order."""
        import torch

        return preprocess(torch.from_numpy(self.images[indices]), self.size)


def content_digest() -> str:
    """Return the digest of the three bundled files."""
    files = (bundled_file(f"fashion_mnist/{name}.npz") for name in _SPLITS)
    return combined(*map(file_digest, files))


def load(size: int, evaluation_images: int, digest: str) -> ImageData:
    """Return the bundled splits at `size` px; evaluation is the first pictures of the stored order.

    Args:
        size: side of the pictures, px.
        evaluation_images: how many pictures to evaluate with, at most.
        digest: of the whole collection as it is prepared.
    """
    evaluation = _split("evaluation", slice(None), size, digest).first(evaluation_images)
    return ImageData(
        calibration=_split("calibration", slice(None), size, digest),
        qat=_split("qat", slice(None, -QAT_HELD_OUT), size, digest),
        qat_held_out=_split("qat", slice(-QAT_HELD_OUT, None), size, digest),
        evaluation=evaluation,
        class_names=fashion_mnist.LABELS,
        labelled=True,
        name="Fashion-MNIST",
        note=fewer_note(len(evaluation), evaluation_images),
    )


_SPLITS = ("calibration", "qat", "evaluation")


@cache
def _arrays(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(bundled_file(f"fashion_mnist/{name}.npz")) as file:
        return file["images"], file["labels"].astype(np.int64)


def _split(name: str, part: slice, size: int, digest: str) -> Split:
    images, labels = _arrays(name)
    indices = np.arange(len(labels))[part]
    own = combined(digest, name, f"{indices[0]} to {indices[-1]}")
    return Split(ArrayPictures(images, size), indices, labels[indices], own)
