"""What variants answered, picture by picture, as far as it is kept: in the store, or shipped."""

import zipfile
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from quantcore.cache import Store
from quantcore.errors import QuantcoreError
from quantcore.images import load_labels
from quantcore.models import bundled_file, find
from quantcore.schema import ImageSpec, ModelSpec, VariantResult

Logits = NDArray[np.float32]
# What the variants of the shipped comparison answered, by digest of their logits.
SHIPPED = "answers.npz"


def logits_of(store: Store, row: VariantResult) -> Logits | None:
    """Return a variant's logits `[N, classes]`; None where they are not kept here."""
    if row.predictions is None:
        return None
    shipped = _shipped()
    if row.predictions in shipped:
        return shipped[row.predictions]
    try:
        with store.using(row.predictions) as (path,):
            logits: Logits = np.load(path, allow_pickle=False)
    except (QuantcoreError, OSError, ValueError):
        return None
    return logits


@cache
def _shipped() -> Mapping[str, Logits]:
    try:
        with np.load(bundled_file(SHIPPED), allow_pickle=False) as arrays:
            return {name: arrays[name].astype(np.float32) for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}


def labels_of(images: ImageSpec, row: VariantResult) -> NDArray[np.int64] | None:
    """Return the classes `[N]` of the pictures a variant was evaluated on; None without labels."""
    if row.accuracy is None:
        return None
    try:
        labels = load_labels(images, find(ModelSpec(row.model)))
    except QuantcoreError:
        # The folder they came from is gone, or is another one now.
        return None
    return None if labels is None else labels[: row.fidelity_images]
