"""Export variants as files for other runtimes, each with its verification report."""

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from quantcore import uploads
from quantcore.api.comparing import Progress, process_settings
from quantcore.cache import Store
from quantcore.engine import CellContext, source_uploads
from quantcore.exports import REPORT_SUFFIX, deliver, exports, pack, pack_name, require_free
from quantcore.sandbox import ProcessPool, never_stop
from quantcore.schema import (
    ExportSpec,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Target,
    Variant,
    VerificationReport,
    target_of,
)
from quantcore.settings import Settings


@dataclass(frozen=True)
class Delivery:
    """The result of an export: its checks, and the files written, none where a check failed."""

    report: VerificationReport
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Destination:
    """Where exported files are written.

    Attributes:
        folder: made where it is not there.
        bundle: write a zip for the app team as well.
        force: write over what is there.
        anyway: write a file though a check failed.
    """

    folder: Path
    bundle: bool = False
    force: bool = False
    anyway: bool = False

    def require_free(self, *specs: ExportSpec) -> None:
        """Refuse specs whose files could not be written in the end, before anything is made.

        Raises:
            RequestError: the folder is none, or has such a file already.
        """
        require_free(self.folder, [n for s in specs for n in self._names(s)], force=self.force)

    def deliver(self, store: Store, report: VerificationReport) -> Delivery:
        """Write the file, its report, and the zip if wanted, unless a check failed."""
        if not (report.passed or self.anyway):
            return Delivery(report, ())
        name, report_name, *packed = self._names(report.spec)
        with store.using(*exports.stored(report)) as (path, *sample):
            contents: dict[str, Path | bytes] = {name: path, report_name: report.to_json().encode()}
            if packed:
                contents[packed[0]] = pack(report, name, path, sample[0] if sample else None)
            return Delivery(report, tuple(deliver(self.folder, contents, force=self.force)))

    def _names(self, spec: ExportSpec) -> list[str]:
        name = exports.file_name(spec)
        return [name, f"{name}{REPORT_SUFFIX}", *([pack_name(name)] if self.bundle else [])]


class Exporting:
    """Makes files in child processes, which end with it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        uploads.use(settings.data)
        with ExitStack() as stack:
            self.store = stack.enter_context(Store.open(settings))
            self._pool = stack.enter_context(
                ProcessPool(
                    exports.PRELOADED_MODULES,
                    settings.memory_limit_bytes,
                    settings.timeout_s,
                    calls=[uploads.use_call(settings.data)],
                )
            )
            self._stack = stack.pop_all()

    def make(self, spec: ExportSpec, progress: Progress) -> VerificationReport:
        """Return the verification report of the file, which then lies in the store.

        Raises:
            UnsupportedError: there can be no such file; the sentences say why and what instead.
            QuantcoreError: the variant could not be made.
        """
        store = self.store.with_sources(*source_uploads(spec.request))
        job = CellContext(spec.request, self._settings, store, self._pool, progress, never_stop)
        return exports.make(job, spec)

    def __enter__(self) -> "Exporting":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def export(
    model: str | ModelSpec,
    format: str,
    workflow: str = "float32",
    backend: str | None = None,
    *,
    settings: Mapping[str, Setting] | None = None,
    options: Mapping[str, Setting] | None = None,
    target: Target | None = None,
    out: str | Path = ".",
    images: str | Path | None = None,
    evaluation_images: int = 2_000,
    image_size: int | None = None,
    threads: int | None = None,
    bundle: bool = False,
    force: bool = False,
    anyway: bool = False,
    data: str | Path | None = None,
    progress: Progress = lambda stage, share: None,
) -> Delivery:
    """Write one variant as a file for another runtime, with a report that verifies it.

    Args:
        model: `bundled/NAME`, `torchvision/NAME` or `torchvision/NAME@random`.
        format: a name in `quantcore.formats.FORMATS`, or a suffix: `.onnx`.
        workflow: how the numbers become 8-bit.
        backend: the kernels it is made for; float32 needs none.
        settings: of the workflow.
        options: of the format: `{"opset": 18}`.
        target: where it will run, `server`, `phone` or `browser`; None where that is not decided.
            It decides nothing but the warning.
        out: folder for the files; made where it is not there.
        images: folder or zip of pictures; None takes the model's own.
        evaluation_images: how many pictures the file is verified on, at most.
        image_size: side in px; None takes the model's own.
        threads: of a timed call; None takes `QUANTCORE_THREADS`.
        bundle: write a zip for the app team as well: the file, code that runs it, its report.
        force: write over what is there.
        anyway: write the file though a check failed.
        data: folder in which files and figures are kept; None takes `QUANTCORE_DATA`.
        progress: called with what is done at the moment and the share done, 0 to 1.

    Raises:
        RequestError: an unknown name or option, or a file that is there already.
        UnsupportedError: there can be no such file; the sentences say why and what instead.

    Warns:
        UserWarning: the format or its kernels are not made for the target, before the file is made.
    """
    own, place = process_settings(data), target_of(target)
    uploads.use(own.data)
    source = None if images is None else str(Path(images).resolve())
    spec = exports.planned(
        model if isinstance(model, ModelSpec) else ModelSpec(model),
        Variant(workflow, backend, tuple((settings or {}).items())),
        format,
        dict(options or {}),
        ImageSpec(source, evaluation_images, image_size),
        MeasureSpec.of(own, threads),
        evaluation_images,
    )
    fitting = exports.fits(spec, place)
    if not fitting.ok:
        warnings.warn(f"{fitting.reason} {fitting.remedy}", stacklevel=2)
    destination = Destination(Path(out), bundle, force, anyway)
    destination.require_free(spec)
    with Exporting(own) as exporting:
        return destination.deliver(exporting.store, exporting.make(spec, progress))
