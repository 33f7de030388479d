"""The form of an export: model, workflow, backend, format and settings, kept in the address."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import streamlit as st

from quantcore.backends import BACKENDS, default_backends, entry, made_for
from quantcore.draw import titles
from quantcore.engine import variant_of
from quantcore.errors import QuantcoreError
from quantcore.exports import exports
from quantcore.formats import FORMATS, file_format
from quantcore.models import ModelInfo, find
from quantcore.schema import (
    FLOAT_WORKFLOW,
    ExportSpec,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Target,
    Variant,
    VariantResult,
    current_environment,
    read_setting,
)
from quantcore.workflows import WORKFLOWS, workflow
from ui.common import fields, owned_uploads, state, widgets
from ui.common.markdown import Markdown, markdown, reason_and_remedy
from ui.common.state import Parameter

# Its files are for phones.
DEFAULT_BACKEND = "qnnpack"
FORMAT_HELP = "Which runtime takes the file. Every format has its own; none is read by all."
WORKFLOW_HELP = "How the numbers become 8 or 16 bits wide; float32 leaves them as they are."
SIZE_KEY, SETTINGS_KEY, OPTIONS_KEY = "image_size", "settings", "options"
FOREIGN = (
    "**Somebody else uploaded this model, or it is gone.** Upload the file yourself on the Models "
    "page, then export that."
)


def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of this page holds; defaults follow the target."""
    place = state.target()
    return (
        state.target_parameter(),
        Parameter("model", (state.DEFAULT_MODEL,), state.ModelNames()),
        Parameter("weights", ("trained",), ("trained", "random")),
        Parameter("workflow", ("static",), tuple(WORKFLOWS)),
        Parameter("backend", (_first_backend(place),), tuple(titles.backends())),
        Parameter("format", (_first_format(state.said("backend"), place),), tuple(FORMATS)),
        Parameter(SIZE_KEY, (), None),
        Parameter(state.IMAGES, (), state.UploadNames()),
        Parameter(SETTINGS_KEY, (), None, many=True),
        Parameter(OPTIONS_KEY, (), None, many=True),
    )


def _first_backend(place: Target | None) -> str:
    """Return the backend whose variant is exported unless another is chosen: phones' of torch."""
    if place in (None, "phone"):
        return DEFAULT_BACKEND
    return default_backends(place, current_environment())[0]


def _first_format(backend: str, place: Target | None) -> str:
    """Return the format of a file unless another is chosen; some backends' files have only one."""
    named = entry(backend) if backend else None
    if named is None or named.toolchain.makes_modules:
        return exports.formats_for(place)[0]
    return named.format.name


def _becomes(backend: str | None, format: str) -> bool:
    """Return whether the variant that is chosen becomes a file of a format, all else as usual."""
    variant = Variant(str(st.session_state["workflow"]), backend)
    with suppress(QuantcoreError):
        return exports.supports(exports.planned(state.chosen_model(), variant, format)).ok
    return False


def _follow_backend() -> None:
    """Choose a format that can carry the variant, where the one chosen cannot."""
    # float32 has no choice of backends.
    backend, formats = st.session_state.get("backend"), exports.formats_for(state.target())
    wanted = dict.fromkeys((str(st.session_state["format"]), *formats, *FORMATS))
    fitting = (format for format in wanted if _becomes(backend, format))
    st.session_state["format"] = next(fitting, st.session_state["format"])


def _follow_format() -> None:
    """Choose the backend whose own files a format is of, where another's cannot become one."""
    format, chosen = str(st.session_state["format"]), st.session_state.get("backend")
    if chosen is None:
        return
    own = (name for name in made_for(state.target()) if BACKENDS[name].format.name == format)
    fitting = (name for name in (chosen, *own) if _becomes(name, format))
    st.session_state["backend"] = next(fitting, chosen)


def choose_defaults() -> None:
    """Choose a backend and a format for the target, where those chosen are for another."""
    place = state.target()
    if st.session_state["backend"] not in made_for(place):
        st.session_state["backend"] = _first_backend(place)
    if st.session_state["format"] not in exports.formats_for(place):
        st.session_state["format"] = _first_format(st.session_state["backend"], place)


def link(row: VariantResult, images: ImageSpec, place: Target | None = None) -> dict[str, str]:
    """Return the query parameters of this page for a measured variant that ships to a target.

    Empty where this page would make another file: the model is not known here any more, or the
    pictures it was calibrated on are not the visitor's.
    """
    own_size = size_of(row.model)
    if own_size is None or images.seed != ImageSpec().seed or owned_uploads.is_foreign(row.model):
        return {}
    if images.source is not None and not owned_uploads.is_mine(images.source):
        return {}
    model = ModelSpec(row.model)
    address = {
        "model": model.listed,
        "weights": "random" if model.is_random else "",
        "workflow": row.workflow,
        "backend": row.backend or "",
        state.TARGET: place or "",
        "format": _unless_first(exports.first_format(row, images, place), place),
        SIZE_KEY: "" if row.image_size == own_size else row.image_size,
        state.IMAGES: images.source or "",
        SETTINGS_KEY: ",".join(_written(dict(variant_of(row).settings))),
    }
    return {key: str(value) for key, value in address.items() if value}


def _unless_first(format: str, place: Target | None) -> str:
    return "" if format == exports.formats_for(place)[0] else format


def leave_foreign() -> list[str]:
    """Drop pictures that are not the visitor's from the widget; return what was dropped."""
    name = st.session_state.get(state.IMAGES)
    if name is None or owned_uploads.is_mine(name):
        return []
    st.session_state[state.IMAGES] = None
    return [str(name)]


def ask() -> ExportSpec | None:
    """Draw what is wanted; return its spec, or None where what is chosen cannot be read."""
    with st.container(border=True, key="ask"):
        place = widgets.choose_target(choose_defaults)
        left, middle, right = st.columns([1.2, 1, 1], gap="medium")
        with left:
            info = widgets.choose_model(on_change=_forget_size)
            widgets.say_images()
            if info.source == "torchvision":
                widgets.choose_weights(on_change=None)
        with middle:
            name = _choose("Workflow", "workflow", list(WORKFLOWS), titles.workflow, WORKFLOW_HELP)
        with right:
            backend = _backend(name, place)
        format = _format()
        with st.expander("Settings", type="compact", key="export-settings"):
            settings = _fields(name, WORKFLOWS[name], SETTINGS_KEY)
            options = _fields(format, FORMATS[format], OPTIONS_KEY)
            side, source, *_ = st.columns(fields.COLUMNS)
            with side:
                size = _size(info)
            with source:
                pictures = widgets.choose_images()
        if owned_uploads.is_foreign(info.name):
            st.warning(FOREIGN)
            return None
        try:
            return exports.planned(
                state.chosen_model(),
                Variant(name, backend, tuple(settings.items())),
                format,
                options,
                ImageSpec(source=pictures, image_size=size),
                MeasureSpec.of(state.settings()),
            )
        except QuantcoreError as error:
            st.warning(reason_and_remedy(error.reason, error.remedy))
            return None


def _choose(
    label: str, key: str, names: Sequence[str], title: Callable[[str], str], help: str
) -> str:
    return str(
        st.selectbox(label, names, key=key, format_func=title, help=help, on_change=_follow_backend)
    )


def _backend(name: str, place: Target | None) -> str | None:
    if name == FLOAT_WORKFLOW:
        st.selectbox(
            "Backend", ["none needed"], disabled=True, help="float32 runs on every machine."
        )
        return None
    named = str(st.session_state["backend"])
    offered = [each for each in titles.backends() if each in (*made_for(place), named)]
    meanings = widgets.backend_help(place)
    return _choose("Backend", "backend", offered, titles.backend, meanings)


def say_fit(spec: ExportSpec) -> None:
    """Say where a file is not made for the target, before it is made or offered."""
    fitting = exports.fits(spec, state.target())
    if not fitting.ok:
        st.warning(reason_and_remedy(fitting.reason, fitting.remedy))


def _format() -> str:
    format = str(
        st.segmented_control(
            "Format",
            list(FORMATS),
            key="format",
            required=True,
            format_func=lambda name: markdown(f"{FORMATS[name].title} {FORMATS[name].suffix}"),
            help=FORMAT_HELP,
            on_change=_follow_format,
        )
    )
    st.caption(markdown(FORMATS[format].summary))
    return format


def _fields(name: str, kind: type, key: str) -> dict[str, Setting]:
    """Draw the settings of a workflow or format, at first as the address has them."""
    if not fields.of(kind):
        return {}
    title = titles.workflow(name) if name in WORKFLOWS else FORMATS[name].title
    st.markdown(Markdown("**{}**").format(title))
    changed = fields.draw(name, kind, _named(name, key), f"@{state.visit()}")
    st.session_state[key] = _written(changed)
    return changed


def _named(name: str, key: str) -> dict[str, Setting]:
    """Return the settings that the address has, as what they must be; none where any is wrong."""
    pairs = [text.partition(":") for text in st.session_state.get(key) or ()]
    settings = {part: read_setting(value.replace("+", ",")) for part, _, value in pairs}
    try:
        owner = workflow(name, settings) if name in WORKFLOWS else file_format(name, settings)
    except QuantcoreError:
        return {}
    values = {part: getattr(owner, part) for part in settings}
    return {part: value for part, value in values.items() if _is_drawable(value)}


def _is_drawable(value: Setting) -> bool:
    """Return whether a widget can show a value; none shows a number without end."""
    return not isinstance(value, float) or math.isfinite(value)


def _written(settings: dict[str, Setting]) -> list[str]:
    """Return settings as the address holds them: `calibration_images:64`."""
    return [
        f"{name}:{'+'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in settings.items()
    ]


def _forget_size() -> None:
    st.session_state[SIZE_KEY] = None


def _size(info: ModelInfo) -> int | None:
    addressed = state.whole_number(st.session_state.get(SIZE_KEY))
    first = info.image_size if addressed is None else addressed
    side = st.number_input(
        "Image size, px",
        16,
        1_024,
        min(max(first, 16), 1_024),
        step=32,
        key=f"export-size:{info.name}:{state.visit()}",
        help=markdown(
            f"Side of the square the model sees. {info.title} was made for {info.image_size} px."
        ),
    )
    size = None if side == info.image_size else int(side)
    st.session_state[SIZE_KEY] = str(size) if size else None
    return size


def size_of(model: str) -> int | None:
    """Return the side in px that a model was made for; None where it is not known here."""
    try:
        return find(ModelSpec(model)).image_size
    except QuantcoreError:
        return None
