"""One exported file, start to end: fetch or convert the variant, write the file, verify it.

As in `engine`, all that touches torch happens in children of a process pool, each step looks in the
store first and leaves there what it made, and nothing runs beside a measurement.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from quantcore import uploads, wording
from quantcore.backends import BACKENDS, MADE_FOR, runtime, serves
from quantcore.cache import Store, locks
from quantcore.engine import (
    MACHINE_LOCK,
    CellContext,
    Conversion,
    context,
    keys,
    pipeline,
    refusals,
    stages,
    variant_of,
)
from quantcore.errors import (
    CancelledError,
    DamagedArtifactError,
    QuantcoreError,
    RequestError,
    UnsupportedError,
)
from quantcore.exports.verify import runtime_version, verify
from quantcore.exports.write import Export
from quantcore.formats import DEFAULT_FORMAT, FORMATS, Format, Planned, file_format
from quantcore.images import images_digest, is_labelled
from quantcore.models import Subject, find
from quantcore.schema import (
    FLOAT_WORKFLOW,
    YES,
    CompareRequest,
    ExportSpec,
    Failure,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Options,
    Setting,
    Support,
    Target,
    Variant,
    VariantResult,
    VerificationReport,
    canonical,
    current_environment,
    digest,
)
from quantcore.workflows import WORKFLOWS, settings_of, workflow

# Imported once by the process pool, so that its children start with everything at hand.
PRELOADED_MODULES = (
    *pipeline.PRELOADED_MODULES,
    "quantcore.exports.write",
    "quantcore.exports.answers",
)
# Raised when the code that writes or verifies a file changes what it gives for the same spec.
EXPORT_VERSION = 3
REPORT_VERSION = 5
# What verification reports are called in the store.
REPORT_KIND = "proof"
# Of how a file is timed, what decides its figures; a verification has starts of its own.
MEASURED_BY = ("threads", "batch")
# Classes of random weights mean nothing; their logits are compared on a few pictures.
RANDOM_IMAGES = 32

_EXPORT = TypeAdapter(Export)


def planned(
    model: ModelSpec,
    variant: Variant,
    format: str,
    options: dict[str, Setting] | None = None,
    images: ImageSpec | None = None,
    measure: MeasureSpec | None = None,
    count: int = 2_000,
) -> ExportSpec:
    """Return the spec of one file, its settings and options read as the types they must have.

    Args:
        model: the float model.
        variant: what is exported.
        format: a name in `FORMATS`, or an alias.
        options: of the format; text is read as numbers and truth where those are wanted.
        images: the pictures it is calibrated and evaluated on.
        measure: how it is timed.
        count: pictures it is verified on, at most.

    Raises:
        RequestError: an unknown model, workflow, backend, format, setting or option.
    """
    find(model)
    format = canonical(FORMATS, format, "format")
    variant = replace(variant, workflow=canonical(WORKFLOWS, variant.workflow, "workflow"))
    if not variant.is_float and variant.backend is None:
        raise RequestError(
            f"{variant.workflow} needs a backend.", f"Name one of {', '.join(BACKENDS)}."
        )
    backend = None if variant.backend is None else runtime(variant.backend).name
    settings = _typed(workflow(variant.workflow, dict(variant.settings)), variant.settings)
    if variant.is_float:
        variant = Variant(FLOAT_WORKFLOW, runtime(backend).float_backend)
    else:
        variant = replace(variant, backend=backend, settings=settings)
    option_items = tuple((options or {}).items())
    chosen = _typed(file_format(format, dict(option_items)), option_items)
    request = CompareRequest(model, (variant,), images or ImageSpec(), measure or MeasureSpec())
    return ExportSpec(request, variant, format, chosen, count)


def _typed(source: object, settings: Options) -> Options:
    """Return the given settings in order, with the values that were read from them."""
    return tuple((name, getattr(source, name)) for name in sorted(name for name, _ in settings))


def supports(spec: ExportSpec) -> Support:
    """Return whether the variant can be, and the format can carry it, here. Needs no torch."""
    request = replace(spec.request, variants=(spec.variant,))
    refused = refusals(request).get(spec.variant)
    if refused is not None:
        return Support(False, refused.reason, refused.remedy)
    info, environment = find(request.model), current_environment()
    subject = Subject(request.model, info, is_labelled(request.images, info), environment)
    chosen = _exporter(spec)
    own = _own_file(subject, spec, chosen)
    if own is not None:
        return own
    if subject.model.is_program and chosen.needs_source:
        return _needs_source(subject, spec, chosen)
    return chosen.supports(planned_of(subject, spec.variant))


def _needs_source(subject: Subject, spec: ExportSpec, chosen: Format) -> Support:
    came, instead = "a program", _without_source()
    if subject.model.is_graph:
        came, instead = "ONNX", runtime(spec.variant.backend).format.title
    return Support(
        False,
        f"It came as {came}, without the source that {chosen.title} is written from.",
        f"Choose {instead}, or upload the weights alone.",
    )


def fits(spec: ExportSpec, target: Target | None) -> Support:
    """Return whether a file is made for a target, or why not and what is."""
    chosen = FORMATS[spec.format]
    if target is not None and target not in chosen.targets:
        places = wording.joined([MADE_FOR[each] for each in chosen.targets])
        return Support(
            False,
            f"{chosen.title} files are for {places}, not for {MADE_FOR[target]}.",
            f"Choose {wording.choice([FORMATS[name].title for name in formats_for(target)])}.",
        )
    backend = runtime(spec.variant.backend)
    # Other formats take the numbers over, and bring kernels of their own.
    is_bound = chosen.phone_engine is not None or chosen.name == backend.format.name
    return serves(spec.variant.backend, target) if is_bound else YES


def formats_for(target: Target | None) -> list[str]:
    """Return the formats whose runtime is shipped on a target, phones' files first."""
    names = dict.fromkeys((DEFAULT_FORMAT, *FORMATS))
    return [name for name in names if target in (None, *FORMATS[name].targets)]


def first_format(row: VariantResult, images: ImageSpec, target: Target | None = None) -> str:
    """Return the name of the first format that can carry what was measured to a target."""
    names = dict.fromkeys((*formats_for(target), *FORMATS))
    specs = (spec_of(row, name, images, MeasureSpec()) for name in names)
    # Pictures that are gone, or cannot be read, are said where the file is asked for.
    with suppress(QuantcoreError):
        return next((spec.format for spec in specs if supports(spec).ok), DEFAULT_FORMAT)
    return DEFAULT_FORMAT


def planned_of(subject: Subject, variant: Variant) -> Planned:
    """Return what a format is asked about before a variant is exported to it."""
    backend, settings = runtime(variant.backend), settings_of(variant)
    kind = workflow(variant.workflow, dict(variant.settings)).layer_kind(backend)
    return Planned(subject, variant, settings, backend, kind)


def _without_source() -> str:
    """Return the titles of the formats that programs can be written in."""
    return " or ".join(kind.title for kind in FORMATS.values() if not kind.needs_source)


def _own_file(subject: Subject, spec: ExportSpec, chosen: Format) -> Support | None:
    """Return the support of a variant that is no torch module; None where it is one.

    Its file is written already, and other formats have nothing to be written from.
    """
    backend = runtime(spec.variant.backend)
    if backend.toolchain.makes_modules:
        return None
    if chosen.name != backend.format.name:
        is_graph = subject.model.is_graph
        instead = "upload the weights alone" if is_graph else "a variant of another backend"
        return Support(
            False,
            f"{backend.title} runs {backend.format.title} files, and this variant is one.",
            f"Choose {backend.format.title}, or {instead}.",
        )
    if chosen != type(chosen)():
        return Support(
            False,
            f"This variant is an {backend.format.title} file already, with options of its own.",
            "Leave the options out.",
        )
    return YES


def file_name(spec: ExportSpec) -> str:
    """Return a name for the file that every system can take: `mobilenet_v2-static-qnnpack.ptl`."""
    parts = (_called(spec.request.model.name), spec.variant.workflow, spec.variant.backend)
    return "-".join(part for part in parts if part) + _exporter(spec).suffix


def _called(model: str) -> str:
    """Return the stem of a file's name: that of the upload, or the model's name."""
    name = model.partition("/")[2]
    if uploads.is_named(model):
        try:
            name = uploads.title(uploads.find(model))
        except RequestError:
            name = ""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "model"


def cached(store: Store, spec: ExportSpec) -> VerificationReport | None:
    """Return the report of a file that was verified here before, if the file is whole.

    Nothing is fetched to find out: a file whose weights are not here cannot have been made. All
    of the file is read.
    """
    return _if_there(recorded(store, spec), store.checked_path)


def present(store: Store, spec: ExportSpec) -> VerificationReport | None:
    """Return the cached export if its file exists; its content is not checked."""
    return _if_there(recorded(store, spec), store.path)


def stored(report: VerificationReport) -> list[str]:
    """Return the digests of what a report is about: its file's, and its picture's if it has one."""
    return [
        report.exported.artifact.sha256,
        *([report.sample.artifact.sha256] if report.sample else []),
    ]


def _if_there(
    report: VerificationReport | None, look: Callable[[str], Path]
) -> VerificationReport | None:
    try:
        for sha256 in stored(report) if report else []:
            look(sha256)
    except DamagedArtifactError:
        return None
    return report


def recorded(store: Store, spec: ExportSpec) -> VerificationReport | None:
    """Return the report of a file that was verified here before, whole or not any more."""
    request = _request(spec)
    if not pipeline.is_readable(request, spec.variant):
        return None
    text = store.get(REPORT_KIND, _report_key(spec, request))
    return replace(VerificationReport.from_json(text), spec=spec) if text is not None else None


def spec_of(row: VariantResult, format: str, images: ImageSpec, measure: MeasureSpec) -> ExportSpec:
    """Return the spec of the file that a variant that was measured would be in a format.

    Args:
        row: what was measured.
        format: a name in `FORMATS`; its options are the defaults.
        images: the pictures it was evaluated on.
        measure: the conditions under which it is timed.

    Raises:
        RequestError: the model, or a setting of the workflow, is not known here.
    """
    return planned(ModelSpec(row.model), variant_of(row), format, {}, images, measure)


def make(job: CellContext, spec: ExportSpec) -> VerificationReport:
    """Return the report of the file, which then lies in the store under its digest.

    A report that did not pass is returned as well: whether to take the file is for people to say.

    Raises:
        UnsupportedError: there can be no such file; the sentences say why and what instead.
        CancelledError: `job.should_stop` said so.
        QuantcoreError: the variant could not be made.
    """
    support = supports(spec)
    if not support.ok:
        raise UnsupportedError(support.reason, support.remedy)
    report = cached(job.store, spec)
    if report is not None:
        return report
    job = replace(job, request=_request(spec))
    job.report("waiting for this machine", 0.0)
    key = digest([REPORT_KIND, dataclasses.asdict(spec)])
    with (
        locks.exclusive(MACHINE_LOCK, check=lambda: context.raise_if_cancelled(job)),
        job.store.once(key, check=lambda: context.raise_if_cancelled(job)),
    ):
        return cached(job.store, spec) or _verified(job, spec)


def attempt(job: CellContext, spec: ExportSpec) -> VerificationReport | Failure:
    """Return the file's report, or why there is no file. Only a cancelled export raises.

    Raises:
        CancelledError: `job.should_stop` said so.
    """
    try:
        return make(job, spec)
    except CancelledError:
        raise
    except Exception as error:
        failed = pipeline.failure(spec.request, spec.variant, error)
        return replace(failed, refused=isinstance(error, UnsupportedError))


def _request(spec: ExportSpec) -> CompareRequest:
    """Return the request with the pictures it is verified on, and only the variant exported."""
    images = spec.request.images
    most = RANDOM_IMAGES if spec.request.model.is_random else images.evaluation_images
    count = min(most, spec.images, images.evaluation_images)
    return replace(
        spec.request,
        variants=(spec.variant,),
        images=replace(images, evaluation_images=count),
    )


def _exporter(spec: ExportSpec) -> Format:
    return file_format(spec.format, dict(spec.options))


def _export_key(spec: ExportSpec, request: CompareRequest) -> str:
    """Return the digest of what decides the file's bytes."""
    written_format = _exporter(spec)
    return digest(
        {
            "version": EXPORT_VERSION,
            "conversion": keys.conversion_key(request, spec.variant),
            "format": spec.format,
            "options": dataclasses.asdict(written_format),  # type: ignore[call-overload]
            "versions": written_format.versions(),
        }
    )


def _report_key(spec: ExportSpec, request: CompareRequest) -> str:
    """Return the digest of what decides the report, the machine included."""
    return digest(
        {
            "version": REPORT_VERSION,
            "export": _export_key(spec, request),
            "pictures": _pictures(request),
            "runtime": runtime_version(spec),
            "measure": [getattr(request.measure, name) for name in MEASURED_BY],
            "environment": digest(current_environment()),
        }
    )


def _pictures(request: CompareRequest) -> list[object]:
    info = find(request.model)
    images = request.images
    return [images_digest(images, info), images.evaluation_images, images.seed]


def _verified(job: CellContext, spec: ExportSpec) -> VerificationReport:
    job.require_lock()
    conversion = stages.convert(job, spec.variant, 0.0, 0.3)
    narrowed = replace(spec, request=job.request)
    export = _exported(job, narrowed, conversion)
    report = replace(verify(job, narrowed, conversion, export), spec=spec)
    key = _report_key(spec, job.request)
    job.store.put(REPORT_KIND, key, report.to_json(), stored(report))
    job.report("done", 1.0)
    return report


def _exported(job: CellContext, spec: ExportSpec, conversion: Conversion) -> Export:
    """Return the file, from the store or made now."""
    key = _export_key(spec, job.request)
    text = job.store.get("export", key)
    if text is not None:
        export = _EXPORT.validate_json(text)
        if _is_whole(job.store, export):
            return export
    with _files(job.store, conversion) as files:
        export = job.run(
            Export,
            "quantcore.exports.write:run_export_child",
            spec,
            conversion,
            files,
            files=lambda export: [export.exported.artifact.sha256],
            share=(0.3, 0.6),
            reads=tuple(filter(None, files)),
        )
    job.store.put(
        "export", key, _EXPORT.dump_json(export).decode(), [export.exported.artifact.sha256]
    )
    return export


def _is_whole(store: Store, export: Export) -> bool:
    try:
        store.checked_path(export.exported.artifact.sha256)
    except DamagedArtifactError:
        return False
    return True


@contextmanager
def _files(store: Store, conversion: Conversion) -> Iterator[tuple[Path, Path | None]]:
    """Keep the variant's file in use, and its state dict where that is still there."""
    with ExitStack() as stack:
        (file,) = stack.enter_context(store.using(conversion.artifact.sha256))
        state = None
        if conversion.state is not None:
            try:
                (state,) = stack.enter_context(store.using(conversion.state.sha256))
            except DamagedArtifactError:
                # Then the variant is converted once more.
                state = None
        yield file, state
