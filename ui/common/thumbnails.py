"""Small pictures of an evaluation set, as data addresses; uploaded ones are decoded in a sandbox.

Pictures that are on the server or ship with the project are decoded here, and kept for everybody.
Those of an upload are kept for the visitor's session alone, so that they go with it.
"""

from collections.abc import Sequence
from functools import lru_cache

import streamlit as st

from quantcore import uploads
from quantcore.draw import gallery
from quantcore.images import Split, load_images
from quantcore.models import find
from quantcore.schema import ImageSpec, ModelSpec
from ui.common import state

KEPT = "thumbnails"


def addresses(key: str, images: ImageSpec, model: str, indices: Sequence[int]) -> tuple[str, ...]:
    """Return pictures by their indices in an evaluation set.

    Args:
        key: stands for the pictures' contents, which may change in the same folder.
        images: the set.
        model: whose classes they are matched with.
        indices: which of them.

    Raises:
        QuantcoreError: they are gone, or one cannot be read.
    """
    if not uploads.is_named(images.source):
        return tuple(_address(key, images, model, index) for index in indices)
    wanted = key, images, model, tuple(indices)
    kept, pictures = st.session_state.get(KEPT, (None, ()))
    if kept != wanted:
        side = gallery.THUMBNAIL_PX
        files = state.service().playground.thumbnails(images, model, indices, side)
        pictures = tuple(map(gallery.address, files))
        st.session_state[KEPT] = wanted, pictures
    return tuple(pictures)


@lru_cache(maxsize=2_000)
def _address(key: str, images: ImageSpec, model: str, index: int) -> str:
    return gallery.picture(_pictures_of(key, images, model).thumbnail(index))


@lru_cache(maxsize=4)
def _pictures_of(_key: str, images: ImageSpec, model: str) -> Split:
    return load_images(images, find(ModelSpec(model))).evaluation
