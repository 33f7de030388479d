"""The lists of a sweep as widgets: models, workflows, backends, and the values of each setting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from quantcore.backends import default_backends, made_for
from quantcore.draw import titles
from quantcore.engine import default_workflows
from quantcore.jobs import Sweep
from quantcore.models import find, offered
from quantcore.schema import (
    RANDOM,
    ImageSpec,
    ModelSpec,
    Setting,
    Target,
    current_environment,
)
from quantcore.settings import physical_cores
from quantcore.workflows import WORKFLOWS
from ui.common import fields, state, values, widgets
from ui.common.markdown import Markdown, markdown
from ui.common.state import Parameter

MODELS = "models"
OWN_SIZE = "Own"
SIZES = (32, 64, 96, 128, 160, 192, 224)
EVALUATION_IMAGES = (500, 1_000, 2_000, 5_000, 10_000)
BATCHES = (1, 2, 4, 8, 16, 32)
LONGEST_NAME = 60
MODELS_HELP = (
    "Each is measured with every workflow, backend and setting below. Bundled models ship with the "
    "project and run offline; torchvision's fetch their published weights once."
)
SETTINGS_HELP = (
    "Choose several values and each is measured, in every combination. Layer types are one value "
    "together. Numbers can be typed."
)


def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of the page holds: where it will run, and which models."""
    models = Parameter(MODELS, (state.DEFAULT_MODEL,), tuple(offered()), many=True)
    return (state.target_parameter(), models)


def chosen() -> Sweep | None:
    """Draw a widget for each list; return the sweep, None as long as there is no model."""
    place = widgets.choose_target()
    models = _models()
    left, right = st.columns(2, gap="medium")
    with left:
        workflows = _toggles(
            "Workflows",
            titles.workflows(),
            _first_workflows(models),
            titles.workflow,
            widgets.workflow_help(),
            place,
        )
    with right:
        backends = _toggles(
            "Backends",
            made_for(place),
            default_backends(place, current_environment()),
            titles.backend,
            widgets.backend_help(place),
            place,
        )
    with st.expander("Settings", type="compact", key="sweep-settings", expanded=True):
        st.caption(SETTINGS_HELP)
        settings = {name: _settings(name) for name in workflows if fields.of(WORKFLOWS[name])}
        conditions = _conditions()
    name = st.text_input(
        "Name",
        max_chars=LONGEST_NAME,
        key="sweep.name",
        placeholder="What it is called in the list of jobs; may be left out",
    )
    if not (models and workflows and backends):
        st.caption("Choose at least one model, one workflow and one backend.")
        return None
    return Sweep(
        models=models,
        workflows=_named(workflows, models),
        backends=backends,
        settings={name: chosen for name, chosen in settings.items() if chosen},
        name=name,
        target=place,
        **conditions,
    )


def _models() -> tuple[str, ...]:
    models = offered()
    named = st.multiselect(
        "Models",
        list(models),
        key=MODELS,
        format_func=lambda name: widgets.model_line(models[name]),
        help=MODELS_HELP,
        placeholder="Choose one or more",
    )
    if all(models[name].source == "bundled" for name in named):
        return tuple(named)
    weights = st.segmented_control(
        "Weights of torchvision's models",
        list(widgets.WEIGHTS),
        default="trained",
        required=True,
        key="sweep.weights",
        format_func=widgets.WEIGHTS.__getitem__,
        help=widgets.RANDOM_HELP,
    )
    marked = RANDOM if weights == "random" else ""
    return tuple(name if models[name].source == "bundled" else name + marked for name in named)


def _first_workflows(models: Sequence[str]) -> list[str]:
    """Return the workflows that a first comparison of any of the models is of."""
    first = {name for model in models for name in default_workflows(find(ModelSpec(model)))}
    return [name for name in titles.workflows() if name in first]


def _named(workflows: tuple[str, ...], models: Sequence[str]) -> tuple[str, ...] | None:
    """Return the workflows; None where they are those of a first comparison of every model."""
    first = {frozenset(default_workflows(find(ModelSpec(model)))) for model in models}
    return None if first == {frozenset(workflows)} else workflows


def _toggles(
    label: str,
    names: Sequence[str],
    first: Sequence[str],
    title: Callable[[str], str],
    meanings: str,
    place: Target | None,
) -> tuple[str, ...]:
    """Draw names as toggles, those of a first comparison chosen; another target makes them anew."""
    chosen = st.pills(
        label,
        names,
        selection_mode="multi",
        default=first,
        wrap=True,
        key=f"sweep.{label.lower()}" + (f"@{place}" if place else ""),
        format_func=lambda name: markdown(title(name)),
        help=meanings,
    )
    return tuple(name for name in names if name in chosen)


def _settings(name: str) -> dict[str, tuple[Setting, ...]]:
    st.markdown(Markdown("**{}**").format(titles.workflow(name)))
    return values.settings(name, WORKFLOWS[name])


def _conditions() -> dict[str, Any]:
    """Draw under which conditions all is measured; return them as `Sweep` names them."""
    st.markdown("**Images and timing**")
    columns = st.columns(fields.COLUMNS)
    conditions: dict[str, Any] = {}
    for each, column in zip(_conditions_offered(), columns, strict=False):
        with column:
            conditions[each.field] = values.numbers(
                each.label,
                each.offered,
                each.default,
                f"sweep.{each.field}",
                nothing=OWN_SIZE,
                help=each.help,
            )
    return conditions


@dataclass(frozen=True)
class _Condition:
    """A list of numbers that concerns all variants: the field of `Sweep`, and how it is drawn."""

    field: str
    label: str
    offered: Sequence[int | None]
    default: int | None
    help: str


def _conditions_offered() -> tuple[_Condition, ...]:
    own = state.settings().threads
    return (
        _Condition(
            "image_sizes",
            "Image size, px",
            (None, *SIZES),
            None,
            "Side of the square a model sees. Own is what each model was made for.",
        ),
        _Condition(
            "evaluation_images",
            "Evaluation images",
            EVALUATION_IMAGES,
            ImageSpec.evaluation_images,
            "How many labelled images accuracy is measured on. Accuracies on different images "
            "are not compared.",
        ),
        _Condition(
            "batches",
            "Batch",
            BATCHES,
            1,
            "Images per call. Latency is of the whole call, so batches are not compared.",
        ),
        _Condition(
            "threads",
            "Threads",
            sorted({*range(1, physical_cores() + 1), own}),
            own,
            "Processor threads a model may use.",
        ),
    )
