"""Where a variant and float32 part ways: which pictures, which classes, and how surely."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from quantcore import wording
from quantcore.decide import Disagreement, references
from quantcore.decide import differences as apart
from quantcore.draw import gallery, titles
from quantcore.engine import cell_key, predictions, variant_of
from quantcore.errors import QuantcoreError
from quantcore.models import find
from quantcore.schema import ImageSpec, ModelSpec, VariantResult
from ui.common import fragments, owned_uploads, site, state, thumbnails
from ui.common.markdown import Markdown, markdown, reason_and_remedy
from ui.common.state import Parameter, Shown

PAGE_LENGTH = 24
# A heat map of more classes is a wall of numbers; the table and the list remain.
MAX_CLASSES = 30
ALL = "All classes"
# Length of the prefix of a variant's key that is unique within a comparison.
KEY_LENGTH = 12
VARIANT, CLASS = "variant", "class"
KINDS = {
    "all": "All",
    "float32": "Only float32 right",
    "variant": "Only the variant right",
    "neither": "Neither right",
}
EMPTY = fragments.empty(
    "Nothing to compare yet",
    "The pictures on which a variant and float32 differ will be here, once a model is measured.",
)
NOT_KEPT = (
    "What these variants answered is not kept here: they were measured on another machine, it was "
    "removed to make room, or the folder holds other pictures by now. Measure them here to see the "
    "pictures."
)


def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of this page holds."""
    held = {state.TARGET, "model", "weights", "workflows", "backends", "job"}
    return (
        *(each for each in state.parameters() if each.key in held),
        Parameter(VARIANT, (), None),
        Parameter(CLASS, (), None),
        Parameter("kind", ("all",), tuple(KINDS)),
    )


@dataclass(frozen=True, eq=False)
class Pair:
    """A variant beside its float32, with what each answered.

    Attributes:
        labels: the right classes `[N]`; None where nobody knows.
    """

    row: VariantResult
    base: VariantResult
    name: str
    images: ImageSpec
    before: predictions.Logits
    after: predictions.Logits
    labels: NDArray[np.int64] | None

    @property
    def classes(self) -> Sequence[str]:
        """Return the classes' names."""
        return find(ModelSpec(self.row.model)).labels


def link(shown: Shown, key: str) -> dict[str, str]:
    """Return the query parameters of this page for a variant of a comparison."""
    model = shown.comparison.request.model
    address = {
        "model": model.listed,
        "weights": "random" if model.is_random else "",
        "job": shown.job.id if shown.job else "",
        **state.target_address(),
        VARIANT: key[:KEY_LENGTH],
    }
    return {name: value for name, value in address.items() if value}


def draw() -> None:
    """Draw the choice of variants, and for the one chosen all that differs."""
    shown = state.shown(state.current_job())
    offered = _offered(shown) if shown else {}
    if shown is None or not offered:
        st.html(EMPTY)
        site.offer_compare("Measure a model")
        return
    if owned_uploads.is_foreign(shown.comparison.request.images.source):
        st.info(owned_uploads.PRIVATE_IMAGES)
        return
    key = _choose(offered)
    pair = _pair(shown, key, offered[key])
    if pair is None:
        st.info(NOT_KEPT)
        site.offer_compare("Measure here")
    else:
        _answer(pair)
    state.write_address(parameters())


def _offered(shown: Shown) -> dict[str, str]:
    """Return the variants that have a float32 beside them: their names by key."""
    bases = references(shown.results)
    named = zip(shown.results, titles.names(shown.results), strict=True)
    return {row.key: name for row, name in named if not row.is_float and row.key in bases}


def _choose(offered: dict[str, str]) -> str:
    """Draw the choice between the variants; return the key of the one chosen."""
    keys = list(offered)
    wanted = str(st.session_state.get(VARIANT) or "")
    first = next((index for index, key in enumerate(keys) if wanted and key.startswith(wanted)), 0)
    key: str = st.selectbox(
        "Variant",
        keys,
        index=first,
        format_func=offered.__getitem__,
        key=f"gallery-variant-{state.visit()}",
        help="It is held against float32, picture by picture.",
    )
    st.session_state[VARIANT] = key[:KEY_LENGTH]
    return key


def _pair(shown: Shown, key: str, name: str) -> Pair | None:
    """Return the answers of a variant and of its float32; None where they are not kept here."""
    row = next(row for row in shown.results if row.key == key)
    base = references(shown.results)[key]
    store = state.service().store
    before, after = predictions.logits_of(store, base), predictions.logits_of(store, row)
    if before is None or after is None or before.shape != after.shape:
        return None
    # A sweep asks for other numbers and sizes of pictures in each of its requests.
    images = replace(
        shown.comparison.request.images,
        evaluation_images=row.fidelity_images,
        image_size=row.image_size,
    )
    if owned_uploads.facts(ModelSpec(row.model)) is None or not are_the_same(shown, row):
        return None
    labels = predictions.labels_of(images, row)
    if len(before) != row.fidelity_images or (labels is not None and len(labels) != len(before)):
        return None
    return Pair(row, base, name, images, before, after, labels)


def are_the_same(shown: Shown, row: VariantResult) -> bool:
    """Return whether the row was evaluated on these pictures: a folder may hold others by now.

    The row's key stands for all that it depends on, the pictures' contents among them.
    """
    comparison = shown.comparison
    if comparison.request.images.source is None:
        return True
    try:
        variant = variant_of(row)
        requests = (comparison.request, *comparison.also)
        return any(cell_key(each, variant, comparison.environment) == row.key for each in requests)
    except QuantcoreError:
        return False


def _answer(pair: Pair) -> None:
    differing = apart.disagreements(pair.before, pair.after, pair.labels)
    st.markdown(markdown(_summary(pair, differing)))
    if not differing:
        return
    _pictures(pair, differing)
    if pair.labels is not None:
        _classes(pair, pair.labels)


def _summary(pair: Pair, differing: Sequence[Disagreement]) -> Markdown:
    """Return in words how often the two differ, and who is then right."""
    name, count = pair.name, len(pair.before)
    of = wording.count(count, "image")
    if not differing:
        return markdown(f"{name} and float32 name the same class on all {of}.")
    share = wording.percent(len(differing) / count)
    differ = Markdown("They differ on **{:,} of {}** ({}). {}")
    if pair.labels is None:
        unknown = "Which is right is unknown here: no labels are available."
        return differ.format(len(differing), of, share, unknown)
    who = Counter(one.right for one in differing)
    real = apart.is_real(pair.before, pair.after, pair.labels)
    verdict = "taken by itself, a real difference" if real else "a tie on these images"
    right = (
        f"On {who['float32']:,} only float32 is right, on {who['variant']:,} only {name}, "
        f"on {who['neither']:,} neither: {verdict}."
    )
    return differ.format(len(differing), of, share, right)


def _pictures(pair: Pair, differing: Sequence[Disagreement]) -> None:
    st.subheader("The pictures, surest contradiction first", anchor=False)
    chosen = _filtered(pair, differing)
    if not chosen:
        st.caption("None of this kind.")
        return
    pages = -(-len(chosen) // PAGE_LENGTH)
    page = 1
    grid = st.container()
    if pages > 1:
        # Other choices make other pages, so the widget is made anew with them.
        page = st.pagination(pages, key=f"gallery-page-{len(chosen)}-{state.visit()}")
    part = chosen[(page - 1) * PAGE_LENGTH : page * PAGE_LENGTH]
    try:
        indices = [one.picture for one in part]
        pictures = thumbnails.addresses(pair.row.key, pair.images, pair.row.model, indices)
    except QuantcoreError as error:
        grid.warning(reason_and_remedy(error.reason, error.remedy))
        return
    grid.html(gallery.cards(list(zip(part, pictures, strict=True)), pair.classes, pair.name))


def _filtered(pair: Pair, differing: Sequence[Disagreement]) -> list[Disagreement]:
    """Draw the choices of who is right and of the class; return the pictures that fit both."""
    if pair.labels is None:
        return list(differing)
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        kind = st.segmented_control(
            "Who is right",
            list(KINDS),
            default=st.session_state["kind"],
            required=True,
            format_func=KINDS.__getitem__,
            key=f"gallery-kind-{state.visit()}",
        )
        st.session_state["kind"] = kind
    with right:
        label = _choose_class(pair, differing)
    return [
        one
        for one in differing
        if kind in ("all", one.right) and (label is None or one.label == label)
    ]


def _choose_class(pair: Pair, differing: Sequence[Disagreement]) -> int | None:
    """Draw the classes among the pictures; return the one chosen, or None for all."""
    many = Counter(one.label for one in differing if one.label is not None)
    labels = sorted(many, key=lambda label: -many[label])
    options: list[int | None] = [None, *labels]
    chosen = state.whole_number(st.session_state.get(CLASS))
    label: int | None = st.selectbox(
        "Class",
        options,
        index=options.index(chosen) if chosen in options else 0,
        format_func=lambda one: ALL if one is None else f"{pair.classes[one]} ({many[one]})",
        key=f"gallery-class-{state.visit()}",
    )
    st.session_state[CLASS] = None if label is None else str(label)
    return label


def _classes(pair: Pair, labels: NDArray[np.int64]) -> None:
    st.subheader("What each class gains or loses", anchor=False)
    changes = apart.class_changes(pair.before, pair.after, labels)
    st.caption("Changes in points of top-1, with their 95 % intervals over the same images.")
    st.html(gallery.classes(changes, pair.classes, pair.name))
    if len(pair.classes) > MAX_CLASSES:
        return
    st.subheader("Which classes are confused more often, or less", anchor=False)
    change = apart.confusion_change(pair.before, pair.after, labels)
    st.html(gallery.confusion(change, pair.classes))
    text = gallery.confusion_text(change, pair.classes)
    st.caption(markdown(f"The greatest changes in images. {text}"))
