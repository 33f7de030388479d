"""Verify an exported file: load it afresh, evaluate and time it, compare it with its variant.

Runs in a worker, and like `engine` leaves all that touches a runtime to children of a process pool.
"""

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from quantcore import wording
from quantcore.backends import BACKENDS, agreement, runtime
from quantcore.decide import NEEDS_VNNI, needs_vnni
from quantcore.engine import (
    CellContext,
    Conversion,
    TimedFile,
    Timing,
    keys,
    load_logits,
    metrics,
    stages,
    time_in_turns,
    time_model,
)
from quantcore.errors import DoesNotRunError
from quantcore.exports import checks
from quantcore.exports.answers import Answers
from quantcore.exports.checks import Evidence
from quantcore.exports.write import Export
from quantcore.formats import FORMATS, file_format
from quantcore.images import load_labels
from quantcore.models import find
from quantcore.schema import (
    Accuracy,
    Check,
    ExportSpec,
    RuntimeLatency,
    VerificationReport,
    current_environment,
)

# Pictures on which a file is also evaluated with the kernels of a phone.
ELSEWHERE_IMAGES = 200
# Timing a file beside its variant is short: the whole verification takes seconds.
STARTS, ROUNDS, TIME_BUDGET_S = 4, 3, 2.0
CHUNK = 1 << 20


def verify(
    job: CellContext, spec: ExportSpec, conversion: Conversion, export: Export
) -> VerificationReport:
    """Return the verification report of a file in the store.

    Args:
        job: whose request names the pictures that the file is evaluated on.
        spec: which file.
        conversion: the variant it was made from.
        export: the file.

    Raises:
        CancelledError: `job.should_stop` said so.
        QuantcoreError: the variant's own file could not be asked, or something went wrong that
            says nothing of the file: a child was killed, or the disk is full.
    """
    return _Verification(job, spec, conversion, export).report()


@dataclass(frozen=True)
class _Verification:
    """All that the steps of a verification need."""

    job: CellContext
    spec: ExportSpec
    conversion: Conversion
    export: Export

    def report(self) -> VerificationReport:
        """Return the report of the file's answers, its time and all checks."""
        job = self.job
        variant_logits = self._variant_logits(0.6, 0.7)
        try:
            with job.store.using(self.export.exported.artifact.sha256) as (path,):
                answers = self._answers(self.spec, path, 0.7, 0.85)
        # Only this error is a fact about the file; after others a second try may succeed.
        except DoesNotRunError as error:
            return self._report((checks.does_not_load(error.reason),))
        evidence = self._evidence(answers, variant_logits)
        results = (*checks.checks(evidence), *answers.checks)
        notes = self._notes(evidence)
        report = self._report(results, evidence, self._timing(), notes)
        return replace(report, sample=answers.sample)

    def _variant_logits(self, start: float, end: float) -> checks.Logits:
        """Return the answers of the variant's own file, as a comparison stores them."""
        job = self.job
        if not job.request.model.is_random:
            evaluation = stages.evaluate(job, self.spec.variant, self.conversion, start, end)
            assert evaluation.predictions is not None
            return self._logits(evaluation.predictions)
        own = replace(self.spec, format=self.conversion.artifact.format, options=())
        with job.store.using(self.conversion.artifact.sha256) as (path,):
            return self._logits(self._answers(own, path, start, end).predictions)

    def _answers(self, spec: ExportSpec, path: Path, start: float, end: float) -> Answers:
        function, share = "quantcore.exports.answers:run_answers_child", (start, end)
        return self.job.run(
            Answers, function, spec, path, files=Answers.files, share=share, reads=(path,)
        )

    def _logits(self, sha256: str) -> checks.Logits:
        with self.job.store.using(sha256) as (path,):
            return load_logits(path)

    def _evidence(self, answers: Answers, variant_logits: checks.Logits) -> Evidence:
        request = self.spec.request
        chosen = file_format(self.spec.format, dict(self.spec.options))
        return Evidence(
            spec=self.spec,
            exported=self.export.exported,
            is_exact=chosen.is_exact,
            max_overhead=chosen.max_overhead,
            expected=self.export.provenance,
            embedded=answers.provenance,
            logits=self._logits(answers.predictions),
            variant_logits=variant_logits,
            labels=load_labels(request.images, find(request.model)),
            state_dict_bytes=self.conversion.state_dict_bytes,
        )

    def _timing(self) -> Timing:
        """Time the file, in turns with its variant's own where it runs elsewhere than that."""
        job, spec = self.job, self.spec
        side = keys.image_size(spec.request, find(spec.request.model))
        measure = replace(
            spec.request.measure, starts=STARTS, rounds=ROUNDS, time_budget_s=TIME_BUDGET_S
        )
        file, own = self.export.exported.artifact.sha256, self.conversion.artifact.sha256
        with job.store.using(file, own) as (path, own_path):
            backend = spec.variant.backend
            files = {file: TimedFile(path, backend, side, spec.format, spec.options)}
            if not self._is_own:
                files[own] = TimedFile(own_path, backend, side)
            watch = job.watch(0.9, 1.0)
            return time_in_turns(job.pool, files, measure, watch, job.should_stop)

    @property
    def _is_own(self) -> bool:
        """Return whether the file is the variant's own, of the format that was measured."""
        return self.spec.format == self.conversion.artifact.format

    def _notes(self, evidence: Evidence) -> tuple[str, ...]:
        """Return the warnings about the file, in sentences."""
        backend, tuning = self.spec.variant.backend, self.conversion.tuning
        vnni = (NEEDS_VNNI,) if needs_vnni(backend, tuning) else ()
        return (*overflows(self.spec), *vnni, *self._phone_kernels(evidence))

    def _phone_kernels(self, evidence: Evidence) -> tuple[str, ...]:
        own = runtime(self.spec.variant.backend)
        engine = FORMATS[self.spec.format].phone_engine
        # Float kernels are the same for all engines.
        if engine is None or own.engine in (None, engine):
            return ()
        phones = next(each for each in BACKENDS.values() if each.engine == engine)
        start = f"On a phone this format has only {phones.title}'s kernels."
        count = min(ELSEWHERE_IMAGES, len(evidence.logits))
        try:
            logits = self._logits(self._elsewhere(phones.name, count))
        except DoesNotRunError as error:
            return (f"{start} By them this file does not run: {error.reason}",)
        same = agreement(evidence.logits[:count], logits)
        return (
            f"{start} By them, here, {wording.percent(same)} of {count} pictures get the class "
            f"that {own.title}'s give.",
        )

    def _elsewhere(self, backend: str, count: int) -> str:
        job = self.job
        images = replace(self.spec.request.images, evaluation_images=count)
        spec = replace(self.spec, request=replace(self.spec.request, images=images))
        with job.store.using(self.export.exported.artifact.sha256) as (path,):
            function, share = "quantcore.exports.answers:run_elsewhere_child", (0.85, 0.9)
            arguments = spec, path, backend
            return job.run(
                str, function, *arguments, files=lambda digest: [digest], share=share, reads=(path,)
            )

    def _report(
        self,
        results: tuple[Check, ...],
        evidence: Evidence | None = None,
        timing: Timing | None = None,
        notes: tuple[str, ...] = (),
    ) -> VerificationReport:
        exported = self.export.exported
        with self.job.store.using(exported.artifact.sha256) as (path,):
            zipped_bytes = _zipped_bytes(path)
        return VerificationReport(
            spec=self.spec,
            exported=exported,
            environment=current_environment(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            zipped_bytes=zipped_bytes,
            images=len(evidence.logits) if evidence else 0,
            accuracy=_accuracy(evidence),
            agreement=evidence.agreement if evidence else None,
            largest_logit_difference=evidence.largest_difference if evidence else None,
            latency=(self._latency(timing),),
            peak_memory_bytes=timing.peak_memory_bytes if timing else 0,
            checks=results,
            not_verified=_not_verified(self.spec, evidence),
            notes=notes,
            provenance=self.export.provenance,
            runtime_version=runtime_version(self.spec),
            cold_start=timing.cold_start if timing else None,
        )

    def _latency(self, timing: Timing | None) -> RuntimeLatency:
        name = file_format(self.spec.format, dict(self.spec.options)).runtime
        if timing is None:
            return RuntimeLatency(name, None, "The file does not load there.")
        model = time_model.fit([timing.turns])
        file, own = self.export.exported.artifact.sha256, self.conversion.artifact.sha256
        speedup = None if self._is_own else model.speedup(file, own)
        return RuntimeLatency(name, model.latency(file), speedup=speedup)


def runtime_version(spec: ExportSpec) -> str:
    """Return the version of what runs the file here; empty where that is not installed."""
    try:
        return version(FORMATS[spec.format].package)
    except PackageNotFoundError:
        return ""


def overflows(spec: ExportSpec) -> tuple[str, ...]:
    """Return a note where the variant itself, rather than the file, may compute wrongly here."""
    chosen = file_format(spec.format, dict(spec.options))
    backend = runtime(spec.variant.backend)
    if chosen.is_exact or not backend.overflows(current_environment()):
        return ()
    return (
        f"Without VNNI, as here, {backend.title}'s 8-bit sums can overflow, and those of "
        f"{chosen.runtime} do not: where the two name different classes, the file may be right and "
        "the variant wrong.",
    )


def _accuracy(evidence: Evidence | None) -> Accuracy | None:
    if evidence is None or evidence.labels is None or evidence.is_random:
        return None
    labels = evidence.labels[: len(evidence.logits)]
    return metrics.accuracy(evidence.logits.argmax(axis=1), labels)


def _zipped_bytes(path: Path) -> int:
    """Return the size of the file deflated, which is how app stores send it."""
    squeeze = zlib.compressobj()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(squeeze.compress(chunk))
    return size + len(squeeze.flush())


def _not_verified(spec: ExportSpec, evidence: Evidence | None) -> tuple[str, ...]:
    """Return what was not checked, in sentences."""
    chosen = file_format(spec.format, dict(spec.options))
    ran_in = (
        f"{chosen.runtime} {runtime_version(spec)}".rstrip() if chosen.modules else chosen.runtime
    )
    phone = (
        "No phone ran this file: how fast it is there, and how much memory it takes, is unknown."
    )
    sentences = [
        *([phone] if "phone" in chosen.targets else ()),
        f"It ran in {ran_in} on this machine only: {current_environment().sentence()}.",
    ]
    if evidence is None:
        return (*sentences, "What it answers is unknown, since it does not load here.")
    if evidence.is_random:
        sentences.append("Its weights are random: what it answers means nothing.")
    elif evidence.labels is None:
        sentences.append("The pictures carry no labels: whether its answers are right is unknown.")
    return tuple(sentences)
