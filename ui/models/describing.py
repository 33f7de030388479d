"""How an uploaded model takes pictures, and the names of its classes: set by its owner."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import streamlit as st

from quantcore import uploads, wording
from quantcore.draw import titles
from quantcore.errors import RequestError
from quantcore.images import IMAGENET_MEAN, IMAGENET_STD, Preview, preview
from quantcore.models import catalogue, find
from quantcore.schema import ModelSpec
from quantcore.uploads import Channels, Upload, UploadedModel
from ui.common import owned_uploads, progress, site, state
from ui.common.markdown import Markdown, markdown, reason_and_remedy

SMALLEST_PX, LARGEST_PX = 16, 1_024
LABELS_MB = 2
Three = tuple[float, ...]
PRESETS: Mapping[str, tuple[Three, Three]] = {
    "ImageNet": (IMAGENET_MEAN, IMAGENET_STD),
    "0 to 1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "−1 to 1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
CHANNELS: Mapping[Channels, str] = {"RGB": "RGB", "BGR": "BGR", "grey": "Grey"}
FORMS = {
    "state_dict": "A state dict: numbers alone, no program.",
    "torchscript": "A TorchScript program, which only ever runs locked in.",
    "exported_program": "An exported program, which only ever runs locked in.",
    "onnx": "An ONNX model, which only ever runs locked in.",
}
PREVIEW_SENTENCE = (
    "On one scale for all models: what ImageNet's mean and std make black is black here. Where a "
    "model was trained with them, wrong numbers show as too dark, too pale or tinted, and a wrong "
    "channel order as swapped colours. Numbers of 0 to 1 or −1 to 1 look pale even where they are "
    "right."
)
INPUT_HELP = "Side of the square the model sees, as it was trained."
RESIZE_HELP = "Shorter side of the picture before the square is cut out of its middle."
CHANNELS_HELP = (
    "OpenCV's order is BGR, almost all others' RGB. Grey is one grey in all three channels."
)
MEAN_HELP = "Taken from each channel, of pixels from 0 to 1. One number counts for all three."
STD_HELP = "What each channel is then divided by. One number counts for all three."
LABELS_HELP = "One a line, in the order of the model's outputs."
CANDIDATES_HELP = (
    "The file's numbers fit each of these, and nothing in it says which one they were trained in."
)


@dataclass(frozen=True)
class Draft:
    """What the widgets say: the model as it would be kept, or what is wrong, in sentences."""

    model: UploadedModel
    problems: tuple[str, ...] = ()


def draw(upload: Upload, candidates: Sequence[str] = ()) -> None:
    """Draw what was recognised, the form that says the rest, and the way on."""
    model = upload.model
    if model is None:
        return
    st.subheader(markdown(uploads.title(upload)), anchor=False)
    st.markdown(markdown(recognised(model)))
    for note in model.notes:
        st.caption(markdown(note))
    actions = st.container()
    form, seen = st.columns([1.25, 1], gap="medium")
    with form:
        draft = _form(upload, model, candidates)
    with seen:
        _preview(upload, draft)
    with actions:
        _actions(upload, draft)


def recognised(model: UploadedModel) -> Markdown:
    """Return in words what a file was recognised as."""
    classes = wording.count(model.classes, "class", "classes")
    size = f"{classes}, {model.parameters / 1e6:.1f} M parameters"
    architecture = catalogue().get(model.architecture or "")
    name = f"{architecture.title} with " if architecture else ""
    return reason_and_remedy(f"{name}{size}.", FORMS[model.form])


def _form(upload: Upload, model: UploadedModel, candidates: Sequence[str]) -> Draft:
    with st.container(border=True, key="describe"):
        architecture = _architecture(upload, model, candidates)
        left, middle, right = st.columns(3)
        with left:
            side = _side(upload, "size", "Input size, px", model.image_size, INPUT_HELP)
        with middle:
            resize = _side(upload, "resize", "Resize to, px", model.resize_size, RESIZE_HELP)
        with right:
            channels: Channels = st.selectbox(
                "Channels",
                list(CHANNELS),
                index=list(CHANNELS).index(model.channels),
                format_func=CHANNELS.__getitem__,
                key=_key(upload, "channels"),
                help=CHANNELS_HELP,
            )
        mean, std = _normalisation(upload, model)
        labels = _labels(upload, model)
    problems = [
        *_wrong_sides(side, resize),
        *_wrong_numbers(mean, std),
        *_wrong_labels(labels, model.classes),
    ]
    described = replace(
        _built_as(model, architecture),
        image_size=side,
        resize_size=resize,
        channels=channels,
        mean=mean or model.mean,
        std=std or model.std,
        labels=labels,
    )
    return Draft(described, tuple(problems))


def _key(upload: Upload, name: str) -> str:
    return f"describe-{upload.token}-{name}"


def _architecture(upload: Upload, model: UploadedModel, candidates: Sequence[str]) -> str | None:
    """Draw the choice between architectures where several fit; return the one chosen."""
    if len(candidates) < 2:
        return model.architecture
    names = list(dict.fromkeys([*candidates, *filter(None, [model.architecture])]))
    chosen: str = st.selectbox(
        markdown(f"Architecture: {wording.count_of(len(names))} fit equally well"),
        names,
        index=names.index(model.architecture) if model.architecture in names else 0,
        format_func=lambda name: titles.model(ModelSpec(name)),
        key=_key(upload, "architecture"),
        help=CANDIDATES_HELP,
    )
    return chosen


def _built_as(model: UploadedModel, architecture: str | None) -> UploadedModel:
    """Return the model with all that another architecture means for its layers."""
    if architecture is None or architecture == model.architecture:
        return model
    like = catalogue()[architecture]
    return replace(
        model,
        architecture=architecture,
        interpolation=like.interpolation,
        dynamic_layers=tuple(sorted(like.dynamic_layers.items())),
        float_attention=like.float_attention,
    )


def _side(upload: Upload, name: str, label: str, first: int, help: str) -> int:
    value = st.number_input(
        label,
        SMALLEST_PX,
        LARGEST_PX,
        min(max(first, SMALLEST_PX), LARGEST_PX),
        step=32,
        key=_key(upload, name),
        help=help,
    )
    return int(value)


def _normalisation(upload: Upload, model: UploadedModel) -> tuple[Three | None, Three | None]:
    """Draw mean and std, and the usual ones to take; return both, None for what is no numbers."""
    keys = [_key(upload, name) for name in ("mean", "std")]
    for key, first in zip(keys, (model.mean, model.std), strict=True):
        st.session_state.setdefault(key, written(first))
    now = tuple(three(str(st.session_state[key])) for key in keys)
    preset = _key(upload, "preset")
    st.session_state[preset] = next((name for name in PRESETS if PRESETS[name] == now), None)
    st.segmented_control(
        "Normalisation", list(PRESETS), key=preset, on_change=_take, args=[preset, keys]
    )
    left, right = st.columns(2)
    mean = left.text_input("Mean of the channels", key=keys[0], help=MEAN_HELP)
    std = right.text_input("Std of the channels", key=keys[1], help=STD_HELP)
    return three(mean), three(std)


def _take(preset: str, keys: Sequence[str]) -> None:
    """Write the chosen mean and std into their fields."""
    chosen = st.session_state[preset]
    if chosen is not None:
        for key, numbers in zip(keys, PRESETS[chosen], strict=True):
            st.session_state[key] = written(numbers)


def written(numbers: Three) -> str:
    """Return numbers as a field holds them: `0.485, 0.456, 0.406`."""
    return ", ".join(f"{number:g}" for number in numbers)


def three(text: str) -> Three | None:
    """Return the three numbers of a text, of which one counts for all; None where it is not so."""
    try:
        numbers = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        return None
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    return numbers if len(numbers) == 3 and all(map(math.isfinite, numbers)) else None


def _labels(upload: Upload, model: UploadedModel) -> tuple[str, ...]:
    """Draw the classes' names, and where else they can be taken from; return them."""
    key = _key(upload, "labels")
    st.session_state.setdefault(key, "\n".join(model.labels))
    text = st.text_area("Labels", key=key, height=180, help=LABELS_HELP)
    with st.expander("Take the labels from elsewhere", type="compact", key="labels-from"):
        file = _key(upload, "file")
        st.file_uploader(
            "A text file with one a line, or JSON",
            ["txt", "json"],
            key=file,
            max_upload_size=LABELS_MB,
            on_change=_take_file,
            args=[key, file],
        )
        for each in owned_uploads.images().values():
            _offer_folders(each, key)
    return lines(text)


def lines(text: str) -> tuple[str, ...]:
    """Return the lines of a text that say something."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _offer_folders(images: Upload, key: str) -> None:
    classes = images.images.classes if images.images else ()
    if classes:
        many = wording.count(len(classes), "folder")
        st.button(
            markdown(f"The {many} of {uploads.title(images)}"),
            key=f"{key}-{images.token}",
            on_click=_write,
            args=[key, [name for name, _ in classes]],
        )


def _write(key: str, labels: Sequence[str]) -> None:
    st.session_state[key] = "\n".join(labels)


def _take_file(key: str, file: str) -> None:
    content = st.session_state[file]
    if content is not None:
        progress.guarded(lambda: _write(key, labels_in(content.name, content.read())))


def labels_in(filename: str, content: bytes) -> list[str]:
    """Return the labels of a text file with one a line, or of a JSON file.

    JSON is a list of names, names by number (`{"0": "cat"}`), numbers by name (`{"cat": 0}`), or
    ImageNet's way (`{"0": ["n01440764", "tench"]}`).

    Raises:
        RequestError: it is none of these.
    """
    text = content.decode("utf-8-sig", "replace")
    if not filename.casefold().endswith(".json"):
        return list(lines(text))
    try:
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            parsed = _in_order(parsed)
        names = [each[-1] if isinstance(each, list) else each for each in parsed]
        if not all(isinstance(name, str) for name in names):
            raise ValueError
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise RequestError(
            f"{filename} holds no list of labels.",
            'Write ["cat", "dog"], {"0": "cat"} or {"cat": 0}, or a text file with one a line.',
        ) from error
    return names


def _in_order(labels: Mapping[str, object]) -> list[object]:
    """Return the names of numbered labels in the order of their numbers."""
    if all(isinstance(value, int) for value in labels.values()):
        return [name for name, _ in sorted(labels.items(), key=lambda each: int(str(each[1])))]
    return [labels[number] for number in sorted(labels, key=int)]


def _wrong_sides(side: int, resize: int) -> list[str]:
    if resize >= side:
        return []
    return [
        f"A picture of {resize} px has no square of {side} px in it: resize to {side} px or more."
    ]


def _wrong_numbers(mean: Three | None, std: Three | None) -> list[str]:
    wrong = []
    if mean is None:
        wrong.append("The mean is three numbers, such as 0.485, 0.456, 0.406.")
    if std is None:
        wrong.append("The std is three numbers, such as 0.229, 0.224, 0.225.")
    elif min(std) <= 0:
        wrong.append("Every number of the std is above 0: the channels are divided by it.")
    return wrong


def _wrong_labels(labels: Sequence[str], classes: int) -> list[str]:
    if len(labels) == classes:
        return []
    many = wording.count(len(labels), "label")
    are = "is" if len(labels) == 1 else "are"
    off = abs(len(labels) - classes)
    remedy = f"add {off}" if len(labels) < classes else f"take {off} out"
    return [f"There {are} {many} for {wording.count(classes, 'class', 'classes')}: {remedy}."]


def _preview(upload: Upload, draft: Draft) -> None:
    """Draw a photograph before and after it is prepared as the form says."""
    st.markdown("**A photograph, as the model would see it**")
    if draft.problems and (min(draft.model.std) <= 0 or _wrong_sides_of(draft.model)):
        st.caption("It will be here once the numbers fit.")
        return
    model = replace(draft.model, labels=())
    shown = _previewed(upload.name, model)
    with st.container(key="preview"):
        before, after = st.columns(2)
    before.image(
        shown.before, "Cut out of its middle", "stretch", alt="A photograph, scaled and cut out"
    )
    after.image(shown.after, "What the model gets", "stretch", alt=_range_text(shown))
    st.caption(markdown(f"{_range_text(shown)} {PREVIEW_SENTENCE}"))


def _wrong_sides_of(model: UploadedModel) -> bool:
    return bool(_wrong_sides(model.image_size, model.resize_size))


@lru_cache(maxsize=8)
def _previewed(name: str, model: UploadedModel) -> Preview:
    info = replace(
        find(ModelSpec(name)),
        image_size=model.image_size,
        resize_size=model.resize_size,
        channels=model.channels,
        mean=model.mean,
        std=model.std,
    )
    return preview(info)


def _range_text(shown: Preview) -> str:
    """Return in words what the numbers are that a model gets."""
    said = f"Its numbers run from {shown.low:.1f} to {shown.high:.1f}."
    if shown.clipped >= 0.005:
        said += f" {wording.percent(shown.clipped, 0)} of them are beyond black or white."
    return said.replace("-", "−")


def _actions(upload: Upload, draft: Draft) -> None:
    """Draw what is wrong, or the ways on: compare, which keeps what was changed, or only keep."""
    for problem in draft.problems:
        st.error(markdown(problem))
    is_changed = draft.model != upload.model
    with st.container(horizontal=True, vertical_alignment="bottom", key="describe-actions"):
        images = _choose_images(upload)
        pressed = st.button(
            "Save and compare" if is_changed else "Compare it",
            type="primary",
            icon=":material/speed:",
            disabled=bool(draft.problems),
            key="compare-upload",
        )
        st.button(
            "Save",
            disabled=bool(draft.problems) or not is_changed,
            on_click=_save,
            args=[upload, draft.model],
            key="save-model",
        )
        if is_changed:
            st.caption("Not saved yet.")
    if pressed:
        if is_changed:
            _save(upload, draft.model)
        if progress.REFUSAL in st.session_state:
            st.rerun()
        own_images = {state.IMAGES: images} if images else {}
        address = {"model": upload.name, **own_images, **state.target_address()}
        st.switch_page(site.COMPARE, query_params=address)


def _choose_images(upload: Upload) -> str | None:
    """Draw the choice of images to evaluate it on, where the visitor uploaded any; return it."""
    own = owned_uploads.images()
    if not own:
        return None
    labels = owned_uploads.distinct_labels({name: uploads.title(own[name]) for name in own})
    chosen: str | None = st.selectbox(
        "Evaluated with",
        [*own, None],
        format_func=lambda name: labels[name] if name else "Photographs without labels",
        key=_key(upload, "images"),
        width=260,
    )
    return chosen


def _save(upload: Upload, model: UploadedModel) -> None:
    def keep() -> None:
        state.service().uploads.describe(upload.token, model=model)

    progress.guarded(keep)
