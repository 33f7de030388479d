"""Exported files: how small, how faithful, how long they take."""

import io
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.app import absence, cold_settings, convolutional_models
from benchmarks.lines import Figure, absent, at_least, at_most, note
from quantcore.backends import runtime
from quantcore.cache import Store
from quantcore.engine import CellContext, stages
from quantcore.errors import QuantcoreError, UnsupportedError
from quantcore.exports import bundle, exports
from quantcore.formats import FORMATS
from quantcore.sandbox import ProcessPool, never_stop
from quantcore.schema import (
    ExportSpec,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Options,
    Setting,
    Variant,
    VerificationReport,
)
from quantcore.settings import Settings

WIDE = "torchvision/mobilenet_v2@random"
TRAINED = "bundled/mobilenet_v2"
BACKENDS = ("x86", "qnnpack", "executorch")
PTL_MB, BUNDLE_MB, OVERHEAD_PERCENT = 3.75, 3.6, 10.0
ORT_AGREEMENT = 99.5
EXPORT_S = {"executorch": 40.0}
USUAL_EXPORT_S = 10.0
# Beside the model in a bundle, and not counted: the picture, and what was verified.
EXTRAS = ("sample.png", "expected.json", "verification.json", "verification.html")


@dataclass(frozen=True)
class Desk:
    """Exports one file after the other, as the app does."""

    settings: Settings
    store: Store
    pool: ProcessPool
    images: int = ImageSpec().evaluation_images

    def planned(
        self, model: str, variant: Variant, format: str, images: ImageSpec | None = None
    ) -> ExportSpec:
        """Return the spec with default options, on the desk's number of images by default."""
        images = images or ImageSpec(evaluation_images=self.images)
        measure = MeasureSpec.of(self.settings)
        return exports.planned(ModelSpec(model), variant, format, images=images, measure=measure)

    def job(self, spec: ExportSpec) -> CellContext:
        """Return a job that reports to nobody."""
        return CellContext(
            spec.request,
            self.settings,
            self.store,
            self.pool,
            lambda _stage, _share: None,
            never_stop,
        )

    def make(self, spec: ExportSpec) -> VerificationReport:
        """Return the verification report of the file, made now unless it was before."""
        return exports.make(self.job(spec), spec)

    def state_dict_bytes(self, spec: ExportSpec) -> int:
        """Return the size of the variant's state dict."""
        return stages.convert(self.job(spec), spec.variant, 0.0, 1.0).state_dict_bytes

    def bundle_bytes(self, card: VerificationReport) -> int:
        """Return the bytes of a bundle without its sample and its reports."""
        with self.store.using(*exports.stored(card)) as (file, *sample):
            name = exports.file_name(card.spec)
            packed = bundle.pack(card, name, file, sample[0] if sample else None)
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            extras = sum(
                entry.compress_size
                for entry in archive.infolist()
                if entry.filename.endswith(EXTRAS)
            )
        return len(packed) - extras


@contextmanager
def open_desk(images: int = ImageSpec().evaluation_images) -> Iterator[Desk]:
    """Yield where files are exported, with an empty data folder."""
    with (
        cold_settings() as settings,
        Store.open(settings) as store,
        ProcessPool(exports.PRELOADED_MODULES) as pool,
    ):
        yield Desk(settings, store, pool, images)


def lines(
    models: Sequence[str] | None = None,
    backends: Sequence[str] = BACKENDS,
    formats: Sequence[str] = tuple(FORMATS),
    images: int = ImageSpec().evaluation_images,
    settings: Options = (),
) -> Iterator[Figure | str]:
    """Yield sizes, agreements and times of exported files.

    Args:
        models: whose overhead is measured; every bundled convolutional one unless named.
        backends: of the variants that are exported.
        formats: they are exported to.
        images: that each file is asked.
        settings: of static.
    """
    with open_desk(images) as desk:
        yield from _sizes(desk)
        yield from _overheads(desk, convolutional_models() if models is None else models)
        missing = absence(TRAINED)
        if missing:
            yield note(missing)
            return
        yield from _faithful(desk, backends, formats, settings)


def _sizes(desk: Desk) -> Iterator[Figure | str]:
    few: tuple[tuple[str, Setting], ...] = (("calibration_images", 8),)
    card = desk.make(desk.planned(WIDE, Variant("static", "qnnpack", few), "mobile"))
    what = "MobileNetV2, 1,000 classes, static on qnnpack"
    size_mb = card.exported.artifact.size_bytes / 1e6
    yield at_most(f".ptl of {what}", size_mb, "MB", PTL_MB)
    yield at_most(
        f"its bundle beyond sample and cards; {what}",
        desk.bundle_bytes(card) / 1e6,
        "MB",
        BUNDLE_MB,
    )


def _overheads(desk: Desk, models: Sequence[str]) -> Iterator[Figure | str]:
    for model in models:
        if absence(model):
            continue
        spec = desk.planned(model, Variant("static", "x86"), "mobile")
        card, whole = desk.make(spec), desk.state_dict_bytes(spec)
        percent = 100 * (card.exported.artifact.size_bytes / whole - 1)
        yield at_most(f".ptl beyond its state dict, {model} on x86", percent, "%", OVERHEAD_PERCENT)


def _faithful(
    desk: Desk, backends: Sequence[str], formats: Sequence[str], settings: Options
) -> Iterator[Figure | str]:
    """Yield how each format agrees with its variant, and how long it takes."""
    for backend in backends:
        variant = Variant("static", backend, settings)
        own = runtime(backend).format.name
        began = time.perf_counter()
        desk.state_dict_bytes(desk.planned(TRAINED, variant, own))
        converted_s = time.perf_counter() - began
        for format in formats:
            spec = desk.planned(TRAINED, variant, format)
            what = f"{format} of {TRAINED}, static on {backend}"
            began = time.perf_counter()
            try:
                card = desk.make(spec)
            except UnsupportedError as error:
                yield note(f"{what}: {error.reason}")
                continue
            except QuantcoreError as error:
                yield absent(what, error.reason)
                continue
            # The variant is there before a user exports it; unless it is the file.
            seconds = time.perf_counter() - began + (converted_s if format == own else 0.0)
            yield from _agreement(what, card)
            yield at_most(
                f"verified export, {what}", seconds, "s", EXPORT_S.get(format, USUAL_EXPORT_S)
            )


def _agreement(what: str, card: VerificationReport) -> Iterator[Figure | str]:
    percent = 100 * (card.agreement or 0.0)
    over = f"same class as the variant on {card.images:,} images, {what}"
    if FORMATS[card.spec.format].is_exact:
        yield at_least(over, percent, "%", 100.0)
    else:
        yield at_least(over, percent, "%", ORT_AGREEMENT)
