"""What outlives one run of a page: the server's comparisons, and the state in the address."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from threading import Lock
from typing import Literal
from urllib.parse import urlencode

import streamlit as st

from quantcore import uploads
from quantcore.backends import default_backends
from quantcore.decide import times_count
from quantcore.draw import titles
from quantcore.engine import default_workflows
from quantcore.errors import QuantcoreError, RequestError
from quantcore.jobs import shipped_comparison
from quantcore.models import ModelInfo, find, offered
from quantcore.schema import (
    RANDOM,
    TARGETS,
    Comparison,
    Failure,
    JobView,
    ModelSpec,
    Rows,
    Target,
    Variant,
    VariantResult,
    current_environment,
)
from quantcore.service import Service
from quantcore.settings import Settings

DEFAULT_MODEL = "bundled/mobilenet_v2"
IMAGES = "images"
TARGET, UNDECIDED = "target", "undecided"
Provenance = Literal["shipped", "earlier", "current", "elsewhere"]
AXIS_NAMES = ("latency", "size", "accuracy", "agreement", "memory")
# Limits in the address, in MB, ms, points and MB.
BUDGET_KEYS = ("max_size", "max_latency", "max_loss", "max_memory")
LONGEST_NUMBER = 9
LAST_ADDRESS = "last_address"
LAST_HELD = "last_held"
FOLLOWED = "followed_defaults"
# Parameters whose defaults follow the target and the model, as long as nobody chose otherwise.
FOLLOWING = ("workflows", "backends", "x")
VISIT = "visit"
JOBS_BY_MODEL = "jobs_by_model"
# Pages of many visitors and the starting server may ask for the first time at once.
_OPENING = Lock()


@cache
def settings() -> Settings:
    """Return the process's settings."""
    return Settings.from_env()


@cache
def opened() -> Service:
    """Return the service of this server, opened once; pages call `service`."""
    service = Service(settings())
    service.resume()
    return service


def service() -> Service:
    """Return the service that all visitors of this server share.

    It is opened by whoever needs it first, the starting server or a page, and then goes on with
    what was under way.

    Raises:
        QuantcoreError: the data folder cannot be used; the next call tries again.
    """
    with _OPENING:
        return opened()


def close() -> None:
    """Leave no process behind; what was under way goes on in the next server."""
    with _OPENING:
        if opened.cache_info().currsize:
            opened().close()


def problem() -> QuantcoreError | None:
    """Return why no comparison can be kept or started here; None where all is well."""
    try:
        service()
    except QuantcoreError as error:
        return error
    return None


def open_jobs() -> int:
    """Return how many comparisons, of all visitors, wait or run."""
    try:
        return len(service().line())
    except QuantcoreError:
        return 0


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
    options: Container[str] | None
    many: bool = False

    def read(self, text: str) -> tuple[object, list[str]]:
        """Return the value of a widget, and the parts of the text that name nothing."""
        parts = [part for part in text.split(",") if part]
        valid = [part for part in parts if self.options is None or part in self.options]
        unknown = [part for part in parts if part not in valid]
        return self.value(tuple(valid) if valid else self.default), unknown

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


class UploadNames(Container[str]):
    """Every name that an upload may have, whoever's it is, there or gone: a page says which."""

    def __contains__(self, name: object) -> bool:
        """Return whether this may be the name of an upload."""
        try:
            return isinstance(name, str) and bool(uploads.token_of(name))
        except RequestError:
            return False


class ModelNames(UploadNames):
    """The names of the models offered to everybody, and every name of an upload."""

    def __contains__(self, name: object) -> bool:
        """Return whether this may be the name of a model."""
        return name in offered() or super().__contains__(name)


def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of the first page holds; defaults follow target and model."""
    place, model = target(), _chosen_model()
    workflows, backends = tuple(titles.workflows()), tuple(titles.backends())
    first = default_backends(place, current_environment(), model)
    across = "latency" if times_count(place) else "size"
    return (
        target_parameter(),
        Parameter("model", (DEFAULT_MODEL,), ModelNames()),
        Parameter("weights", ("trained",), ("trained", "random")),
        Parameter("workflows", default_workflows(model), workflows, many=True),
        Parameter("backends", first, backends, many=True),
        Parameter("x", (across,), AXIS_NAMES),
        Parameter("y", ("accuracy",), AXIS_NAMES),
        Parameter(IMAGES, (), UploadNames()),
        Parameter("job", (), None),
        Parameter("beside", (), None),
        *(Parameter(key, (), None) for key in BUDGET_KEYS),
    )


def target_parameter() -> Parameter:
    """Return where it will run, as the address has it; a job's own where it is silent."""
    job_id = said("job")
    job = view(job_id) if job_id else None
    asked = job.comparison.request.target if job else None
    return Parameter(TARGET, (asked or UNDECIDED,), (*TARGETS, UNDECIDED))


def target() -> Target | None:
    """Return where it will run; None where that is not decided."""
    parameter = target_parameter()
    value, _ = parameter.read(said(TARGET))
    return next((each for each in TARGETS if each == value), None)


def said(key: str) -> str:
    """Return what a changed address says of a parameter, else what its widget holds."""
    address = st.query_params.to_dict()
    if address != st.session_state.get(LAST_ADDRESS) or key not in st.session_state:
        return address.get(key, "")
    return str(st.session_state[key] or "")


def _chosen_model() -> ModelInfo:
    """Return the model that is chosen; the default one where it is gone."""
    try:
        return find(ModelSpec(said("model") or DEFAULT_MODEL))
    except QuantcoreError:
        return find(ModelSpec(DEFAULT_MODEL))


def read_address(held: Sequence[Parameter] | None = None) -> list[str]:
    """Set the widgets to the values in the address; return the unknown names in it.

    A value the page already holds wins, unless the address changed under it: a first visit,
    another page, a link, or the browser's back button.

    Args:
        held: what the address of this page holds; those of the first page unless given.
    """
    held = parameters() if held is None else held
    keys = [parameter.key for parameter in held]
    address = st.query_params.to_dict()
    # Streamlit drops the widgets of another page, though the address may be the same.
    changed = (address, keys) != (
        st.session_state.get(LAST_ADDRESS),
        st.session_state.get(LAST_HELD, keys),
    )
    st.session_state[LAST_HELD] = keys
    st.session_state[VISIT] = visit() + changed
    unknown = [] if not changed else [key for key in address if key not in keys]
    for parameter in held:
        if changed or parameter.key not in st.session_state:
            value, unread = parameter.read(address.get(parameter.key, ""))
            st.session_state[parameter.key] = value
            unknown += unread
    _follow_defaults(held, changed=changed)
    st.session_state[LAST_ADDRESS] = address
    return unknown


def _follow_defaults(held: Sequence[Parameter], *, changed: bool) -> None:
    """Move what is at its default to the default that another target or model brought.

    A `changed` address was read just now, and has the last word.
    """
    followed = st.session_state.get(FOLLOWED, {})
    defaults = {each.key: each.value(each.default) for each in held if each.key in FOLLOWING}
    for key, default in defaults.items():
        if not changed and key in followed and st.session_state[key] == followed[key]:
            st.session_state[key] = default
    st.session_state[FOLLOWED] = {**followed, **defaults}


def choose_defaults() -> None:
    """Choose what a first comparison for the target is of, whatever was chosen before."""
    for parameter in parameters():
        if parameter.key in FOLLOWING:
            st.session_state[parameter.key] = parameter.value(parameter.default)


def target_address() -> dict[str, str]:
    """Return the query parameters that carry the target to another page."""
    place = target()
    return {TARGET: place} if place else {}


def visit() -> int:
    """Return how often the address has changed under the page: it names widgets made anew."""
    return int(st.session_state.get(VISIT, 0))


def write_address(held: Sequence[Parameter] | None = None) -> None:
    """Write the widgets' values to the address, so that a reload or a copied link keeps them."""
    address = st.query_params.to_dict()
    if not _says_the_same(address, _held(held)):
        address = address_of(held)
        # Only where it means another thing: every new address is one more step for the back button.
        st.query_params.from_dict(address)
    st.session_state[LAST_ADDRESS] = address


def address_of(held: Sequence[Parameter] | None = None) -> dict[str, str]:
    """Return the query parameters of the widgets' values, without defaults."""
    values = {each.key: each.write(st.session_state[each.key]) for each in _held(held)}
    return {key: value for key, value in values.items() if value}


def link() -> str:
    """Return the address of the first page as it is drawn, for sharing; empty where unknown."""
    url, address = st.context.url, address_of()
    if not url:
        return ""
    return f"{url}?{urlencode(address, safe=',')}" if address else url


def _held(held: Sequence[Parameter] | None) -> list[Parameter]:
    candidates = parameters() if held is None else held
    return [parameter for parameter in candidates if parameter.key in st.session_state]


def _says_the_same(address: Mapping[str, str], held: Sequence[Parameter]) -> bool:
    return all(
        parameter.read(address.get(parameter.key, ""))[0] == st.session_state[parameter.key]
        for parameter in held
    )


def whole_number(text: object) -> int | None:
    """Return the number that a part of the address is; None where it is none, or far too long."""
    digits = str(text or "")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_NUMBER
    return int(digits) if is_number else None


def choice_of(model: ModelSpec) -> dict[str, str]:
    """Return the values of the widgets, and of the address, where this model is chosen."""
    return {"model": model.listed, "weights": "random" if model.is_random else "trained"}


def chosen_model() -> ModelSpec:
    """Return the model the widgets name."""
    name = str(st.session_state["model"])
    random = st.session_state["weights"] == "random" and name.startswith("torchvision/")
    return ModelSpec(name + RANDOM if random else name)


def remember_job(job_id: str, model: ModelSpec) -> None:
    """Make a job the one shown, now and whenever its model is chosen again in this session."""
    st.session_state["job"], st.session_state["beside"] = job_id, None
    jobs = _jobs(model)
    jobs[:] = [*(other for other in jobs if other != job_id), job_id]


def recall_job() -> None:
    """Show this session's last job of the chosen model, or none."""
    jobs = _jobs(chosen_model())
    st.session_state["job"], st.session_state["beside"] = jobs[-1] if jobs else None, None


def _jobs(model: ModelSpec) -> list[str]:
    jobs: dict[str, list[str]] = st.session_state.setdefault(JOBS_BY_MODEL, {})
    return jobs.setdefault(model.name, [])


def current_job() -> JobView | None:
    """Return the job the address names; None without one, or where it is gone."""
    job_id = st.session_state.get("job")
    return view(job_id) if job_id else None


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
        st.session_state.update(choice_of(model))


def view(job_id: str) -> JobView | None:
    """Return a job; None where there is none of this id."""
    try:
        return service().view(job_id)
    except QuantcoreError:
        return None


@dataclass(frozen=True)
class Shown:
    """A comparison on a page: results and failures of the chosen workflows and backends.

    Attributes:
        comparison: with every workflow and backend.
        results: of the chosen workflows and backends; all where none were chosen.
        failures: likewise; of the job where there is one.
        provenance: `shipped` with the project, of an `earlier` job, or of the `current` one,
            which may be measured `elsewhere`.
        job: that measured the results; None for the shipped ones.
        missing: of the chosen variants, how many are still to be measured.
    """

    comparison: Comparison
    results: Rows
    failures: tuple[Failure, ...]
    provenance: Provenance
    job: JobView | None = None
    missing: int = 0


def shown(job: JobView | None) -> Shown | None:
    """Return the job's figures; until it has any, earlier ones of the model; None without any.

    Earlier ones are none where nothing of what is chosen was measured but float32.
    """
    model = chosen_model()
    figures = _figures(job, model)
    if figures is None:
        return None
    comparison, provenance, measured = figures
    # Another target weighs the same figures otherwise.
    comparison = replace(comparison, request=replace(comparison.request, target=target()))
    failures = (job.comparison if job else comparison).failures
    results = Rows(filter(_chosen, comparison.results))
    refusals = tuple(filter(_chosen, failures))
    if job is None and not refusals and all(row.is_float for row in results):
        return None
    missing = _missing(comparison, len(results))
    return Shown(comparison, results, refusals, provenance, measured, missing)


def _missing(comparison: Comparison, measured: int) -> int:
    """Return how many of the chosen variants have neither figures nor a failure yet."""
    requests = (comparison.request, *comparison.also)
    asked = sum(_chosen(variant) for request in requests for variant in request.variants)
    return max(0, asked - measured - sum(map(_chosen, comparison.failures)))


def _figures(
    job: JobView | None, model: ModelSpec
) -> tuple[Comparison, Provenance, JobView | None] | None:
    if job is not None and job.comparison.results:
        return job.comparison, "elsewhere" if _is_elsewhere(job) else "current", job
    for job_id in reversed(_jobs(model)):
        earlier = view(job_id)
        if earlier is not None and earlier.comparison.results:
            return earlier.comparison, "earlier", earlier
    example = shipped()
    # The example was evaluated on the model's own images, so it is not shown for others.
    fits = example is not None and example.request.model == model
    fits = fits and not st.session_state.get(IMAGES)
    return (example, "shipped", None) if example and fits else None


def _is_elsewhere(job: JobView) -> bool:
    """Return whether another machine measured it; a scheduler's worker may be on this one."""
    return job.location == "cluster" and job.comparison.environment != current_environment()


def _chosen(cell: VariantResult | Failure | Variant) -> bool:
    """Return whether a cell is of the chosen workflows and backends; their float32 always is.

    Where no target is decided, the first ones of a comparison leave out none that was measured.
    """
    workflows, backends = map(_narrowed, ("workflows", "backends"))
    by_workflow = cell.is_float or workflows is None or cell.workflow in workflows
    return by_workflow and (cell.backend is None or backends is None or cell.backend in backends)


def _narrowed(key: str) -> Container[str] | None:
    """Return what was chosen of the workflows or backends; None where that says nothing."""
    chosen: list[str] = st.session_state[key]
    is_first = target() is None and chosen == st.session_state[FOLLOWED][key]
    return None if is_first else chosen
