"""Uploads: which are the visitor's own, and what may be done with those of others."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import streamlit as st

from quantcore import uploads
from quantcore.draw import titles
from quantcore.errors import QuantcoreError, RequestError
from quantcore.models import ModelInfo, find, offered
from quantcore.schema import CompareRequest, ModelSpec
from quantcore.uploads import Upload
from ui.common import state, visitor

NOT_YOURS = "Somebody else uploaded {what}, so you can look at this comparison but not measure it."
REMEDY = "Upload the file yourself on the Models page, then measure that."


PRIVATE_IMAGES = (
    "**Somebody else uploaded the pictures of this comparison, or they are gone.** Only who "
    "uploaded them sees them."
)


def mine() -> list[Upload]:
    """Return the visitor's own uploads, the newest first; none where the data folder fails."""
    try:
        return state.service().uploads.of(visitor.current().owner)
    except QuantcoreError:
        return []


def models() -> dict[str, ModelInfo]:
    """Return the models that the visitor uploaded, by name."""
    info_of = {each.name: facts(ModelSpec(each.name)) for each in mine() if each.model is not None}
    return {name: info for name, info in info_of.items() if info is not None}


def images() -> dict[str, Upload]:
    """Return the pictures that the visitor uploaded, by name."""
    return {each.name: each for each in mine() if each.images is not None}


def distinct_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels with a number behind those that were there before.

    Streamlit takes the label for the choice, so of two that read the same one cannot be chosen.
    """
    distinct: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for name, label in labels.items():
        seen[label] += 1
        distinct[name] = label if seen[label] == 1 else f"{label} ({seen[label]})"
    return distinct


def is_mine(name: str | None) -> bool:
    """Return whether an upload of this name is there, and the visitor's own."""
    return name is not None and any(each.name == name for each in mine())


def is_foreign(name: str | None) -> bool:
    """Return whether this names an upload that is somebody else's, or gone."""
    return uploads.is_named(name) and not is_mine(name)


def may_measure(request: CompareRequest) -> bool:
    """Return whether nothing that is asked for is somebody else's upload."""
    return not is_foreign(request.model.name) and not is_foreign(request.images.source)


def require_own(requests: Iterable[CompareRequest]) -> None:
    """Raise unless all models and pictures of the requests may be used by the visitor.

    Raises:
        RequestError: one is somebody else's upload; the sentence says which.
    """
    for request in requests:
        if is_foreign(request.model.name):
            raise RequestError(NOT_YOURS.format(what="this model"), REMEDY)
        if is_foreign(request.images.source):
            raise RequestError(NOT_YOURS.format(what="these images"), REMEDY)


def facts(model: ModelSpec) -> ModelInfo | None:
    """Return the facts of a model; None where it is gone."""
    try:
        return find(model)
    except QuantcoreError:
        return None


def stand_in(name: str) -> ModelInfo:
    """Return stand-in facts, for widgets, of a model that is gone."""
    like = offered()[state.DEFAULT_MODEL]
    return replace(like, name=name, title=titles.GONE, source="upload", figures=None)


def leave_foreign() -> list[str]:
    """Drop what is somebody else's from the widgets; return what a link named in vain.

    The model of a comparison stays: whoever has its link may look.
    """
    job, dropped = state.current_job(), []
    for key, default in (("model", state.DEFAULT_MODEL), (state.IMAGES, None)):
        name = st.session_state.get(key)
        stays = key == "model" and job is not None
        if is_foreign(name) and not stays:
            st.session_state[key] = default
            dropped.append(str(name))
    return dropped if job is None else []
