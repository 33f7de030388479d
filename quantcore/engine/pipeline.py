"""One cell, start to end: fetch or convert the file, load it afresh, judge it, time it.

Everything that touches torch happens in children of a process pool; this module runs in a worker
and only decides what is still missing. Each step looks in the store first, and leaves there what it
made, so that an interrupted comparison goes on where it stopped.
"""

import os
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from quantcore import uploads
from quantcore.cache import Store, locks
from quantcore.engine import keys, metrics
from quantcore.engine.convert import Conversion
from quantcore.engine.latency import TimedFile, Timing, time_against_float, time_alone
from quantcore.engine.predict import Probe, are_logits, load_logits
from quantcore.errors import (
    CancelledError,
    ChildDiedError,
    DamagedArtifactError,
    QuantcoreError,
    UnsupportedError,
)
from quantcore.images import load_labels
from quantcore.models import find, weights_are_here, weights_files
from quantcore.sandbox import (
    Child,
    ProcessPool,
    Progress,
    ShouldStop,
    not_an_answer,
    outbox,
    sandboxed,
)
from quantcore.schema import (
    Accuracy,
    CompareRequest,
    Environment,
    Failure,
    Variant,
    VariantResult,
    canonical_json,
    current_environment,
    digest,
)
from quantcore.settings import Settings
from quantcore.workflows import settings_of, settings_told, workflow

# Imported once by the process pool, so that its children start with everything at hand.
PRELOADED_MODULES = (
    "quantcore.engine.convert",
    "quantcore.engine.predict",
    "quantcore.engine.latency",
    "quantcore.engine.preload",
)
# Of the machine, not of a data folder: two servers with folders of their own share the processor.
MACHINE_LOCK = Path(tempfile.gettempdir()) / f"quantcore-measures-{os.getuid()}.lock"
FLOAT32 = Variant("float32", None)
NOT_LOCKED = "An uploaded program is only run in the locked-in worker, and this is another."

_RESULT = TypeAdapter(VariantResult)

T = TypeVar("T")
ReportStage = Callable[[str, float], None]


@dataclass(frozen=True)
class Evaluation:
    """How a file answers: logits by digest (None for random weights), and its float compute."""

    predictions: str | None
    float_multiply_adds: int


@dataclass(frozen=True)
class Job:
    """All that the steps of one cell need. `refusal` says why this machine runs no program."""

    request: CompareRequest
    settings: Settings
    store: Store
    pool: ProcessPool
    report: ReportStage
    should_stop: ShouldStop
    refusal: str = ""

    def run(
        self,
        kind: type[T],
        function: str,
        *arguments: Any,
        files: Callable[[T], Iterable[str | None]],
        share: tuple[float, float],
        reads: Sequence[Path] = (),
    ) -> T:
        """Return what a child of its own answers, with its files in the store.

        The function is called with `arguments` and an outbox, whose files are taken from it when
        the child has ended. The child may read `reads` and what the request names.

        Raises:
            ChildDiedError: the answer is another than `kind`, or speaks of files (whose digests
                `files` gives) that were not in the outbox.
        """
        with self.store.outbox() as folder:
            with self.spawn(function, *arguments, folder, reads=reads, writes=(folder,)) as child:
                answer = self.receive(kind, child, share, folder)
            taken = outbox.take(folder, self.store)
        if not set(filter(None, files(answer))) <= set(taken):
            raise not_an_answer()
        return answer

    def spawn(
        self, function: str, *arguments: Any, reads: Sequence[Path], writes: Sequence[Path] = ()
    ) -> Child:
        """Start a child that may read what the request names, and `reads`.

        Raises:
            UnsupportedError: it would run somebody's program, and nothing locks it in here.
        """
        self.require_lock()
        named = files_of(self.request)
        return self.pool.spawn(function, *arguments, reads=(*reads, *named), writes=writes)

    def require_lock(self) -> None:
        """Refuse to run somebody's program where nothing locks it in.

        Raises:
            UnsupportedError: that is so here.
        """
        if find(self.request.model).is_program and not self.pool.locked:
            raise UnsupportedError(self.refusal or NOT_LOCKED, sandboxed.REMEDY)

    def receive(
        self, kind: type[T], child: Child, share: tuple[float, float], folder: Path | None = None
    ) -> T:
        """Return a child's next answer, its progress placed between two shares of the cell.

        Raises:
            ChildDiedError: it answers another thing, or fills the folder that it may write in.
        """
        stop = self.should_stop if folder is None else outbox.within_quota(folder, self.should_stop)
        answer = child.receive(self.watch(*share), stop)
        try:
            return TypeAdapter(kind).validate_python(answer)
        except ValueError as error:
            raise not_an_answer() from error

    def watch(self, start: float, end: float, prefix: str = "") -> Callable[[Progress], None]:
        """Return a listener that places a step's progress between two shares of the cell."""

        def listen(progress: Progress) -> None:
            share = min(1.0, max(0.0, progress.share))
            self.report(prefix + progress.stage, start + (end - start) * share)

        return listen


def origins(request: CompareRequest) -> tuple[str, ...]:
    """Return the uploads that everything measured of a request is made from."""
    return tuple(
        name
        for name in (request.model.name, request.images.source)
        if name and uploads.is_named(name)
    )


def files_of(request: CompareRequest) -> tuple[Path, ...]:
    """Return the files and folders that a request's model and pictures are read from."""
    source = request.images.source
    own = () if source is None or uploads.is_named(source) else (Path(source).expanduser(),)
    return (*map(uploads.folder, origins(request)), *own, *weights_files(request.model))


def is_locked(request: CompareRequest) -> bool:
    """Return whether a request runs or reads what somebody brought, beyond mere numbers."""
    return uploads.is_named(request.images.source) or find(request.model).is_program


def run_cell(job: Job, variant: Variant) -> VariantResult | Failure:
    """Return the cell's figures, or why there are none. Only a cancelled cell raises.

    Raises:
        CancelledError: `should_stop` said so.
    """
    try:
        return _known_or_measured(job, variant)
    except CancelledError:
        raise
    except Exception as error:
        return failure(job.request, variant, error)


def _known_or_measured(job: Job, variant: Variant) -> VariantResult:
    """Return the cell's figures; who asks while another process measures them waits for those."""
    job.report("waiting for this machine", 0.0)
    # Nothing runs beside a measurement, whichever worker or server of this machine asks for it.
    with (
        locks.exclusive(MACHINE_LOCK, check=lambda: stop_if_asked(job)),
        job.store.once(cell_key(job.request, variant), check=lambda: stop_if_asked(job)),
    ):
        known = cached_results(job.store, replace(job.request, variants=(variant,)))
        return known[variant] if variant in known else _measured(job, variant)


def failure(
    request: CompareRequest,
    variant: Variant,
    error: Exception,
    environment: Environment | None = None,
) -> Failure:
    """Return the row of a cell that was tried and did not come through."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, QuantcoreError):
        reason, remedy = error.reason, error.remedy
    else:
        reason = f"{variant.label} ended with an error: {type(error).__name__}: {error}"
        remedy = "The details name the place; try other settings or another backend."
    return Failure(
        key=cell_key(request, variant, environment),
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_told(variant),
        reason=reason,
        remedy=remedy,
        details=details,
        refused=False,
        died=isinstance(error, ChildDiedError),
    )


def cell_key(
    request: CompareRequest, variant: Variant, environment: Environment | None = None
) -> str:
    """Return the cell's result key, or a digest of the question where its weights are not here.

    `environment` is the measuring machine's; None takes this one's.
    """
    environment = environment or current_environment()
    if is_readable(request, variant):
        return keys.result_key(request, variant, environment)
    return digest([request.to_json(), asdict(variant), asdict(environment)])


def is_readable(request: CompareRequest, variant: Variant) -> bool:
    """Return whether the variant's weights are on this machine, without fetching anything."""
    engines = {None, keys.checkpoint_engine(variant)}
    return all(weights_are_here(request.model, engine) for engine in engines)


def cached_results(
    store: Store, request: CompareRequest, environment: Environment | None = None
) -> dict[Variant, VariantResult]:
    """Return the cells of this request that were measured before on such a machine (or this one).

    A cell whose weights are not here yet cannot have been; nothing is fetched to find out.
    """
    environment = environment or current_environment()
    by_key = {
        keys.result_key(request, variant, environment): variant
        for variant in request.variants
        if is_readable(request, variant)
    }
    found = store.get_many("result", by_key)
    return {
        by_key[key]: replace(_RESULT.validate_json(text), cached=True)
        for key, text in found.items()
    }


def _measured(job: Job, variant: Variant) -> VariantResult:
    # What is cached needs no child, and timing starts its own.
    job.require_lock()
    job.report("preparing float32", 0.0)
    reference = convert(job, FLOAT32, 0.0, 0.05)
    conversion = reference if variant == FLOAT32 else convert(job, variant, 0.05, 0.55)
    judged = judge(job, FLOAT32, reference, 0.55, 0.6)
    evaluation = judged if variant == FLOAT32 else judge(job, variant, conversion, 0.6, 0.75)
    timing = _time(job, variant, conversion, reference)
    result = _result(job, variant, conversion, evaluation, judged, timing)
    artifacts = [conversion.artifact.sha256]
    artifacts += [evaluation.predictions] if evaluation.predictions else []
    job.store.put("result", result.key, _RESULT.dump_json(result).decode(), artifacts)
    job.report("done", 1.0)
    return result


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
    share = start, end
    if twin is None:
        function = "quantcore.engine.convert:run_convert_child"
        return job.run(
            Conversion, function, job.request, variant, files=Conversion.files, share=share
        )
    with job.store.using(twin.artifact.sha256) as (source,):
        return job.run(
            Conversion,
            "quantcore.engine.convert:run_relabel_child",
            *(job.request, variant, twin, source),
            files=lambda made: [made.artifact.sha256],
            share=share,
            reads=(source,),
        )


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
            path,
            variant.backend,
            job.request,
            folder,
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


def _time(job: Job, variant: Variant, conversion: Conversion, reference: Conversion) -> Timing:
    size = keys.image_size(job.request, find(job.request.model))
    measure, watch = job.request.measure, job.watch(0.75, 1.0)
    digests = conversion.artifact.sha256, reference.artifact.sha256
    with job.store.using(*digests) as paths:
        subject = TimedFile(paths[0], variant.backend, size)
        if variant == FLOAT32:
            return time_alone(job.pool, subject, measure, watch, job.should_stop)
        against = TimedFile(paths[1], None, size)
        return time_against_float(job.pool, subject, against, measure, watch, job.should_stop)


def _result(
    job: Job,
    variant: Variant,
    conversion: Conversion,
    evaluation: Evaluation,
    reference: Evaluation,
    timing: Timing,
) -> VariantResult:
    request = job.request
    info = find(request.model)
    accuracy, agreement, sqnr_db, images = _fidelity(job, evaluation, reference)
    return VariantResult(
        key=keys.result_key(request, variant, current_environment()),
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_of(variant),
        threads=request.measure.threads,
        batch=request.measure.batch,
        image_size=keys.image_size(request, info),
        artifact=conversion.artifact,
        state_dict_bytes=conversion.state_dict_bytes,
        latency_ms=timing.latency_ms,
        speedup=timing.speedup,
        accuracy=accuracy,
        agreement=agreement,
        sqnr_db=sqnr_db,
        fidelity_images=images,
        int8_share=_int8_share(variant, evaluation, reference),
        peak_memory_bytes=timing.peak_memory_bytes,
        memory_baseline_bytes=timing.memory_baseline_bytes,
        machine_busy=timing.machine_busy,
        conversion_s=round(conversion.conversion_s, 3),
        notes=_notes(request, variant),
        predictions=evaluation.predictions,
    )


def _fidelity(
    job: Job, evaluation: Evaluation, reference: Evaluation
) -> tuple[Accuracy | None, float | None, float | None, int]:
    if evaluation.predictions is None or reference.predictions is None:
        return None, None, None, 0
    with job.store.using(evaluation.predictions, reference.predictions) as paths:
        logits, float_logits = (load_logits(path) for path in paths)
    labels = load_labels(job.request.images, find(job.request.model))
    accuracy = None
    if labels is not None:
        accuracy = metrics.accuracy(logits.argmax(axis=1), labels[: len(logits)])
    return (
        accuracy,
        metrics.agreement(float_logits, logits),
        metrics.sqnr_db(float_logits, logits),
        len(logits),
    )


def _int8_share(variant: Variant, evaluation: Evaluation, reference: Evaluation) -> float:
    """Return the share of the float file's multiply-adds that this file no longer runs in float."""
    if variant == FLOAT32 or not reference.float_multiply_adds:
        return 0.0
    left = evaluation.float_multiply_adds / reference.float_multiply_adds
    return max(0.0, round(1.0 - left, 4))


def _notes(request: CompareRequest, variant: Variant) -> tuple[str, ...]:
    info = find(request.model)
    made = workflow(variant.workflow, dict(variant.settings))
    notes = []
    if request.model.is_random:
        notes.append("Random weights: size and latency are real; accuracy is not offered.")
    elif load_labels(request.images, info) is None:
        notes.append("These pictures carry no labels: agreement with float32 stands for accuracy.")
    if info.float_attention and made.name == "dynamic":
        notes.append("Its attention stays float; only the linear layers around it run in 8 bits.")
    return tuple(notes)


def stop_if_asked(job: Job) -> None:
    """Raise `CancelledError` if the job's asker wants it to stop."""
    if job.should_stop():
        raise CancelledError("The work was cancelled.", "Start it again when you like.")
