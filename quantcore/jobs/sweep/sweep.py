"""A sweep: lists of models and settings, and the requests that come of them."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantcore.backends import default_backends, runtime
from quantcore.decide import labels
from quantcore.engine import default_workflows, float_cells, quantized_cells, require_used
from quantcore.errors import RequestError
from quantcore.models import find
from quantcore.schema import (
    CompareRequest,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Options,
    Setting,
    Target,
    Variant,
    current_environment,
)
from quantcore.settings import DEFAULT_TIME_BUDGET_S
from quantcore.workflows import reported_settings, workflow

# A machine measures a few hundred in an hour; a table of more is read by nobody.
MAX_VARIANTS = 500

Values = Mapping[str, Mapping[str, tuple[Setting, ...]]]


@dataclass(frozen=True)
class Sweep:
    """Lists that are multiplied with one another; float32 is always among them.

    Attributes:
        models: names as a `ModelSpec` has them.
        workflows: names; None takes those of a first comparison of each model, where a backend
            offers them.
        backends: names; None takes those of a first comparison for the target.
        settings: by workflow and setting, the values it is to take; defaults where it is missing.
        image_sizes: sides in px; None is each model's own.
        evaluation_images: how many pictures each variant is evaluated on, at most.
        threads: of a timed call.
        batches: pictures a timed call.
        images: folder or zip of pictures; None takes each model's own.
        name: of the whole, in the user's words.
        target: where it will run; None where that is not decided.
    """

    models: tuple[str, ...]
    workflows: tuple[str, ...] | None = None
    backends: tuple[str, ...] | None = None
    settings: Values = field(default_factory=dict)
    image_sizes: tuple[int | None, ...] = (None,)
    evaluation_images: tuple[int, ...] = (ImageSpec.evaluation_images,)
    threads: tuple[int, ...] = (1,)
    batches: tuple[int, ...] = (1,)
    images: str | None = None
    name: str = ""
    target: Target | None = None

    def requests(self, time_budget_s: float = DEFAULT_TIME_BUDGET_S) -> tuple[CompareRequest, ...]:
        """Return one request for every model, image size, threads and batch, with float32 in each.

        Equal variants and requests are measured once: a default that is written out, a size that
        is the model's own.

        Args:
            time_budget_s: seconds that timing one variant may take.

        Raises:
            RequestError: an unknown name, a value out of range, or more variants than are allowed.
        """
        self._check()
        return tuple(
            CompareRequest(ModelSpec(model), variants, images, measure, self.target)
            for model in _once(self.models)
            for variants in (tuple(dict.fromkeys(self._variants(model))),)
            for images, measure in self._conditions(model, time_budget_s)
        )

    def _check(self) -> None:
        if not self.models:
            raise RequestError("This sweep names no model.", "Choose at least one.")
        chosen = {name for model in self.models for name in self._workflows_of(model)}
        for name in (*chosen, *self.settings):
            workflow(name, {})
        for name in self.backends or ():
            runtime(name)
        require_used(self.settings, chosen)
        self._check_size()

    def _check_size(self) -> None:
        """Refuse too many before they are written out."""
        groups = {name: math.prod(map(len, self._axes(name))) for name in _once(self.models)}
        variants = {
            model: len(float_cells(self._backends_of(model), find(ModelSpec(model))))
            + sum(self._combinations(name) for name, _ in self._cells(model))
            for model in groups
        }
        total = sum(many * variants[model] for model, many in groups.items())
        if total > MAX_VARIANTS:
            raise RequestError(
                f"This sweep asks for {total:,} variants, more than {MAX_VARIANTS}: up to "
                f"{max(variants.values()):,} of each of {sum(groups.values()):,} models, image "
                "sizes and ways of timing.",
                "Leave some values out, or ask in parts; what is measured once stays known.",
            )

    def _backends_of(self, model: str) -> tuple[str, ...]:
        if self.backends is not None:
            return self.backends
        return default_backends(self.target, current_environment(), find(ModelSpec(model)))

    def _workflows_of(self, model: str) -> tuple[str, ...]:
        if self.workflows is not None:
            return self.workflows
        return default_workflows(find(ModelSpec(model)))

    def _cells(self, model: str) -> list[tuple[str, str]]:
        """Return each workflow of a model with each backend, float32 aside."""
        names = _once(self._workflows_of(model)), _once(self._backends_of(model))
        return quantized_cells(*names, named=self.workflows is not None)

    def _combinations(self, name: str) -> int:
        """Return how many combinations of a workflow's settings there are."""
        return math.prod(len(_once(each)) for each in self.settings.get(name, {}).values())

    def _variants(self, model: str) -> Iterator[Variant]:
        yield from float_cells(self._backends_of(model), find(ModelSpec(model)))
        for name, backend in self._cells(model):
            values = self.settings.get(name, {})
            for combination in itertools.product(*values.values()):
                chosen = dict(zip(values, combination, strict=True))
                yield Variant(name, backend, _changed(name, chosen))

    def _axes(self, name: str) -> tuple[list[Any], ...]:
        """Return a model's image sizes, numbers of evaluation pictures, threads and batches."""
        model, own = ModelSpec(name), find(ModelSpec(name)).image_size
        sizes = _once(None if size == own else size for size in self.image_sizes)
        counts = _once(self.evaluation_images)
        # Random weights are not evaluated, whatever the number.
        counts = counts[:1] if model.is_random else counts
        return sizes, counts, _once(self.threads), _once(self.batches)

    def _conditions(
        self, name: str, time_budget_s: float
    ) -> Iterator[tuple[ImageSpec, MeasureSpec]]:
        """Yield the conditions under which one model is measured."""
        for size, count, threads, batch in itertools.product(*self._axes(name)):
            images = ImageSpec(self.images, count, size)
            yield images, MeasureSpec(threads, batch, time_budget_s=time_budget_s)


def _changed(name: str, chosen: Mapping[str, Setting]) -> Options:
    """Return the settings that differ from their defaults, each of the type its workflow wants."""
    typed = workflow(name, dict(chosen))
    return tuple(
        (key, getattr(typed, key))
        for key in sorted(chosen)
        if getattr(typed, key) != default(name, key)
    )


def default(name: str, setting: str) -> Any:
    """Return the default of a workflow's setting."""
    return getattr(workflow(name, {}), setting)


def _once(values: Iterable[Any]) -> list[Any]:
    # True equals 1, yet as values of a setting they are two.
    return list({repr(value): value for value in values}.values())


@dataclass(frozen=True)
class SweepCell:
    """A cell of a request with the fields that its label may need."""

    model: str
    workflow: str
    backend: str | None
    settings: Mapping[str, Setting]
    image_size: int
    threads: int
    batch: int
    fidelity_images: int


def cells_of(requests: Sequence[CompareRequest]) -> list[SweepCell]:
    """Return the cells of a job's requests, in their order."""
    return [
        SweepCell(
            request.model.name,
            variant.workflow,
            variant.backend,
            reported_settings(variant),
            request.images.image_size or _own_size(request.model),
            request.measure.threads,
            request.measure.batch,
            request.images.evaluation_images,
        )
        for request in requests
        for variant in request.variants
    ]


def _own_size(model: ModelSpec) -> int:
    """Return the side in px a model was made for; 0 where it is gone, so that all are alike."""
    try:
        return find(model).image_size
    except RequestError:
        return 0


def labels_of(requests: Sequence[CompareRequest]) -> list[str]:
    """Return the label of each cell of a job's requests, in their order."""
    return labels.names(cells_of(requests))
