"""The pictures a comparison calibrates, fine-tunes and evaluates with: seeded, disjoint splits.

Importing this package imports no torch; taking batches of a split does.
"""

import numpy as np
from numpy.typing import NDArray

from quantcore.images import collected, fashion
from quantcore.images.classes import unmatched
from quantcore.images.conversion_input import ConversionInput
from quantcore.images.fashion import preprocess
from quantcore.images.files import PictureFile, PictureFolder, read_source
from quantcore.images.preparation import MAX_PIXELS, is_grey, prepare, shorter_side
from quantcore.images.previews import IMAGENET_MEAN, IMAGENET_STD, Preview, preview
from quantcore.images.split import ImageData, Split
from quantcore.images.suffixes import UPLOADED_SUFFIXES, is_hidden
from quantcore.models import ModelInfo
from quantcore.schema import ImageSpec, digest

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MAX_PIXELS",
    "UPLOADED_SUFFIXES",
    "ConversionInput",
    "ImageData",
    "PictureFile",
    "PictureFolder",
    "Preview",
    "Split",
    "collected",
    "files",
    "images_digest",
    "is_grey",
    "is_hidden",
    "is_labelled",
    "listed",
    "load_images",
    "load_labels",
    "prepare",
    "preprocess",
    "preview",
    "read_source",
    "shorter_side",
    "unmatched",
]


def load_images(spec: ImageSpec, info: ModelInfo) -> ImageData:
    """Return the splits a spec asks for, as this model sees them.

    Raises:
        RequestError: the folder or zip cannot be used; the sentence says why.
    """
    whole, size = images_digest(spec, info), _size(spec, info)
    if spec.source is not None:
        return collected.load_own(spec, info, read_source(spec.source), size, whole)
    if info.dataset == "fashion_mnist":
        return fashion.load(size, spec.evaluation_images, whole)
    return collected.load_photos(info, size, spec.evaluation_images, whole)


def load_labels(spec: ImageSpec, info: ModelInfo) -> NDArray[np.int64] | None:
    """Return the classes of the evaluation pictures, `[N]`; None where they have none.

    Raises:
        RequestError: as `load_images`.
    """
    return load_images(spec, info).evaluation.labels


def is_labelled(spec: ImageSpec, info: ModelInfo) -> bool:
    """Return whether the pictures have labels, so that accuracy and QAT are possible.

    Raises:
        RequestError: as `load_images`.
    """
    if spec.source is None:
        return info.dataset == "fashion_mnist"
    return load_images(spec, info).labelled


def images_digest(spec: ImageSpec, info: ModelInfo) -> str:
    """Return the SHA-256 of the pictures' contents, their split, and how they are prepared.

    It does not depend on `evaluation_images`, since the splits do not: only how many pictures of
    the last one are taken. Needs no torch.

    Raises:
        RequestError: the folder or zip is missing, empty or damaged.
    """
    preparation: dict[str, object] = {
        "size": _size(spec, info),
        "resize": [info.resize_size, info.image_size, info.interpolation],
        "normalise": [info.mean, info.std],
    }
    if info.dataset == "own":
        preparation["channels"] = info.channels
    return digest([_content(spec, info), preparation, info.dataset])


def _content(spec: ImageSpec, info: ModelInfo) -> list[str]:
    if spec.source is not None:
        folder = read_source(spec.source)
        # Where no picture is there twice, digests are as they were before this was looked at.
        together = ["the same pictures in one split"] if folder.same else []
        return [folder.digest, str(spec.seed), *together]
    if info.dataset == "fashion_mnist":
        return [fashion.content_digest()]
    return [collected.photos_digest()]


def _size(spec: ImageSpec, info: ModelInfo) -> int:
    return spec.image_size or info.image_size
