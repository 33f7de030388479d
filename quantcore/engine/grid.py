"""The full grid of a request, and the cells of it that cannot exist here."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from quantcore.backends import default_backends, float_backends, runtime, serves
from quantcore.errors import RequestError
from quantcore.images import is_labelled
from quantcore.models import ModelInfo, Subject, find
from quantcore.schema import (
    FLOAT_WORKFLOW,
    CompareRequest,
    Environment,
    Failure,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Options,
    Setting,
    Target,
    Variant,
    canonical,
    current_environment,
    digest,
)
from quantcore.workflows import FIRST, FIRST_WITHOUT_STATIC, WORKFLOWS, settings_of, workflow


def plan(
    model: ModelSpec,
    workflows: Sequence[str] | None = None,
    backends: Sequence[str] | None = None,
    settings: Mapping[str, Mapping[str, Setting]] | None = None,
    images: ImageSpec | None = None,
    measure: MeasureSpec | None = None,
    target: Target | None = None,
) -> CompareRequest:
    """Return the request for workflows on backends: those of a first comparison unless named.

    Named workflows have a cell on every backend, those of a first comparison on the backends that
    offer them. Backends that are not made for the target may be named as well; `misfits` says so.
    torch's float32 is always there, as what all answers are compared with, and the float32 of each
    backend that has one of its own, as what its speed is compared with. Where torch cannot read the
    model, the first of these is what answers are compared with.

    Raises:
        RequestError: an unknown model, workflow, backend or setting, or a value that does not fit.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise RequestError(
            f"{settings!r} are no settings.",
            "Give them by the workflow's name: {'static': {'observer': 'minmax'}}.",
        )
    info, named = find(model), workflows is not None
    if workflows is None:
        workflows = default_workflows(info)
    if backends is None:
        backends = default_backends(target, current_environment(), info)
    workflows = [canonical(WORKFLOWS, name, "workflow") for name in workflows]
    settings = {
        canonical(WORKFLOWS, name, "workflow"): values for name, values in (settings or {}).items()
    }
    chosen = {name: _chosen(name, settings.get(name, {})) for name in (*workflows, *settings)}
    names = [runtime(name).name for name in backends]
    cells = quantized_cells(workflows, names, named=named)
    variants = (Variant(name, backend, chosen[name]) for name, backend in cells)
    return CompareRequest(
        model,
        tuple(dict.fromkeys((*float_cells(names, info), *variants))),
        images or ImageSpec(),
        measure or MeasureSpec(),
        target,
    )


def require_used(workflows: Iterable[str], compared: Collection[str]) -> None:
    """Refuse settings that change nothing.

    Args:
        workflows: those that settings were given of.
        compared: names of those that are measured.

    Raises:
        RequestError: settings were given of one that is not measured.
    """
    for name in workflows:
        if canonical(WORKFLOWS, name, "workflow") not in compared:
            raise RequestError(
                f"There are settings of {name}, and {name} is not compared here.",
                f"Add {name!r} to the workflows, or leave its settings out.",
            )


def float_cells(backends: Sequence[str], model: ModelInfo | None = None) -> list[Variant]:
    """Return the float32 variants that a model's variants on these backends are held against."""
    return [Variant(FLOAT_WORKFLOW, each) for each in float_backends(backends, model)]


def quantized_cells(
    workflows: Iterable[str], backends: Iterable[str], *, named: bool
) -> list[tuple[str, str]]:
    """Return each workflow with each backend, float32 aside.

    Of workflows that nobody `named`, a backend's toolchain has a step for each: a row that says it
    has none would tell nothing of the model.
    """
    return [
        (name, backend)
        for name, backend in itertools.product(workflows, backends)
        if name != FLOAT_WORKFLOW and (named or name in runtime(backend).toolchain.steps)
    ]


def default_workflows(info: ModelInfo) -> tuple[str, ...]:
    """Return the workflows of a first comparison, few enough that it stays short.

    A model that came in 8 bits is measured as it is.
    """
    if info.in_8_bits:
        return ("pretrained",)
    first = FIRST if info.static_mode else FIRST_WITHOUT_STATIC
    has_source = not (info.is_program or info.is_graph)
    return tuple(name for name in first if has_source or not WORKFLOWS[name].needs_source)


def misfits(backends: Iterable[str], target: Target | None) -> tuple[str, ...]:
    """Return a sentence for each backend that is not made for the target, with what is."""
    answers = (serves(runtime(name).name, target) for name in dict.fromkeys(backends))
    return tuple(f"{each.reason} {each.remedy}" for each in answers if not each.ok)


def _chosen(name: str, settings: Mapping[str, Setting]) -> Options:
    """Return the settings in order, each of the type its workflow wants: 16, not "16"."""
    if not isinstance(settings, Mapping):
        raise RequestError(f"{settings!r} are no settings of {name}.", "Give names with values.")
    options = workflow(name, dict(settings))
    return tuple((key, getattr(options, key)) for key in sorted(settings))


def refusals(
    request: CompareRequest, environment: Environment | None = None
) -> dict[Variant, Failure]:
    """Return the cells that cannot exist, each with its reason and remedy. Needs no torch.

    `environment` is the measuring machine's; None takes this one's.
    """
    info, environment = find(request.model), environment or current_environment()
    subject = Subject(request.model, info, is_labelled(request.images, info), environment)
    refused = {}
    for variant in request.variants:
        options = workflow(variant.workflow, dict(variant.settings))
        support = options.supports(subject, runtime(variant.backend))
        if not support.ok:
            refused[variant] = Failure(
                key=digest(replace(request, variants=(variant,))),
                model=request.model.name,
                workflow=variant.workflow,
                backend=variant.backend,
                settings=settings_of(variant),
                reason=support.reason,
                remedy=support.remedy,
            )
    return refused
