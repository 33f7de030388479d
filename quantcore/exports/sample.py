"""One picture to try an exported file with, as the model sees it, and what the file answers."""

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantcore.engine import top_guesses
from quantcore.formats import Predictor
from quantcore.images import Split
from quantcore.models import ModelInfo
from quantcore.schema import Guess

if TYPE_CHECKING:
    from torch import Tensor

# Pictures among which the one to try the file with is looked for.
LOOKED_AT = 50
FORMAT = "png"
Pixels = NDArray[np.uint8]


def surest(logits: NDArray[np.float32]) -> int:
    """Return the index of the picture with the surest answer, given logits `[N, classes]`.

    What other kernels round elsewhere then changes little of what is answered.
    """
    best = np.partition(logits[:LOOKED_AT], -2, axis=1)
    return int((best[:, -1] - best[:, -2]).argmax())


def as_seen(split: Split, index: int, info: ModelInfo) -> Pixels:
    """Return one picture `[S, S, 3]`, RGB, already resized and cropped for the model."""
    tensor = split.pictures.tensors(split.indices[index : index + 1])
    (prepared,) = tensor.permute(0, 2, 3, 1).numpy()
    scaled = prepared * np.asarray(info.std) + np.asarray(info.mean)
    pixels: Pixels = np.rint(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)
    return pixels


def png(pixels: Pixels) -> bytes:
    """Return a picture `[S, S, 3]` as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=FORMAT)
    return buffer.getvalue()


def guesses(predict: Predictor, pixels: Pixels, info: ModelInfo) -> tuple[Guess, ...]:
    """Return the classes the file names first for a picture `[S, S, 3]`, surest first."""
    return top_guesses(predict(_prepared(pixels, info))[0].double().numpy(), info.labels)


def _prepared(pixels: Pixels, info: ModelInfo) -> "Tensor":
    """Return the picture as float32 `[1, 3, S, S]`, in the arithmetic that receivers will use."""
    import torch

    mean, std = (np.asarray(values, np.float32) for values in (info.mean, info.std))
    normalised = (pixels.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(normalised.transpose(2, 0, 1)[None].copy())
