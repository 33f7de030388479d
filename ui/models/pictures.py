"""Uploaded pictures: how many of each class, how they look, and which label each class is.

The classes of pictures are matched to a model's labels by name; where that fails, their owner says
which is which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import streamlit as st
from markupsafe import Markup

from quantcore import uploads, wording
from quantcore.draw import gallery
from quantcore.images import unmatched
from quantcore.models import ModelInfo, offered
from quantcore.uploads import Upload, UploadedImages
from ui.common import fragments, owned_uploads, progress, site, state, widgets
from ui.common.markdown import Markdown, markdown

MAX_BARS = 30
MAX_MAPPED = 60
UNLABELLED = (
    "Without labels: agreement with float32 is measured instead of accuracy, and "
    "quantization-aware training is not offered."
)
MAPPING_SENTENCE = (
    "These classes fit no label of the model by name. Say which is which; the model is not "
    "evaluated on pictures of a class without a label."
)
ALL_FIT = "Every class of these pictures fits a label of this model by name."
FOR_HELP = "Whose labels the classes are to be matched with, and what is compared."


def draw(upload: Upload, thumbnails: Sequence[tuple[str, bytes]] = ()) -> None:
    """Draw what was found in the pictures, and the way on."""
    images = upload.images
    if images is None:
        return
    st.subheader(markdown(uploads.title(upload)), anchor=False)
    st.markdown(Markdown("**{}.**").format(recognised(images)))
    if not images.labelled:
        st.info(UNLABELLED)
    for warning in images.warnings:
        st.warning(markdown(warning))
    info = _way_on(upload)
    bars, shown = st.columns([1, 1.4], gap="medium")
    if images.classes:
        bars.markdown("**Pictures of each class**")
        bars.html(counts(images.classes))
    if thumbnails:
        shown.markdown("**Some of them**")
        shown.html(grid(thumbnails))
    if images.classes:
        _map(upload, images, info)


def recognised(images: UploadedImages) -> str:
    """Return in words what pictures were found: `120 pictures of 10 classes`."""
    many = wording.count(images.count, "picture")
    classes = wording.count(len(images.classes), "class", "classes")
    return f"{many} of {classes}" if images.classes else f"{many} without labels"


def counts(classes: Sequence[tuple[str, int]]) -> Markup:
    """Return a bar for each class, the most frequent first, with its number, as HTML."""
    ordered = sorted(classes, key=lambda each: -each[1])
    most = max(1, ordered[0][1])
    bars = [
        (name, f"{count:,}", f"{100 * count / most:.0f}%") for name, count in ordered[:MAX_BARS]
    ]
    others = ordered[MAX_BARS:]
    more = wording.count(len(others), "more class", "more classes")
    rest = f"and {more} with {sum(count for _, count in others):,} pictures" if others else ""
    return fragments.render("class_counts.html", classes=bars, rest=rest)


def grid(thumbnails: Sequence[tuple[str, bytes]]) -> Markup:
    """Return small pictures with their classes, as HTML."""
    pictures = [(name, gallery.address(png)) for name, png in thumbnails]
    return fragments.render("thumbnails.html", pictures=pictures)


def _way_on(upload: Upload) -> ModelInfo:
    """Draw the choice of a model to evaluate on them, and the button that compares it."""
    models = {**owned_uploads.models(), **offered()}
    labels = owned_uploads.distinct_labels(
        {name: widgets.model_line(models[name]) for name in models}
    )
    with st.container(horizontal=True, vertical_alignment="bottom", key="pictures-actions"):
        name: str = st.selectbox(
            "Evaluate a model on them",
            list(models),
            format_func=labels.__getitem__,
            key=f"pictures-model-{upload.token}",
            help=FOR_HELP,
            width=320,
        )
        # Where the model knows none of the classes, it has to be fine-tuned first.
        fits = _fits(upload, models[name])
        main: dict[bool, Literal["primary", "secondary"]] = {True: "primary", False: "secondary"}
        address = {"model": name, state.IMAGES: upload.name, **state.target_address()}
        if st.button("Compare it", type=main[fits], icon=":material/speed:", key="compare-images"):
            st.switch_page(site.COMPARE, query_params=address)
        many = upload.images is not None and len(upload.images.classes) > 1
        if many and st.button(
            "Fine-tune a model on these classes",
            type=main[not fits],
            icon=site.ICONS["Transfer"],
            key="fine-tune-images",
        ):
            st.switch_page(site.TRANSFER, query_params={state.IMAGES: upload.name})
    return models[name]


def _fits(upload: Upload, info: ModelInfo) -> bool:
    """Return whether any class of the pictures is one of the model's, or nothing is said of it."""
    images = upload.images
    if images is None or not images.classes or images.labels_of:
        return True
    return len(unmatched([name for name, _ in images.classes], info)) < len(images.classes)


def _map(upload: Upload, images: UploadedImages, info: ModelInfo) -> None:
    """Draw a choice of label for each class that fits none by name, and keep what is said."""
    label_of = dict(images.labels_of)
    names = unmatched([name for name, _ in images.classes], info)
    st.markdown(Markdown("**Labels of {}**").format(info.title))
    if not names:
        st.caption(ALL_FIT)
        return
    st.caption(MAPPING_SENTENCE)
    if len(names) > MAX_MAPPED:
        st.caption(
            markdown(
                f"The first {MAX_MAPPED} of {len(names):,} are here. Folders named as the labels "
                "are need none of this."
            )
        )
    labels = list(dict.fromkeys(info.labels))
    said: dict[str, str] = {}
    with st.container(key="mapping"):
        for name in names[:MAX_MAPPED]:
            chosen: str | None = st.selectbox(
                markdown(name),
                labels,
                index=labels.index(label_of[name]) if label_of.get(name) in labels else None,
                placeholder="Choose a label",
                key=f"map-{upload.token}-{info.name}-{name}",
            )
            if chosen is not None:
                said[name] = chosen
    _keep(upload, images, names, said)


def _keep(
    upload: Upload, images: UploadedImages, names: Sequence[str], said: Mapping[str, str]
) -> None:
    """Draw the button that keeps what is said, and how many classes are without a label."""
    others = {name: label for name, label in images.labels_of if name not in names}
    labels_of = tuple(sorted({**others, **said}.items()))
    missing = len(names) - len(said)
    with st.container(horizontal=True, vertical_alignment="center", key="mapping-actions"):
        st.button(
            "Save the labels",
            disabled=labels_of == tuple(sorted(images.labels_of)),
            on_click=_save,
            args=[upload, replace(images, labels_of=labels_of)],
            key="save-labels",
        )
        if missing:
            are = "is" if missing == 1 else "are"
            count = wording.count(missing, "class", "classes")
            st.caption(markdown(f"{count} {are} without a label yet."))


def _save(upload: Upload, images: UploadedImages) -> None:
    def keep() -> None:
        state.service().uploads.describe(upload.token, images=images)

    progress.guarded(keep)
