"""What the tests of exports share: each file written once, and asked in fresh children."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from quantcore.backends import runtime
from quantcore.cache import Store
from quantcore.engine import CellContext, Conversion, context, load_logits, stages
from quantcore.errors import CancelledError
from quantcore.exports import exports
from quantcore.exports.answers import Answers
from quantcore.exports.write import Export, run_export_child
from quantcore.models import Subject, find
from quantcore.sandbox import ProcessPool, Watch, ignore_progress, never_stop, outbox
from quantcore.schema import (
    ExportSpec,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Variant,
    current_environment,
)
from quantcore.settings import Settings

Logits = NDArray[np.float32]

MOBILENET = ModelSpec("bundled/mobilenet_v2")
SHUFFLENET = ModelSpec("bundled/shufflenet_v2_x1_0")
RESNET = ModelSpec("bundled/resnet18")
LSTM = ModelSpec("bundled/row_lstm")
VIT = ModelSpec("bundled/vit_tiny")
PICTURES = 24
# Enough for scales that make sense, and no more.
CALIBRATION: dict[str, Setting] = {"calibration_images": 32, "observer": "minmax"}
TIMEOUT_S = 280


def static(backend: str, **settings: Setting) -> Variant:
    return Variant("static", backend, tuple(sorted((CALIBRATION | settings).items())))


def dynamic(backend: str = "x86", **settings: Setting) -> Variant:
    return Variant("dynamic", backend, tuple(sorted(settings.items())))


def planned(
    model: ModelSpec, variant: Variant, format: str, images: int = PICTURES, **options: Setting
) -> ExportSpec:
    """Return the spec of a file that is evaluated on few pictures and timed in few rounds."""
    pictures, measure = ImageSpec(evaluation_images=PICTURES), MeasureSpec(starts=2, rounds=1)
    return exports.planned(model, variant, format, options, pictures, measure, images)


def subject(model: ModelSpec) -> Subject:
    return Subject(model, find(model), True, current_environment())


def ignore(_stage: str, _share: float) -> None:
    """Take no notice of a progress report."""


def job_of(
    spec: ExportSpec,
    store: Store,
    pool: ProcessPool,
    settings: Settings,
    report: context.ReportStage = ignore,
    should_stop: Callable[[], bool] = never_stop,
) -> CellContext:
    return CellContext(spec.request, settings, store, pool, report, should_stop)


@dataclass
class Bench:
    """Converts and exports in children, each file once, and asks it in others."""

    pool: ProcessPool
    settings: Settings
    store: Store
    exported: dict[ExportSpec, Export] = field(default_factory=dict)
    answered: dict[ExportSpec, Answers] = field(default_factory=dict)
    variants: dict[ExportSpec, Logits] = field(default_factory=dict)

    def job(self, spec: ExportSpec, report: context.ReportStage = ignore) -> CellContext:
        return job_of(spec, self.store, self.pool, self.settings, report)

    def conversion(self, spec: ExportSpec) -> Conversion:
        return stages.convert(self.job(spec), spec.variant, 0.0, 1.0)

    def export(self, spec: ExportSpec) -> Export:
        """Return what is known of the file, which is written unless it was before."""
        if spec not in self.exported:
            self.exported[spec] = self.write(spec)
        return self.exported[spec]

    def write(self, spec: ExportSpec, report: context.ReportStage = ignore) -> Export:
        """Write the file, whether it is there already or not."""
        conversion, files = self.conversion(spec), self.files(spec)
        function = "quantcore.exports.write:run_export_child"
        watch = self.job(spec, report).watch(0.0, 1.0)
        made: Export = self.take(function, spec, conversion, files, watch=watch)
        return made

    def path(self, spec: ExportSpec) -> Path:
        return self.store.checked_path(self.export(spec).exported.artifact.sha256)

    def answers(self, spec: ExportSpec) -> Answers:
        """Return what the file says of itself in a child that did not make it."""
        if spec not in self.answered:
            function = "quantcore.exports.answers:run_answers_child"
            self.answered[spec] = self.take(function, spec, self.path(spec))
        return self.answered[spec]

    def logits(self, spec: ExportSpec) -> Logits:
        return load_logits(self.store.checked_path(self.answers(spec).predictions))

    def variant_logits(self, spec: ExportSpec) -> Logits:
        """Return the answers of the variant's own file."""
        own = replace(spec, format=runtime(spec.variant.backend).format.name, options=())
        if own not in self.variants:
            path = self.store.checked_path(self.conversion(spec).artifact.sha256)
            found = self.take("quantcore.exports.answers:run_answers_child", own, path)
            self.variants[own] = load_logits(self.store.checked_path(found.predictions))
        return self.variants[own]

    def run(self, function: str, *arguments: object) -> Any:
        """Return a child's answer."""
        with self.pool.spawn(function, *arguments) as child:
            return child.receive(timeout_s=TIMEOUT_S)

    def take(self, function: str, *arguments: object, watch: Watch = ignore_progress) -> Any:
        """Return the answer of a child that is given an outbox, with its files in the store."""
        with self.store.outbox() as folder:
            with self.pool.spawn(function, *arguments, folder) as child:
                answer = child.receive(watch, timeout_s=TIMEOUT_S)
            outbox.take(folder, self.store)
        return answer

    def files(self, spec: ExportSpec) -> tuple[Path, Path | None]:
        """Return the variant's file and, where it was kept, its state dict."""
        made = self.conversion(spec)
        state = made.state
        file = self.store.checked_path(made.artifact.sha256)
        return file, self.store.checked_path(state.sha256) if state else None


class Stopping:
    """A connection to somebody who cancels at the given report, counted from 1."""

    def __init__(self, report: int) -> None:
        self.left = report

    def send(self, _progress: object) -> None:
        self.left -= 1
        if not self.left:
            raise CancelledError("Cancelled.")


def stop_at(_: Connection, report: int, *arguments: Any) -> bool:
    """Export in a child, cancelled at a report; return whether that came before the end."""
    try:
        run_export_child(cast(Connection, Stopping(report)), *arguments)
    except CancelledError:
        return True
    return False
