"""An export on a page: what is wanted, how far it is, the file and its verification report."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import streamlit as st

from quantcore import wording
from quantcore.cli import arguments
from quantcore.draw import titles, verification
from quantcore.engine import variant_of
from quantcore.errors import QuantcoreError
from quantcore.exports import Exports, ExportView, bundle, exports
from quantcore.formats import DEFAULT_FORMAT, FORMATS, file_format
from quantcore.models import ModelInfo, find
from quantcore.report import figures
from quantcore.schema import (
    ExportSpec,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Variant,
    VariantResult,
    VerificationReport,
    current_environment,
)
from quantcore.workflows import WORKFLOWS, workflow
from ui.common import fields, fragments, owned_uploads, progress, state, visitor, widgets
from ui.common.markdown import Markdown, markdown, reason_and_remedy
from ui.common.state import Parameter, Shown

# A variant that was measured, and what was verified of a file made from it.
ExportedRow = tuple[VariantResult, VerificationReport]
FLOAT = "float32"
ICON = ":material/download:"
FORMAT_HELP = "Which runtime takes the file. Every format has its own; none is read by all."
WORKFLOW_HELP = "How the numbers become 8 bits wide; float32 leaves them as they are."
SIZE_KEY, SETTINGS_KEY, OPTIONS_KEY = "image_size", "settings", "options"
EMPTY = fragments.empty(
    "This file has not been made yet",
    "It will be here with its report: loaded by a fresh process, asked the same pictures as the "
    "variant it comes from, timed, and read back.",
    press="Make the file",
)
FOREIGN = (
    "**Somebody else uploaded this model, or it is gone.** Upload the file yourself on the Models "
    "page, then export that."
)
FAILED_FOLD = "Download anyway"
FAILED_SENTENCE = (
    "A check did not hold, so what the file does in an app is not what was measured. It is here "
    "for finding out why."
)


@cache
def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of this page holds."""
    return (
        Parameter("model", (state.DEFAULT_MODEL,), state.ModelNames()),
        Parameter("weights", ("trained",), ("trained", "random")),
        Parameter("workflow", ("static",), tuple(WORKFLOWS)),
        Parameter("backend", ("qnnpack",), tuple(titles.backends())),
        Parameter("format", (DEFAULT_FORMAT,), tuple(FORMATS)),
        Parameter(SIZE_KEY, (), None),
        Parameter(state.IMAGES, (), state.UploadNames()),
        Parameter(SETTINGS_KEY, (), None, many=True),
        Parameter(OPTIONS_KEY, (), None, many=True),
    )


def link(row: VariantResult, images: ImageSpec) -> dict[str, str]:
    """Return the query parameters of this page for a measured variant.

    Empty where this page would make another file: the model is not known here any more, or the
    pictures it was calibrated on are not the visitor's.
    """
    own_size = _own_size(row.model)
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
        SIZE_KEY: "" if row.image_size == own_size else row.image_size,
        state.IMAGES: images.source or "",
        SETTINGS_KEY: ",".join(_written(dict(variant_of(row).settings))),
    }
    return {key: str(value) for key, value in address.items() if value}


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
        left, middle, right = st.columns([1.2, 1, 1], gap="medium")
        with left:
            info = widgets.choose_model(on_change=_forget_size)
            widgets.say_images()
            if info.source == "torchvision":
                widgets.choose_weights(on_change=None)
        with middle:
            name = _choose("Workflow", "workflow", list(WORKFLOWS), titles.workflow, WORKFLOW_HELP)
        with right:
            backend = _backend(name)
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
                MeasureSpec(threads=state.settings().threads),
            )
        except QuantcoreError as error:
            st.warning(reason_and_remedy(error.reason, error.remedy))
            return None


def _choose(
    label: str, key: str, names: Sequence[str], title: Callable[[str], str], help: str
) -> str:
    return str(st.selectbox(label, names, key=key, format_func=title, help=help))


def _backend(name: str) -> str | None:
    if name == FLOAT:
        st.selectbox(
            "Backend", ["none needed"], disabled=True, help="float32 runs on every machine."
        )
        return None
    return _choose("Backend", "backend", titles.backends(), titles.backend, widgets.backend_help())


def _format() -> str:
    format = str(
        st.segmented_control(
            "Format",
            list(FORMATS),
            key="format",
            required=True,
            format_func=lambda name: markdown(f"{FORMATS[name].title} {FORMATS[name].suffix}"),
            help=FORMAT_HELP,
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
    settings = {part: arguments.value(value.replace("+", ",")) for part, _, value in pairs}
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


def exported_of(shown: Shown) -> list[ExportedRow]:
    """Return the files that were made of what is shown, in any format, with their reports.

    None of another machine's comparison: figures of two machines do not go into one plot.
    """
    comparison = shown.comparison
    if comparison.environment != current_environment():
        return []
    images, threads = comparison.request.images, state.settings().threads
    return [
        (row, report)
        for row in shown.results
        # A file is timed on one image a call, with this server's threads.
        if (row.batch, row.threads) == (1, threads)
        for format in FORMATS
        if (report := _recorded(row, format, images, threads)) is not None
    ]


def _recorded(
    row: VariantResult, format: str, images: ImageSpec, threads: int
) -> VerificationReport | None:
    # The page asks for files that are verified on its default number of pictures.
    side = None if row.image_size == _own_size(row.model) else row.image_size
    pictures = replace(images, evaluation_images=ImageSpec().evaluation_images, image_size=side)
    try:
        return queue().recorded(exports.spec_of(row, format, pictures, threads))
    except QuantcoreError:
        return None


def _own_size(model: str) -> int | None:
    """Return the side in px that a model was made for; None where it is not known here."""
    try:
        return find(ModelSpec(model)).image_size
    except QuantcoreError:
        return None


def queue() -> Exports:
    """Return the exports of this server."""
    return state.comparisons().exports


def is_running(spec: ExportSpec) -> bool:
    """Return whether this file is being made."""
    view = _latest(spec)
    return view is not None and view.is_open


def _latest(spec: ExportSpec) -> ExportView | None:
    """Return the view of the newest export of this file; None where none was requested."""
    export_id = queue().latest(spec)
    return queue().view(export_id) if export_id else None


def answer(spec: ExportSpec, was_running: bool) -> None:
    """Draw the file and its report, or how far it is, or the button that makes it.

    Args:
        spec: which file.
        was_running: as the page was drawn, which draws this again and again while it is so.
    """
    if progress.REFUSAL in st.session_state:
        # Only the whole page says why something was refused.
        st.rerun()
    view = _latest(spec)
    if was_running != (view is not None and view.is_open):
        st.rerun()
    if view is not None and view.is_open:
        _busy(view, str(queue().latest(spec)))
        return
    try:
        support = exports.supports(spec)
        report = queue().cached(spec) if support.ok else None
    except QuantcoreError as error:
        st.error(reason_and_remedy(error.reason, error.remedy))
        return
    if not support.ok:
        st.info(reason_and_remedy(support.reason, support.remedy))
    elif report is None:
        _offer(spec, view)
    else:
        _result(report)


def _offer(spec: ExportSpec, view: ExportView | None) -> None:
    """Draw the button that makes the file, under what became of the last try."""
    if view is not None and view.state == "cancelled":
        st.info("**Stopped.** Nothing was written.")
    elif view is not None and view.problem is not None:
        _failed(view.problem, view.details)
    again = view is not None
    st.button(
        "Try again" if again else "Make the file",
        type="primary",
        icon=":material/package_2:",
        key="make",
        on_click=lambda: progress.guarded(lambda: queue().start(spec, visitor.current().owner)),
    )
    if not again:
        st.html(EMPTY)


def _failed(problem: QuantcoreError, details: str) -> None:
    st.error(reason_and_remedy(problem.reason, problem.remedy))
    if details:
        with st.expander("Technical details", type="compact"):
            st.code(details, language=None)


def _busy(view: ExportView, export_id: str) -> None:
    with st.container(border=True, key="busy"):
        text, button = st.columns([5, 1], vertical_alignment="center")
        left = wording.time_left(view.seconds_left)
        stage = ", ".join(filter(None, [view.stage or "waiting for its turn", left]))
        sentence = reason_and_remedy(f"Making {exports.file_name(view.spec)}.", stage)
        text.progress(min(max(view.share, 0.0), 1.0), markdown(sentence))
        with button:
            st.button(
                "Cancel",
                on_click=lambda: progress.guarded(lambda: _cancel(export_id)),
                width="stretch",
            )


def _cancel(export_id: str) -> None:
    if not queue().cancel(export_id, visitor.current().owner):
        st.toast("Another visitor waits for this file as well, so it goes on.")


def _result(report: VerificationReport) -> None:
    name = exports.file_name(report.spec)
    if report.passed:
        _downloads(report, name, is_primary=True)
    st.html(verification.verification_report(report, figures(report), name))
    if not report.passed:
        with st.expander(FAILED_FOLD, type="compact", key="anyway"):
            st.caption(FAILED_SENTENCE)
            _downloads(report, name, is_primary=False)
        return
    _sample(report)
    _code(report, name)


def _downloads(report: VerificationReport, name: str, *, is_primary: bool) -> None:
    packed = bundle.pack_name(name)
    with st.container(horizontal=True, key="downloads"):
        st.download_button(
            "Download the bundle",
            lambda: _packed(report, name),
            packed,
            "application/zip",
            on_click="ignore",
            type="primary" if is_primary else "secondary",
            icon=ICON,
            help="A zip: the file, its labels, code for Kotlin, Swift and Python, a picture with "
            "the expected answer, the report, and a program that checks the file's digest and its "
            "answer to the picture.",
        )
        st.download_button(
            markdown(f"Only {name}"),
            lambda: _content(report),
            name,
            "application/octet-stream",
            on_click="ignore",
            icon=ICON,
        )
        st.download_button(
            "Proof as JSON",
            report.to_json,
            f"{name}.proof.json",
            "application/json",
            on_click="ignore",
            icon=ICON,
        )


def _packed(report: VerificationReport, name: str) -> bytes:
    with queue().files(report) as (file, sample):
        return bundle.pack(report, name, file, sample)


def _content(report: VerificationReport) -> bytes:
    with queue().files(report) as (file, _):
        return file.read_bytes()


def _sample(report: VerificationReport) -> None:
    if report.sample is None:
        return
    st.subheader("One picture, and its answer", anchor=False)
    picture, said = st.columns([1, 4], vertical_alignment="center")
    content = queue().picture(report)
    if content is not None:
        picture.image(
            content,
            caption="sample.png, as the model sees it",
            width=128,
            alt="The picture that the answers beside it are about",
        )
    lines = (
        Markdown("1. {}, {}").format(guess.label, wording.percent(guess.share))
        for guess in report.sample.guesses
    )
    said.markdown(markdown(Markdown("\n").join(lines)))


def _code(report: VerificationReport, name: str) -> None:
    st.subheader("Code that runs it", anchor=False)
    snippets = bundle.snippets(report, name)
    for tab, language in zip(st.tabs(list(bundle.LANGUAGES.values())), snippets, strict=True):
        with tab:
            # Wrapped: a box that scrolls sideways could not be reached by keyboard.
            st.code(snippets[language], language=language, wrap_lines=True)
