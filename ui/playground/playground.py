"""One picture asked of every variant shown: where it is from, and what they all say."""

import secrets
from hashlib import sha256

import streamlit as st
from starlette.formparsers import MultiPartParser

from quantcore import wording
from quantcore.draw import playground as drawn
from quantcore.draw import titles
from quantcore.errors import QuantcoreError
from quantcore.images import load_images
from quantcore.models import find
from quantcore.playground import (
    MAX_BYTES,
    Picture,
    Playground,
    PlaygroundSpec,
    PlaygroundView,
    check,
)
from quantcore.schema import ImageSpec, ModelSpec, current_environment
from ui.common import budgets, fragments, owned_uploads, site, state, thumbnails, visitor
from ui.common.evaluated import recommended
from ui.common.markdown import Markdown, markdown, reason_and_remedy
from ui.common.once import once
from ui.common.state import Parameter, Shown

REFRESH_S = 0.2
# A warm answer comes within this, and then the page is drawn once and not three times.
PATIENCE_S = 0.9
SAMPLES = 12
CAMERA_PX = 480
SOURCE, PICTURE, RUN, AGAIN = "from", "picture", "playground_run", "playground_again"
SOURCES = {
    "examples": ":material/photo_library: Examples",
    "upload": ":material/upload: Upload",
    "camera": ":material/photo_camera: Camera",
}
FILE_TYPES = ("jpg", "jpeg", "png", "webp")
EMPTY = fragments.empty(
    "Nothing to ask yet",
    "Once a model is measured, one picture can be asked of all its versions here.",
)
NOT_HERE = (
    "**The files of these variants are not on this machine.** They were measured on another one, "
    "or removed to make room. Measure them here, which takes a few minutes; then every picture is "
    "answered in about a second."
)
A_PROGRAM = (
    "**This model came as a program, and programs of others are not kept loaded to be asked.** "
    "Upload its weights alone to try pictures."
)
NO_PICTURE = fragments.empty(
    "No picture yet",
    "What each of the {variants} sees in it will be here, side by side: the five classes it names "
    "first, how sure it is, and how long this one call took.",
)
RANDOM = "Random weights: the classes they name mean nothing; sizes and times are real."
GREY = (
    "This model learnt from small grey pictures of clothes, bright on black. A photograph may be "
    "named wrongly by all variants alike; what counts here is whether they agree."
)
PRIVATE = (
    "A picture you upload stays in this server's memory, never on its disk, and goes when you "
    "choose another or when many others have asked."
)
# Streamlit reads uploads with this parser, which would put those above 1 MB into a temporary file.
MultiPartParser.spool_max_size = MAX_BYTES


def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of this page holds."""
    held = {state.TARGET, "model", "weights", "workflows", "backends", "job", *state.BUDGET_KEYS}
    return (
        *(each for each in state.parameters() if each.key in held),
        Parameter(SOURCE, ("examples",), tuple(SOURCES)),
        Parameter(PICTURE, (), None),
    )


def link(shown: Shown) -> dict[str, str]:
    """Return the query parameters of this page for the variants of a comparison."""
    model = shown.comparison.request.model
    values = {
        **state.choice_of(model),
        "job": shown.job.id if shown.job else None,
    }
    parameters_set = {}
    for each in parameters():
        value = values[each.key] if each.key in values else st.session_state.get(each.key)
        if each.key not in (SOURCE, PICTURE) and (text := each.write(value)):
            parameters_set[each.key] = text
    return parameters_set


def may_ask(shown: Shown) -> bool:
    """Return whether a comparison's model can be asked: somebody's program is not kept loaded."""
    info = owned_uploads.facts(shown.comparison.request.model)
    return info is None or not info.is_program


def playground() -> Playground:
    """Return the playground of this server."""
    return state.service().playground


def draw() -> None:
    """Draw the choice of a picture, and what the variants say to it."""
    shown = state.shown(state.current_job())
    if shown is None or not shown.results:
        st.html(EMPTY)
        _offer_measuring("Measure a model")
        return
    _introduce(shown)
    if not may_ask(shown):
        st.info(A_PROGRAM)
        return
    if not playground().are_here(shown.results):
        st.info(NOT_HERE)
        _offer_measuring("Measure here")
        return
    picture = _choose(shown)
    state.write_address(parameters())
    if picture is None:
        _put_away()
        variants = wording.count(len(shown.results), "variant")
        st.html(NO_PICTURE.format(variants=variants))
        return
    try:
        run_id = _started(PlaygroundSpec(shown.results, shown.comparison.request.images, picture))
        is_open = playground().wait(run_id, PATIENCE_S).is_open
    except QuantcoreError as error:
        _problem(error)
        return
    follow = st.fragment(_follow, run_every=REFRESH_S if is_open else None)
    follow(run_id, is_open, shown)


def _introduce(shown: Shown) -> None:
    """Say which comparison's variants answer."""
    comparison = shown.comparison
    model, day = titles.model(comparison.request.model), wording.day(comparison.created)
    measured = f"measured on {day}"
    if shown.provenance in ("shipped", "elsewhere"):
        measured += f" on {comparison.environment.sentence()}"
    variants = wording.count(len(shown.results), "variant")
    st.caption(markdown(f"{variants} of {model}, {measured}."))
    if comparison.request.model.is_random:
        st.caption(RANDOM)


def _offer_measuring(label: str) -> None:
    """Draw a button that leads to the first page, with this model chosen."""
    address = {key: str(st.session_state[key]) for key in ("model", "weights")}
    if st.button(label, type="primary", icon=":material/speed:"):
        st.switch_page(site.COMPARE, query_params=address)


def _choose(shown: Shown) -> Picture | None:
    """Draw the ways to a picture and the one chosen; return the picture, None without one."""
    with st.container(border=True, key="ask-picture"):
        source = st.segmented_control(
            "Picture",
            list(SOURCES),
            default=st.session_state[SOURCE],
            required=True,
            format_func=SOURCES.__getitem__,
            key=f"try-source-{state.visit()}",
        )
        st.session_state[SOURCE] = source
        if source == "examples":
            return _choose_example(shown)
        st.session_state[PICTURE] = None
        return _uploaded(str(source), shown)


def _choose_example(shown: Shown) -> int | None:
    """Draw the first pictures of the evaluation set; return the index of the one chosen."""
    request = shown.comparison.request
    if owned_uploads.is_foreign(request.images.source):
        st.info(
            Markdown("{} Upload a picture of your own instead.").format(
                Markdown(owned_uploads.PRIVATE_IMAGES)
            )
        )
        return None
    try:
        options = _examples(request.images, request.model.name)
    except QuantcoreError as error:
        st.warning(reason_and_remedy(error.reason, error.remedy))
        return None
    number = state.whole_number(st.session_state.get(PICTURE))
    index = None if number is None else number - 1
    with st.container(key="samples"):
        chosen: int | None = st.pills(
            "The first pictures that the variants were evaluated on",
            range(len(options)),
            default=index if index in range(len(options)) else None,
            format_func=lambda index: markdown(options[index]),
            key=f"try-picture-{state.visit()}",
        )
    st.session_state[PICTURE] = None if chosen is None else str(chosen + 1)
    return chosen


def _examples(images: ImageSpec, model: str) -> tuple[Markdown, ...]:
    """Return the first evaluation pictures as the labels of a widget: picture, number, class."""
    named = once(_names, images, model)
    shown = thumbnails.addresses("", images, model, range(len(named)))
    return tuple(
        Markdown("![]({}) {}{}").format(image, index + 1, name)
        for index, (image, name) in enumerate(zip(shown, named, strict=True))
    )


def _names(images: ImageSpec, model: str) -> tuple[str, ...]:
    """Return the classes of the first evaluation pictures; nothing where nobody knows."""
    info = find(ModelSpec(model))
    evaluation = load_images(images, info).evaluation
    count = min(SAMPLES, len(evaluation))
    if evaluation.labels is None:
        return ("",) * count
    return tuple(f" {info.labels[label]}" for label in evaluation.labels[:count])


def _uploaded(source: str, shown: Shown) -> bytes | None:
    """Draw the camera or the field for files; return the bytes of what was uploaded."""
    if source == "camera":
        file = st.camera_input("Take a picture", key="try-camera", width=CAMERA_PX)
    else:
        file = st.file_uploader(
            markdown(f"JPEG, PNG or WebP, at most {MAX_BYTES // 10**6} MB"),
            FILE_TYPES,
            max_upload_size=MAX_BYTES // 10**6,
            key="try-file",
        )
    info = owned_uploads.facts(shown.comparison.request.model)
    if info is not None and info.dataset == "fashion_mnist":
        st.caption(GREY)
    st.caption(PRIVATE)
    return None if file is None else file.getvalue()


def _started(spec: PlaygroundSpec) -> str:
    """Return the run that asks this picture, which is started unless it was before.

    Raises:
        QuantcoreError: the picture is empty or too large.
    """
    rows = tuple(row.key for row in spec.rows)
    wanted = rows, _name_of(spec.picture), st.session_state.get(AGAIN)
    latest, run_id = st.session_state.get(RUN, (None, ""))
    if latest == wanted and playground().view(run_id) is not None:
        return str(run_id)
    _put_away()
    run_id = playground().start(spec, visitor.current().owner)
    st.session_state[RUN] = wanted, run_id
    return run_id


def _name_of(picture: Picture) -> str:
    if isinstance(picture, int):
        return str(picture)
    check(picture)
    return sha256(picture).hexdigest()


def _put_away() -> None:
    """Ask nothing more of the picture before."""
    _, run_id = st.session_state.pop(RUN, (None, ""))
    if run_id:
        playground().forget(run_id, visitor.current().owner)


def _follow(run_id: str, was_open: bool, shown: Shown) -> None:
    """Draw how far it is and what is answered so far; the end draws the page once more."""
    view = playground().view(run_id)
    if view is None or was_open != view.is_open:
        st.rerun()
    if view.problem is not None:
        _problem(view.problem)
        return
    _answers(view, shown)


def _busy(view: PlaygroundView) -> None:
    done, total = len(view.answers), view.total
    count = f", {done} of {total} answered" if done else ""
    st.progress(done / total, Markdown("**{}**{}").format(wording.capital(view.stage), count))


def _answers(view: PlaygroundView, shown: Shown) -> None:
    ship = recommended(shown.results, budgets.chosen(), shown.missing).ship
    answers = drawn.variant_answers(view, shown.results, ship)
    said, picture = st.columns([1.8, 1], gap="medium")
    if view.is_open:
        with said:
            _busy(view)
    else:
        label = view.seen.label if view.seen else None
        said.html(drawn.summary_html(drawn.summary(answers, label)))
    if view.seen is not None:
        chosen = st.session_state[SOURCE] == "examples"
        name = f"Picture {st.session_state[PICTURE]}" if chosen else "Your picture"
        picture.html(drawn.picture(view.seen, name))
    if answers:
        st.html(drawn.cards(answers))
    if not view.is_open:
        st.caption(markdown(_of_times(shown)))
        _offer_again("Ask again")


def _offer_again(label: str) -> None:
    """Draw the button that asks the same picture once more."""
    if st.button(label, icon=":material/refresh:", key="again"):
        st.session_state[AGAIN] = secrets.token_hex(4)
        # This fragment is drawn alone; the choice of variants is above it.
        st.rerun()


def _of_times(shown: Shown) -> str:
    """Say what the milliseconds of a card are, and what they are not."""
    here = shown.comparison.environment == current_environment()
    where = "here" if here else f"on {shown.comparison.environment.sentence()}"
    return (
        "Each time is of one single call on this machine, with the file loaded and warmed up. A "
        "single call may be several times slower than the next, when the machine is busy. The "
        f"median of many calls {where} remains the figure to compare by."
    )


def _problem(error: QuantcoreError) -> None:
    st.error(reason_and_remedy(error.reason, error.remedy))
    if RUN in st.session_state:
        _offer_again("Try again")
