"""What outlives one run of a page: the server's comparisons, and the state in the address."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import streamlit as st

from quantcore.compare import Comparisons, shipped_comparison
from quantcore.errors import QuantcoreError
from quantcore.models.catalogue import offered
from quantcore.results import Comparison, Failure, JobView, VariantResult
from quantcore.settings import Settings
from quantcore.specs import RANDOM, ModelSpec
from ui import titles

DEFAULT_MODEL = "bundled/mobilenet_v2"
AXIS_NAMES = ("latency", "size", "accuracy", "agreement", "memory")
LAST_ADDRESS = "last_address"
VISIT = "visit"
JOBS_BY_MODEL = "jobs_by_model"


@cache
def settings() -> Settings:
    """Return the process's settings."""
    return Settings.from_env()


@st.cache_resource(show_spinner=False)
def comparisons() -> Comparisons:
    """Return the one object that runs comparisons for every visitor of this server."""
    return Comparisons(settings())


@cache
def shipped() -> Comparison | None:
    """Return the comparison that ships with the project, measured elsewhere; None without one."""
    try:
        return shipped_comparison()
    except (OSError, QuantcoreError):
        return None


@dataclass(frozen=True)
class Parameter:
    """One part of the address: `?workflows=static,qat`.

    Attributes:
        default: its values where the address is silent; then it is left out of the address too.
        options: the values it may have; None takes any.
    """

    key: str
    default: tuple[str, ...]
    options: tuple[str, ...] | None
    many: bool = False

    def read(self, text: str) -> tuple[object, list[str]]:
        """Return the value of a widget, and the parts of the text that name nothing."""
        parts = [part for part in text.split(",") if part]
        known = [part for part in parts if self.options is None or part in self.options]
        unknown = [part for part in parts if part not in known]
        return self.value(tuple(known) if known else self.default), unknown

    def value(self, values: tuple[str, ...]) -> object:
        """Return the values as the widget holds them: a list, or one, or None."""
        if self.many:
            return list(values)
        return values[0] if values else None

    def write(self, value: object) -> str:
        """Return the text for the address; empty for the default."""
        if value == self.value(self.default) or not value:
            return ""
        return ",".join(value) if isinstance(value, list) else str(value)


@cache
def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of the first page holds."""
    workflows, backends = tuple(titles.workflows()), tuple(titles.backends())
    return (
        Parameter("model", (DEFAULT_MODEL,), tuple(offered())),
        Parameter("weights", ("trained",), ("trained", "random")),
        Parameter("workflows", workflows, workflows, many=True),
        Parameter("backends", backends, backends, many=True),
        Parameter("x", ("latency",), AXIS_NAMES),
        Parameter("y", ("accuracy",), AXIS_NAMES),
        Parameter("job", (), None),
    )


def read_address() -> list[str]:
    """Bring the widgets' values in line with the address; return what it names that is unknown.

    A value the page already holds wins, unless the address changed under it: a first visit, a
    link, or the browser's back button.
    """
    address = st.query_params.to_dict()
    changed = address != st.session_state.get(LAST_ADDRESS)
    st.session_state[VISIT] = visit() + changed
    unknown = [] if not changed else [key for key in address if key not in _keys()]
    for parameter in parameters():
        if changed or parameter.key not in st.session_state:
            value, unread = parameter.read(address.get(parameter.key, ""))
            st.session_state[parameter.key] = value
            unknown += unread
    st.session_state[LAST_ADDRESS] = address
    return unknown


def visit() -> int:
    """Return how often the address has changed under the page: it names widgets made anew."""
    return int(st.session_state.get(VISIT, 0))


def write_address() -> None:
    """Bring the address in line with the widgets, so that a reload or a copied link keeps them."""
    values = {
        parameter.key: parameter.write(st.session_state[parameter.key])
        for parameter in parameters()
        if parameter.key in st.session_state
    }
    address = {key: value for key, value in values.items() if value}
    if address != st.query_params.to_dict():
        st.query_params.from_dict(address)
    st.session_state[LAST_ADDRESS] = address


def _keys() -> Sequence[str]:
    return [parameter.key for parameter in parameters()]


def chosen_model() -> ModelSpec:
    """Return the model the widgets name."""
    name = str(st.session_state["model"])
    random = st.session_state["weights"] == "random" and not name.startswith("bundled/")
    return ModelSpec(name + RANDOM if random else name)


def remember_job(job_id: str, model: ModelSpec) -> None:
    """Make a job the one shown, now and whenever its model is chosen again in this session."""
    st.session_state["job"] = job_id
    known = _jobs(model)
    known[:] = [*(other for other in known if other != job_id), job_id]


def recall_job() -> None:
    """Show this session's last job of the chosen model, or none."""
    known = _jobs(chosen_model())
    st.session_state["job"] = known[-1] if known else None


def _jobs(model: ModelSpec) -> list[str]:
    jobs: dict[str, list[str]] = st.session_state.setdefault(JOBS_BY_MODEL, {})
    return jobs.setdefault(model.name, [])


def current_job() -> JobView | None:
    """Return the job the address names; None without one, or where it is gone."""
    job_id = st.session_state.get("job")
    return _view(job_id) if job_id else None


def forget_lost_job() -> bool:
    """Drop a job the server does not know (it was restarted); return whether there was one."""
    lost = bool(st.session_state.get("job")) and current_job() is None
    if lost:
        st.session_state["job"] = None
    return lost


def follow_job() -> None:
    """Choose the model of the job that a link names, so that the page is about one model."""
    job = current_job()
    if job is not None and job.comparison.request.model != chosen_model():
        model = job.comparison.request.model
        st.session_state["model"] = f"{model.source}/{model.architecture}"
        st.session_state["weights"] = "random" if model.is_random else "trained"


def _view(job_id: str) -> JobView | None:
    try:
        return comparisons().view(job_id)
    except QuantcoreError:
        return None


@dataclass(frozen=True)
class Shown:
    """What the page draws: whose figures, and the cells without any.

    Attributes:
        comparison: the whole answer.
        results: its figures, narrowed to the workflows and backends chosen.
        failures: cells without figures, of the job where there is one, narrowed likewise.
        origin: `shipped` with the project, of an `earlier` job, or of the `current` one.
    """

    comparison: Comparison
    results: tuple[VariantResult, ...]
    failures: tuple[Failure, ...]
    origin: Literal["shipped", "earlier", "current"]


def shown(job: JobView | None) -> Shown | None:
    """Return the job's figures; until it has any, earlier ones of the model; None without any."""
    model = chosen_model()
    found = _figures(job, model)
    if found is None:
        return None
    comparison, origin = found
    failures = (job.comparison if job else comparison).failures
    results = tuple(filter(_chosen, comparison.results))
    return Shown(comparison, results, tuple(filter(_chosen, failures)), origin)


def _figures(
    job: JobView | None, model: ModelSpec
) -> tuple[Comparison, Literal["shipped", "earlier", "current"]] | None:
    if job is not None and job.comparison.results:
        return job.comparison, "current"
    for job_id in reversed(_jobs(model)):
        earlier = _view(job_id)
        if earlier is not None and earlier.comparison.results:
            return earlier.comparison, "earlier"
    example = shipped()
    return (example, "shipped") if example and example.request.model == model else None


def _chosen(cell: VariantResult | Failure) -> bool:
    if cell.backend is None:
        return True
    state = st.session_state
    return cell.workflow in state["workflows"] and cell.backend in state["backends"]
