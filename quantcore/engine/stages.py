"""The steps of a cell that leave something in the store: file, answers, float statistics."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from quantcore.backends import runtime
from quantcore.engine import keys
from quantcore.engine.context import CellContext, raise_if_cancelled
from quantcore.engine.convert import Conversion
from quantcore.engine.predict import Probe, are_logits
from quantcore.errors import (
    DamagedArtifactError,
)
from quantcore.images import is_labelled
from quantcore.models import find
from quantcore.sandbox import (
    not_an_answer,
    outbox,
)
from quantcore.schema import (
    CompareRequest,
    FloatStatistics,
    Variant,
    canonical_json,
)


@dataclass(frozen=True)
class Evaluation:
    """How a file answers: logits by digest (None for random weights), and what computes them.

    Of its multiply-adds `float_multiply_adds` run in float, and the share `delegated` of all in
    kernels made for speed. `multiply_adds` are all, of a file that came in 8 bits.
    """

    predictions: str | None
    float_multiply_adds: int
    multiply_adds: int | None = None
    delegated: float = 1.0


def convert(context: CellContext, variant: Variant, start: float, end: float) -> Conversion:
    """Return the variant's file, from the store or converted now, once for concurrent requests."""
    key = keys.conversion_key(context.request, variant)
    recipe = keys.recipe_key(context.request, variant)
    # One lock for the recipe: backends that share it must not convert at the same time.
    with context.store.once(recipe, check=lambda: raise_if_cancelled(context)):
        cached = _intact(context, "conversion", key)
        if cached is not None:
            return cached
        twin = _intact(context, "recipe", recipe)
        conversion = _convert_child(context, variant, twin, start, end)
        artifacts = [conversion.artifact.sha256]
        context.store.put("conversion", key, conversion.to_json(), artifacts)
        if twin is None:
            context.store.put("recipe", recipe, conversion.to_json(), artifacts)
            if conversion.state is not None:
                what = canonical_json(_named(context.request, variant))
                context.store.put("state", recipe, what, [conversion.state.sha256])
        return conversion


def _named(request: CompareRequest, variant: Variant) -> dict[str, str | None]:
    return {
        "model": request.model.name,
        "workflow": variant.workflow,
        "backend": variant.backend,
    }


def _intact(context: CellContext, kind: str, key: str) -> Conversion | None:
    """Return a stored conversion; None where there is none or its file is damaged."""
    text = context.store.get(kind, key)
    if text is None:
        return None
    conversion = Conversion.from_json(text)
    try:
        context.store.checked_path(conversion.artifact.sha256)
    except DamagedArtifactError:
        return None
    return conversion


def _convert_child(
    context: CellContext, variant: Variant, twin: Conversion | None, start: float, end: float
) -> Conversion:
    """Return a conversion made now; from its recipe's twin of another backend, if there is one."""
    share = start, end
    if twin is not None and twin.artifact.format == runtime(variant.backend).format.name:
        with context.store.using(twin.artifact.sha256) as (source,):
            return context.run(
                Conversion,
                "quantcore.engine.convert:run_relabel_child",
                *(context.request, variant, twin, source),
                files=lambda relabelled: [relabelled.artifact.sha256],
                share=share,
                reads=(source,),
            )
    with _state_of(context, twin) as state:
        made = context.run(
            Conversion,
            "quantcore.engine.convert:run_convert_child",
            *(context.request, variant, state),
            files=Conversion.files,
            share=share,
            reads=(state,) if state else (),
        )
    # Whoever asks for this variant alone waits for what the twin took as well.
    spared_s = twin.conversion_s if twin and state else 0.0
    return replace(made, conversion_s=made.conversion_s + spared_s)


@contextmanager
def _state_of(context: CellContext, twin: Conversion | None) -> Iterator[Path | None]:
    """Keep the state that a twin's numbers can be made from, if it is still in the store."""
    with ExitStack() as stack:
        state = None
        if twin is not None and twin.state is not None:
            with suppress(DamagedArtifactError):
                (state,) = stack.enter_context(context.store.using(twin.state.sha256))
        yield state


def evaluate(
    context: CellContext, variant: Variant, conversion: Conversion, start: float, end: float
) -> Evaluation:
    """Return the file's answers on the evaluation pictures, from the store where they are known."""
    key = keys.evaluation_key(context.request, variant)
    cached = context.store.get("evaluation", key)
    if cached is not None:
        return _EVALUATION.validate_json(cached)
    sha256 = conversion.artifact.sha256
    with context.store.using(sha256) as (path,), context.store.outbox() as folder:
        with context.spawn(
            "quantcore.engine.predict:run_probe_child",
            *(path, variant.backend, context.request, folder),
            reads=(path,),
            writes=(folder,),
        ) as child:
            probe = context.receive(Probe, child, (start, end), folder)
            predictions = None
            if not context.request.model.is_random:
                shared = keys.predictions_key(
                    conversion.state_digest, probe.digest, context.request
                )
                predictions = context.store.get("predictions", shared)
            if predictions is None and not context.request.model.is_random:
                child.send("predict")
                context.receive(str, child, (start, end), folder)
        for taken in outbox.take(folder, context.store):
            _require_logits(context, taken)
            predictions = taken
            context.store.put("predictions", shared, predictions, [predictions])
    evaluation = Evaluation(
        predictions, probe.float_multiply_adds, probe.multiply_adds, probe.delegated
    )
    artifacts = [predictions] if predictions else []
    context.store.put("evaluation", key, _EVALUATION.dump_json(evaluation).decode(), artifacts)
    return evaluation


def _require_logits(context: CellContext, sha256: str) -> None:
    """Check the shape and type of a child's file of logits before it is read."""
    with context.store.using(sha256) as (path,):
        classes = find(context.request.model).classes
        if not are_logits(path, context.request.images.evaluation_images, classes):
            raise not_an_answer()


def float_statistics(context: CellContext, share: float) -> FloatStatistics | None:
    """Return the statistics of the float model, from the store or measured now.

    None of a program, whose layers cannot be looked into, and where no accuracy is measured that
    they could explain.
    """
    model, images = context.request.model, context.request.images
    info = find(model)
    if info.is_program or model.is_random or not is_labelled(images, info):
        return None
    key = keys.statistics_key(context.request)
    cached = context.store.get("statistics", key)
    if cached is not None:
        return _STATISTICS.validate_json(cached)
    statistics = context.run(
        FloatStatistics,
        "quantcore.engine.statistics:run_statistics_child",
        context.request,
        files=lambda _: (),
        share=(share, share),
    )
    context.store.put("statistics", key, _STATISTICS.dump_json(statistics).decode())
    return statistics


_EVALUATION = TypeAdapter(Evaluation)
_STATISTICS = TypeAdapter(FloatStatistics)
