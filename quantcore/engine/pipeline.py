"""One cell, start to end: fetch or convert the file, load it afresh, evaluate it, time it.

Everything that touches torch happens in children of a process pool; this module runs in a worker
and starts the steps whose outcome is not in the store. Each step writes its outcome there, so that
an interrupted comparison goes on where it stopped.
"""

import os
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from quantcore.backends import agreement, runtime, sqnr_db
from quantcore.cache import Store, locks
from quantcore.engine import keys, metrics, stages
from quantcore.engine.context import CellContext, raise_if_cancelled
from quantcore.engine.convert import Conversion
from quantcore.engine.latency import TimedFile, Timing, time_in_turns
from quantcore.engine.predict import load_logits
from quantcore.engine.stages import Evaluation
from quantcore.engine.together import timed_together
from quantcore.errors import (
    CancelledError,
    ChildDiedError,
    DamagedArtifactError,
    QuantcoreError,
    UnsupportedError,
)
from quantcore.formats import slow_on_phones
from quantcore.images import load_labels
from quantcore.models import find, weights_are_here
from quantcore.schema import (
    TORCH_FLOAT,
    CompareRequest,
    Environment,
    Failure,
    Latency,
    Speedup,
    Variant,
    VariantResult,
    current_environment,
    digest,
)
from quantcore.workflows import reported_settings, settings_of, workflow

# Imported once by the process pool, so that its children start with everything at hand.
PRELOADED_MODULES = (
    "quantcore.engine.convert",
    "quantcore.engine.predict",
    "quantcore.engine.latency",
    "quantcore.engine.statistics",
    "quantcore.engine.preload",
)
# Of the machine, not of a data folder: two servers with folders of their own share the processor.
MACHINE_LOCK = Path(tempfile.gettempdir()) / f"quantcore-measures-{os.getuid()}.lock"

_RESULT = TypeAdapter(VariantResult)


def run_cell(
    context: CellContext, variant: Variant, *, again: bool = False
) -> VariantResult | Failure:
    """Return the cell's figures, or why there are none. Only a cancelled cell raises.

    Args:
        context: of the cell.
        variant: the cell.
        again: measure it though it was measured before.

    Raises:
        CancelledError: `should_stop` said so.
    """
    try:
        return _cached_or_measured(context, variant, again)
    except CancelledError:
        raise
    except Exception as error:
        return failure(context.request, variant, error)


def _cached_or_measured(context: CellContext, variant: Variant, again: bool) -> VariantResult:
    """Return the cell's figures; if another process measures them now, wait for its result."""
    context.report("waiting for this machine", 0.0)
    # Nothing runs beside a measurement, whichever worker or server of this machine asks for it.
    with (
        locks.exclusive(MACHINE_LOCK, check=lambda: raise_if_cancelled(context)),
        context.store.once(
            cell_key(context.request, variant), check=lambda: raise_if_cancelled(context)
        ),
    ):
        only = () if again else (variant,)
        cached = cached_results(context.store, context.request, only=only)
        return cached[variant] if variant in cached else _measured(context, variant)


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
        settings=reported_settings(variant),
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
    store: Store,
    request: CompareRequest,
    environment: Environment | None = None,
    only: Sequence[Variant] | None = None,
) -> dict[Variant, VariantResult]:
    """Return the cells of this request that were measured before on such a machine (or this one).

    `only` names those that are wanted; None asks for all. A cell whose weights are not here yet
    cannot have been measured; nothing is fetched to find out.
    """
    environment = environment or current_environment()
    by_key = {
        keys.result_key(request, variant, environment): variant
        for variant in (request.variants if only is None else only)
        if is_readable(request, variant)
    }
    stored = store.get_many("result", by_key)
    return {
        by_key[key]: replace(_RESULT.validate_json(text), cached=True)
        for key, text in stored.items()
    }


def _measured(context: CellContext, variant: Variant) -> VariantResult:
    # What is cached needs no child, and timing starts its own.
    context.require_lock()
    context.report("preparing float32", 0.0)
    floats = _float_conversions(context, variant, 0.0, 0.1)
    conversion = floats.get(variant) or stages.convert(context, variant, 0.1, 0.55)
    evaluations = _evaluations(
        context, {**_reference_floats(context.request, variant, floats), variant: conversion}
    )
    statistics = (
        stages.float_statistics(context, 0.75)
        if variant == keys.reference(context.request.model)
        else None
    )
    timing = _time(context, variant, conversion, floats)
    result = _result(context, variant, conversion, evaluations, timing, floats)
    result = replace(result, statistics=statistics)
    artifacts = [conversion.artifact.sha256]
    predictions = evaluations[variant].predictions
    artifacts += [predictions] if predictions else []
    context.store.put("result", result.key, _RESULT.dump_json(result).decode(), artifacts)
    context.report("done", 1.0)
    return result


def _float_conversions(
    context: CellContext, variant: Variant, start: float, end: float
) -> dict[Variant, Conversion]:
    """Return the files of the float32 variants that a variant is timed against, its own first."""
    conversions: dict[Variant, Conversion] = {}
    environment = current_environment()
    for each in keys.float_variants(context.request, variant, environment):
        try:
            conversions[each] = stages.convert(context, each, start, end)
        except UnsupportedError:
            # Another runtime's float32 is only one more thing to compare with.
            if each in _needed_floats(context.request, variant):
                raise
    return conversions


def _evaluations(
    context: CellContext, conversions: Mapping[Variant, Conversion]
) -> dict[Variant, Evaluation]:
    """Return the evaluation of each file, one after the other."""
    start, share = 0.55, 0.2 / len(conversions)
    return {
        variant: stages.evaluate(
            context, variant, conversion, start + index * share, start + (index + 1) * share
        )
        for index, (variant, conversion) in enumerate(conversions.items())
    }


def _needed_floats(request: CompareRequest, variant: Variant) -> tuple[Variant, ...]:
    """Return the floats that a variant's answers and 8-bit share are held against."""
    main = keys.reference(request.model)
    return () if main is None else tuple(dict.fromkeys((main, keys.own_float(variant))))


def _reference_floats(
    request: CompareRequest, variant: Variant, floats: Mapping[Variant, Conversion]
) -> dict[Variant, Conversion]:
    return {each: floats[each] for each in _needed_floats(request, variant)}


def _time(
    context: CellContext,
    variant: Variant,
    conversion: Conversion,
    floats: Mapping[Variant, Conversion],
) -> Timing:
    """Return the turns of the file, the float32 files, and another variant's, each in its runtime.

    That other variant, the first of the comparison, ties variants to each other more closely than
    float32 does, whose speed depends more on what else the machine's memory does.
    """
    size = keys.image_size(context.request, find(context.request.model))
    digests = {conversion.artifact.sha256: variant.backend}
    digests |= {each.artifact.sha256: other.backend for other, each in floats.items()}
    digests |= _tie(context, variant)
    with context.store.using(*digests) as paths:
        files = {
            sha256: TimedFile(path, backend, size)
            for path, (sha256, backend) in zip(paths, digests.items(), strict=True)
        }
        watch = context.watch(0.75, 1.0)
        return time_in_turns(
            context.pool, files, context.request.measure, watch, context.should_stop
        )


def _tie(context: CellContext, variant: Variant) -> dict[str, str | None]:
    """Return the file of the first variant that was measured, with its backend; if it is here."""
    others = tuple(v for v in context.request.variants if not v.is_float and v != variant)
    measured = cached_results(context.store, context.request, only=others)
    for each in others:
        if each in measured:
            # Its file may have made room for others.
            with suppress(DamagedArtifactError):
                context.store.path(measured[each].artifact.sha256)
                return {measured[each].artifact.sha256: each.backend}
    return {}


def _result(
    context: CellContext,
    variant: Variant,
    conversion: Conversion,
    evaluations: Mapping[Variant, Evaluation],
    timing: Timing,
    floats: Mapping[Variant, Conversion],
) -> VariantResult:
    request = context.request
    info = find(request.model)
    evaluation = evaluations[variant]
    row = VariantResult(
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
        latency_ms=Latency(0.0, 0.0),
        speedup=Speedup(1.0, 1.0, 1.0),
        int8_share=_int8_share(variant, evaluations),
        peak_memory_bytes=timing.peak_memory_bytes,
        memory_baseline_bytes=timing.memory_baseline_bytes,
        machine_busy=False,
        conversion_s=round(conversion.conversion_s, 3),
        notes=_notes(request, variant, evaluation.delegated),
        predictions=evaluation.predictions,
        turns=timing.turns,
        floats={
            each.backend or TORCH_FLOAT: converted.artifact.sha256
            for each, converted in floats.items()
        },
        steadying=timing.steadying,
        tuning=conversion.tuning,
        cold_start=timing.cold_start,
        **_fidelity(context, evaluation, evaluations),
    )
    return timed_together([row])[0]


def _fidelity(
    context: CellContext, evaluation: Evaluation, evaluations: Mapping[Variant, Evaluation]
) -> dict[str, Any]:
    """Return the fields of a result that say how well the file answers, from the stored logits."""
    main = keys.reference(context.request.model)
    reference = None if main is None else evaluations[main].predictions
    if evaluation.predictions is None or (main is not None and reference is None):
        return {"accuracy": None, "agreement": None, "sqnr_db": None, "fidelity_images": 0}
    with context.store.using(evaluation.predictions, *filter(None, [reference])) as paths:
        logits, *float_logits = (load_logits(path) for path in paths)
    labels = load_labels(context.request.images, find(context.request.model))
    accuracy = None
    if labels is not None:
        accuracy = metrics.accuracy(logits.argmax(axis=1), labels[: len(logits)])
    return {
        "accuracy": accuracy,
        "agreement": agreement(float_logits[0], logits) if float_logits else None,
        "sqnr_db": sqnr_db(float_logits[0], logits) if float_logits else None,
        "fidelity_images": len(logits),
        "named": metrics.named(logits),
    }


def _int8_share(variant: Variant, evaluations: Mapping[Variant, Evaluation]) -> float:
    """Return the share of multiply-adds that a file no longer runs in float.

    They are those of its own float32; of a model that came in 8 bits, the file's own.
    """
    own, evaluation = evaluations.get(keys.own_float(variant)), evaluations[variant]
    whole = own.float_multiply_adds if own else evaluation.multiply_adds
    if evaluation == own or not whole:
        return 0.0
    return max(0.0, round(1.0 - evaluation.float_multiply_adds / whole, 4))


def _notes(request: CompareRequest, variant: Variant, delegated: float) -> tuple[str, ...]:
    info = find(request.model)
    notes = []
    if request.model.is_random:
        notes.append("Random weights: size and latency are real; accuracy is not offered.")
    elif info.in_8_bits:
        notes.append("It came in 8 bits: there is no float32 to compare it with.")
    elif load_labels(request.images, info) is None:
        notes.append("These pictures carry no labels: agreement with float32 stands for accuracy.")
    if note := workflow(variant.workflow, dict(variant.settings)).note(runtime(variant.backend)):
        notes.append(note)
    if info.float_attention and _leaves_attention_float(variant):
        notes.append("Its attention stays float; only the linear layers around it run in 8 bits.")
    if slow := slow_on_phones(delegated):
        notes.append(slow)
    return tuple(notes)


def _leaves_attention_float(variant: Variant) -> bool:
    return variant.workflow == "dynamic" and runtime(variant.backend).toolchain.makes_modules
