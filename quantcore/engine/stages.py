"""The steps of a cell that leave something in the store: its file, and the file's answers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from quantcore.backends import runtime
from quantcore.engine import keys
from quantcore.engine.context import Job, stop_if_asked
from quantcore.engine.convert import Conversion
from quantcore.engine.predict import Probe, are_logits
from quantcore.errors import (
    DamagedArtifactError,
)
from quantcore.models import find
from quantcore.sandbox import (
    not_an_answer,
    outbox,
)
from quantcore.schema import (
    CompareRequest,
    Variant,
    canonical_json,
)


@dataclass(frozen=True)
class Evaluation:
    """How a file answers: logits by digest (None for random weights), and its float compute."""

    predictions: str | None
    float_multiply_adds: int


def convert(job: Job, variant: Variant, start: float, end: float) -> Conversion:
    """Return the variant's file, from the store or made now; two askers make it once."""
    key = keys.conversion_key(job.request, variant)
    recipe = keys.recipe_key(job.request, variant)
    # One turn for the recipe: backends that share it must not convert side by side.
    with job.store.once(recipe, check=lambda: stop_if_asked(job)):
        known = _intact(job, "conversion", key)
        if known is not None:
            return known
        twin = _intact(job, "recipe", recipe)
        conversion = _convert_child(job, variant, twin, start, end)
        artifacts = [conversion.artifact.sha256]
        job.store.put("conversion", key, conversion.to_json(), artifacts)
        if twin is None:
            job.store.put("recipe", recipe, conversion.to_json(), artifacts)
            if conversion.state is not None:
                what = canonical_json(_named(job.request, variant))
                job.store.put("state", recipe, what, [conversion.state.sha256])
        return conversion


def _named(request: CompareRequest, variant: Variant) -> dict[str, str | None]:
    return {
        "model": request.model.name,
        "workflow": variant.workflow,
        "backend": variant.backend,
    }


def _intact(job: Job, kind: str, key: str) -> Conversion | None:
    """Return a stored conversion whose file is whole; a damaged one is forgotten and made anew."""
    text = job.store.get(kind, key)
    if text is None:
        return None
    conversion = Conversion.from_json(text)
    try:
        job.store.checked_path(conversion.artifact.sha256)
    except DamagedArtifactError:
        return None
    return conversion


def _convert_child(
    job: Job, variant: Variant, twin: Conversion | None, start: float, end: float
) -> Conversion:
    """Return a conversion made now; from its recipe's twin of another backend, if there is one."""
    share = start, end
    if twin is not None and twin.artifact.format == runtime(variant.backend).format.name:
        with job.store.using(twin.artifact.sha256) as (source,):
            return job.run(
                Conversion,
                "quantcore.engine.convert:run_relabel_child",
                *(job.request, variant, twin, source),
                files=lambda relabelled: [relabelled.artifact.sha256],
                share=share,
                reads=(source,),
            )
    with _state_of(job, twin) as state:
        return job.run(
            Conversion,
            "quantcore.engine.convert:run_convert_child",
            *(job.request, variant, state),
            files=Conversion.files,
            share=share,
            reads=(state,) if state else (),
        )


@contextmanager
def _state_of(job: Job, twin: Conversion | None) -> Iterator[Path | None]:
    """Keep the state that a twin's numbers can be made from, if it is still in the store."""
    with ExitStack() as stack:
        state = None
        if twin is not None and twin.state is not None:
            with suppress(DamagedArtifactError):
                (state,) = stack.enter_context(job.store.using(twin.state.sha256))
        yield state


def judge(
    job: Job, variant: Variant, conversion: Conversion, start: float, end: float
) -> Evaluation:
    """Return the file's answers on the evaluation pictures, from the store where they are known."""
    key = keys.evaluation_key(job.request, variant)
    known = job.store.get("evaluation", key)
    if known is not None:
        return _EVALUATION.validate_json(known)
    sha256 = conversion.artifact.sha256
    with job.store.using(sha256) as (path,), job.store.outbox() as folder:
        with job.spawn(
            "quantcore.engine.predict:run_probe_child",
            *(path, variant.backend, job.request, folder),
            reads=(path,),
            writes=(folder,),
        ) as child:
            probe = job.receive(Probe, child, (start, end), folder)
            predictions = None
            if not job.request.model.is_random:
                shared = keys.predictions_key(conversion.state_digest, probe.digest, job.request)
                predictions = job.store.get("predictions", shared)
            if predictions is None and not job.request.model.is_random:
                child.send("predict")
                job.receive(str, child, (start, end), folder)
        for taken in outbox.take(folder, job.store):
            _require_logits(job, taken)
            predictions = taken
            job.store.put("predictions", shared, predictions, [predictions])
    evaluation = Evaluation(predictions, probe.float_multiply_adds)
    artifacts = [predictions] if predictions else []
    job.store.put("evaluation", key, _EVALUATION.dump_json(evaluation).decode(), artifacts)
    return evaluation


def _require_logits(job: Job, sha256: str) -> None:
    """Hold a child's file of logits against what was asked, before others read it whole."""
    with job.store.using(sha256) as (path,):
        classes = find(job.request.model).classes
        if not are_logits(path, job.request.images.evaluation_images, classes):
            raise not_an_answer()


_EVALUATION = TypeAdapter(Evaluation)
