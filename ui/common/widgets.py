"""The request's widgets: which model, which variants, and how they are made and measured."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from quantcore import uploads
from quantcore.backends import made_for
from quantcore.draw import titles
from quantcore.engine import misfits, plan
from quantcore.jobs import Host
from quantcore.models import ModelInfo, find, offered
from quantcore.schema import (
    TARGETS,
    CompareRequest,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Target,
)
from quantcore.workflows import WORKFLOWS
from ui.common import fields, hosts, owned_uploads, progress, state, visitor
from ui.common.markdown import Markdown, markdown

TARGET_LABEL = "Where will it run?"
TARGET_TITLES = {
    **{str(target): title for target, title in TARGETS.items()},
    state.UNDECIDED: "Not decided",
}
TARGET_HELP = (
    "It decides which backends are compared, and what the verdict weighs. No phone or browser "
    "takes part in the timing: for these, size, accuracy, agreement and memory decide."
)
WORKFLOW_HELP = (
    "How the numbers become 8 or 16 bits wide. float32, unchanged, is always measured too."
)
BACKEND_HELP = "The kernels that run the numbers; each is made for certain processors."
WEIGHTS = {"trained": "Published", "random": "Random"}
RANDOM_HELP = (
    "Published weights are fetched once. Random ones need no download: their size and "
    "latency are real, "
    "their accuracy means nothing and is not offered."
)


MODEL_HELP = (
    "Bundled models ship with the project and run offline. torchvision's fetch their published "
    "weights once. You upload yours on the Models page, and only you see them."
)
SOURCE_WORDS = {"bundled": "ready to run", "torchvision": "torchvision", "upload": "yours"}
FOREIGN = (
    "Somebody else uploaded this model, or it is gone: its figures can be looked at here, and not "
    "measured."
)
OWN_IMAGES = "The model's own"
IMAGES_HELP = (
    "Which images the variants are calibrated and evaluated on. You upload your own on the Models "
    "page, as a zip."
)


def ask() -> None:
    """Draw the request, and the one button that measures it."""
    with st.container(border=True, key="ask"):
        place = choose_target(state.choose_defaults)
        left, middle, right = st.columns([1.2, 1.2, 1.1], gap="medium")
        with left:
            info = choose_model()
            say_images()
            if info.source == "torchvision":
                choose_weights()
        with middle:
            workflows = choose_workflows()
        with right:
            backends = choose_backends(place)
        with st.expander("Settings", type="compact", key="settings"):
            settings = workflow_settings(workflows)
            images, timing = measurement(info)
        host = hosts.choose()
        if _pressed(host, _missing(info, workflows, backends)) and host:
            model = state.chosen_model()
            # Workflows that nobody chose are left out where a backend does not offer them.
            named = workflows if "workflows" in state.address_of() else None
            progress.guarded(
                lambda: start([plan(model, named, backends, settings, images, timing, place)], host)
            )
            st.rerun()


def _missing(info: ModelInfo, workflows: Sequence[str], backends: Sequence[str]) -> str:
    """Return why nothing can be measured as it is chosen; empty where it can."""
    if owned_uploads.is_foreign(info.name):
        return "Somebody else uploaded this model, or it is gone. Choose another."
    return "" if workflows and backends else "Choose at least one workflow and one backend."


def _pressed(host: Host | None, missing: str) -> bool:
    elsewhere = host is not None and host.location == "cluster"
    return st.button(
        "Measure there" if elsewhere else "Measure here",
        type="primary",
        disabled=bool(missing) or host is None,
        icon=":material/speed:",
        help=markdown(missing) or None,
        key="measure",
    )


def start(requests: Sequence[CompareRequest], host: Host, name: str = "") -> str:
    """Start a comparison, or a sweep of several, for who looks at the page; return its id.

    Raises:
        QuantcoreError: it asks for somebody else's upload, or for what cannot be read.
    """
    owned_uploads.require_own(requests)
    asking = visitor.current()
    job_id = state.service().start(
        requests, owner=asking.owner, asked_by=asking.name, host=host, name=name
    )
    state.remember_job(job_id, requests[0].model)
    return job_id


def choose_target(on_change: Callable[[], None] | None = None) -> Target | None:
    """Draw the question where it will run; return the answer, None for not decided."""
    st.segmented_control(
        TARGET_LABEL,
        list(TARGET_TITLES),
        key=state.TARGET,
        required=True,
        format_func=lambda name: markdown(TARGET_TITLES[name]),
        help=TARGET_HELP,
        on_change=on_change,
    )
    return state.target()


def choose_model(on_change: Callable[[], None] = state.recall_job) -> ModelInfo:
    """Draw the model selector; `on_change` is called where another is chosen."""
    # Not cached: each visitor is offered only their own uploads.
    models = {**owned_uploads.models(), **offered()}
    shown = str(st.session_state["model"])
    if shown not in models:
        models = {
            shown: owned_uploads.facts(ModelSpec(shown)) or owned_uploads.stand_in(shown),
            **models,
        }
    labels = owned_uploads.distinct_labels({name: model_line(models[name]) for name in models})
    name = st.selectbox(
        "Model",
        list(models),
        key="model",
        format_func=labels.__getitem__,
        help=MODEL_HELP,
        on_change=on_change,
    )
    info = models[str(name)]
    st.caption(
        markdown(
            FOREIGN if owned_uploads.is_foreign(info.name) else _facts(find(state.chosen_model()))
        )
    )
    return info


def say_images() -> None:
    """Say that the model is evaluated on the visitor's images: their choice is in a closed fold."""
    chosen = owned_uploads.images().get(str(st.session_state.get(state.IMAGES)))
    if chosen is not None:
        st.caption(markdown(f"Evaluated with your images: {uploads.title(chosen)}"))


def model_line(info: ModelInfo) -> str:
    """Return a model as a list of them shows it."""
    if owned_uploads.is_foreign(info.name):
        return f"{info.title} · not yours"
    return f"{info.title} · {SOURCE_WORDS[info.source]}"


def _facts(info: ModelInfo) -> str:
    facts = [f"{info.parameters / 1e6:.1f} M parameters", f"{info.image_size} px"]
    if info.figures:
        facts += [info.figures.size, info.figures.accuracy]
    return " · ".join(facts)


def choose_weights(on_change: Callable[[], None] | None = state.recall_job) -> None:
    """Draw the choice between published and random weights."""
    st.segmented_control(
        "Weights",
        ["trained", "random"],
        key="weights",
        required=True,
        format_func=WEIGHTS.__getitem__,
        help=RANDOM_HELP,
        on_change=on_change,
    )


def choose_workflows() -> list[str]:
    """Draw the workflows as toggles; return the names chosen."""
    return _toggles("Workflows", titles.workflows(), titles.workflow, workflow_help())


def choose_backends(place: Target | None) -> list[str]:
    """Draw the backends made for the target as toggles; return the names chosen.

    One that is made for another, which a link may name, is offered with a sentence that says so.
    """
    named = st.session_state["backends"]
    offered = [name for name in titles.backends() if name in (*made_for(place), *named)]
    chosen = _toggles("Backends", offered, titles.backend, backend_help(place))
    say_misfits(chosen, place)
    return chosen


def say_misfits(backends: Sequence[str], place: Target | None) -> None:
    """Say which backends are not made for the target."""
    for sentence in misfits(backends, place):
        st.caption(markdown(sentence))


def _toggles(
    label: str, names: Sequence[str], title: Callable[[str], str], meanings: str
) -> list[str]:
    return st.pills(
        label,
        names,
        selection_mode="multi",
        wrap=True,
        key=label.lower(),
        format_func=lambda name: markdown(title(name)),
        help=meanings,
    )


def workflow_help() -> Markdown:
    """Return one sentence on each workflow."""
    return _glossary(WORKFLOW_HELP, titles.workflow_summaries())


def backend_help(place: Target | None = None) -> Markdown:
    """Return one sentence on each backend that is made for the target."""
    titled = {titles.backend(name) for name in made_for(place)}
    summaries = titles.backend_summaries().items()
    return _glossary(BACKEND_HELP, {name: text for name, text in summaries if name in titled})


def _glossary(head: str, summaries: Mapping[str, str]) -> Markdown:
    lines = (Markdown("- **{}**: {}").format(title, text) for title, text in summaries.items())
    return Markdown("\n").join([head, "", *lines])


def workflow_settings(workflows: list[str]) -> dict[str, dict[str, Setting]]:
    """Draw the settings of the chosen workflows; return those that differ from their defaults."""
    chosen: dict[str, dict[str, Setting]] = {}
    for name in workflows:
        if fields.of(WORKFLOWS[name]):
            st.markdown(Markdown("**{}**").format(titles.workflow(name)))
            chosen[name] = fields.draw(name, WORKFLOWS[name])
    return {name: settings for name, settings in chosen.items() if settings}


def measurement(info: ModelInfo) -> tuple[ImageSpec, MeasureSpec]:
    """Draw how many images the model is evaluated on, and how it is timed."""
    st.markdown("**Images and timing**")
    source, images, size, batch, threads, *_ = st.columns(fields.COLUMNS)
    with source:
        pictures = choose_images()
    evaluation = images.number_input(
        "Evaluation images",
        1,
        10_000,
        ImageSpec.evaluation_images,
        step=500,
        key="evaluation_images",
        help="How many labelled images accuracy is measured on. More images, narrower interval.",
    )
    side = size.number_input(
        "Image size, px",
        16,
        1_024,
        info.image_size,
        step=32,
        key=f"image_size:{info.name}",
        help=markdown(
            f"Side of the square the model sees. {info.title} was made for {info.image_size} px."
        ),
    )
    together = batch.number_input(
        "Batch", 1, 256, 1, key="batch", help="Images per call. Latency is of the whole call."
    )
    cores = threads.number_input(
        "Threads",
        1,
        256,
        state.settings().threads,
        key="threads",
        help="Processor threads the model may use. One fewer than there are cores "
        "keeps other work from disturbing the timing.",
    )
    return (
        ImageSpec(
            source=pictures,
            evaluation_images=int(evaluation),
            image_size=None if side == info.image_size else int(side),
        ),
        MeasureSpec.of(state.settings(), int(cores), int(together)),
    )


def choose_images() -> str | None:
    """Draw the choice between the model's own images and those the visitor uploaded."""
    own = owned_uploads.images()
    labels = owned_uploads.distinct_labels({name: uploads.title(own[name]) for name in own})
    chosen: str | None = st.selectbox(
        "Images",
        [None, *own],
        key=state.IMAGES,
        format_func=lambda name: labels[name] if name else OWN_IMAGES,
        help=IMAGES_HELP,
    )
    return chosen
