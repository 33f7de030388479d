"""The exports of one process. Verified files and their reports are cached in the store."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal

from quantcore.cache import Store
from quantcore.engine import source_uploads
from quantcore.errors import CancelledError, ChildDiedError, QuantcoreError, UnsupportedError
from quantcore.exports import exports
from quantcore.jobs import BackgroundTasks, Claim, Host, Limits, Task, TaskView, Workers
from quantcore.schema import ExportSpec, Failure, VerificationReport, current_environment
from quantcore.settings import Settings

# Each is minutes of one machine: of a larger crowd, the last would never see their turn.
LIMITS = Limits("files are being made", per_owner=10, in_all=20, remembered=200)
POLL_S = 0.1
# What became of an export: its report, why there is none, or that it or its worker was ended.
Outcome = VerificationReport | Failure | Literal["cancelled", "interrupted"]


@dataclass(frozen=True)
class ExportView(TaskView):
    """The state of an export.

    Attributes:
        spec: which file.
        report: what was verified of the file, once it is there; it may have failed its checks.
        details: the traceback of what went wrong, for who looks after this.
    """

    spec: ExportSpec
    report: VerificationReport | None = None
    details: str = ""


class Exports(BackgroundTasks[ExportSpec, ExportView]):
    """The exports of one process, on the workers of its comparisons or on some of its own."""

    def __init__(self, settings: Settings, workers: Workers | None = None) -> None:
        """Create the queue; with `workers`, exports and comparisons take turns on one worker."""
        super().__init__(LIMITS)
        self._store = Store.open(settings)
        self._workers = workers or Workers(settings)
        self._owns_workers = workers is None

    def start(self, spec: ExportSpec, owner: str = "") -> str:
        """Start an export for a visitor and return its id; an equal one under way is joined.

        Raises:
            UnsupportedError: there can be no such file; the sentences say why and what instead.
            RequestError: as `submit`.
            QuantcoreError: the spec names pictures or a model that cannot be read.
        """
        support = exports.supports(spec)
        if not support.ok:
            raise UnsupportedError(support.reason, support.remedy)
        report = exports.cached(self._store, spec)
        if report is not None:
            return self.submit(spec, ExportView(spec, report, state="done", share=1.0), owner)
        return self.submit(spec, ExportView(spec), owner)

    def work(self, task: Task[ExportSpec, ExportView]) -> None:
        """Let a worker of this machine make and verify the file."""
        outcome = self._outcome(task)
        if isinstance(outcome, VerificationReport):
            task.update(report=outcome)
        elif isinstance(outcome, Failure):
            task.update(details=outcome.details)
            raise QuantcoreError(outcome.reason, outcome.remedy)
        elif outcome == "interrupted":
            raise ChildDiedError("The worker that made it is gone.", "Export it again.")
        else:
            raise CancelledError("The export was cancelled.", "Start it again when you like.")

    def _outcome(self, task: Task[ExportSpec, ExportView]) -> Outcome:
        outcomes: SimpleQueue[Outcome] = SimpleQueue()
        spec, host = task.spec, Host(current_environment())
        attempt_id = f"export-{secrets.token_hex(8)}"
        self._workers.submit_task(
            Claim(attempt_id, "", 0, spec.request, spec.variant, host),
            partial(exports.attempt, spec=spec),
            lambda stage, share, _worker: task.progress(stage, share),
            outcomes.put,
        )
        while True:
            try:
                return outcomes.get(timeout=POLL_S)
            except Empty:
                if task.should_stop():
                    self._workers.cancel(attempt_id)
                    task.raise_if_cancelled()

    def forget_upload(self, name: str) -> None:
        """Stop every export that is made from an upload, for any visitor, and forget it."""
        for export_id in self.find(lambda view: name in source_uploads(view.spec.request)):
            self.forget(export_id)

    def latest(self, spec: ExportSpec) -> str | None:
        """Return the newest export of this file that this process was asked for; None if none."""
        export_ids = self.find(lambda view: view.spec == spec)
        return export_ids[-1] if export_ids else None

    def cached(self, spec: ExportSpec) -> VerificationReport | None:
        """Return the report of a file that was verified here before, if the file is still there.

        Quick, for who draws a page: whether the file is whole is looked at when it is taken.

        Raises:
            QuantcoreError: the spec names pictures or a model that cannot be read.
        """
        return exports.present(self._store, spec)

    def recorded(self, spec: ExportSpec) -> VerificationReport | None:
        """Return the report of a file that was verified here before; the file may be gone."""
        return exports.recorded(self._store, spec)

    @contextmanager
    def files(self, report: VerificationReport) -> Iterator[tuple[Path, Path | None]]:
        """Keep a verified file, and the picture to try it with, while the block runs.

        Raises:
            DamagedArtifactError: it is no longer in the store as it was; asked again, it is made
                anew.
        """
        digests = exports.stored(report)
        # Read again, so that nobody gets another file than the one that was verified.
        for sha256 in digests:
            self._store.checked_path(sha256)
        with self._store.using(*digests) as paths:
            yield paths[0], paths[1] if report.sample else None

    def picture(self, report: VerificationReport) -> bytes | None:
        """Return the picture to try a file with, as a PNG; None where it has none.

        Raises:
            DamagedArtifactError: as `files`.
        """
        if report.sample is None:
            return None
        with self._store.using(report.sample.artifact.sha256) as (path,):
            return path.read_bytes()

    def close(self) -> None:
        """Stop all exports, and the workers if they are its own."""
        super().close()
        if self._owns_workers:
            self._workers.close()
        self._store.close()
