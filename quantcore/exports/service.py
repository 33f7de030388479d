"""The exports that this process was asked for: start, look at, cancel. Safe from any thread.

Nothing is written down here: a file once made and proved lies in the store, so that who asks again
is answered at once.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from quantcore.cache import Store
from quantcore.engine import failure, origins
from quantcore.errors import ChildDiedError, QuantcoreError, RequestError, UnsupportedError
from quantcore.exports import exports
from quantcore.jobs import Claim, Host, Workers
from quantcore.schema import (
    ExportSpec,
    ExportState,
    ExportView,
    Failure,
    VerificationReport,
    current_environment,
    digest,
)
from quantcore.settings import Settings

ID_BYTES = 12
# What became of an export: its card, why there is none, or that it or its worker was ended.
ExportEnded = VerificationReport | Failure | Literal["cancelled", "lost"]
# Exports remembered after they are over; what was made is in the store all the same.
MAX_REMEMBERED = 200
# Under way at once: each is minutes of one machine, and none of a crowd would ever see its turn.
MAX_OPEN = 20
# Of the share done, below which no pace is known.
MIN_SHARE = 0.05


@dataclass
class _Record:
    """One export under way, or over."""

    spec: ExportSpec
    state: ExportState = "waiting"
    stage: str = ""
    share: float = 0.0
    began: float = 0.0
    card: VerificationReport | None = None
    failure: Failure | None = None
    cancelled: bool = False
    owners: set[str] = field(default_factory=set)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "running")

    def view(self) -> ExportView:
        """Return where it stands at this moment."""
        with self.mutex:
            left = None
            if self.state == "running" and self.share > MIN_SHARE:
                left = (time.monotonic() - self.began) * (1 - self.share) / self.share
            return ExportView(
                self.spec, self.state, self.stage, self.share, left, self.card, self.failure
            )

    def progress(self, stage: str, share: float, _worker: str) -> None:
        """Take note of how far it is."""
        with self.mutex:
            if not self.is_open:
                return
            if self.state == "waiting":
                self.state, self.began = "running", time.monotonic()
            self.stage, self.share = stage, share

    def end(self, ended: ExportEnded) -> None:
        """Take note of what became of it."""
        with self.mutex:
            if not self.is_open:
                return
            if isinstance(ended, VerificationReport):
                self.state, self.share, self.card = "done", 1.0, ended
            elif isinstance(ended, Failure):
                self.state, self.failure = "failed", ended
            elif ended == "cancelled" or self.cancelled:
                self.state = "cancelled"
            else:
                lost = ChildDiedError("The worker that made it is gone.", "Export it again.")
                self.state = "failed"
                self.failure = failure(self.spec.request, self.spec.variant, lost)


class Exports:
    """The exports of one process, on the workers of its comparisons or on some of its own."""

    def __init__(self, settings: Settings, workers: Workers | None = None) -> None:
        """Make the queue; with `workers`, exports and comparisons take turns on one worker."""
        self.settings = settings
        self._store = Store.open(settings)
        self._workers = workers or Workers(settings)
        self._owns_workers = workers is None
        self._records: dict[str, _Record] = {}
        self._mutex = threading.Lock()

    def start(self, spec: ExportSpec, owner: str = "") -> str:
        """Start an export for somebody and return its id; one that is under way is joined.

        Raises:
            UnsupportedError: there can be no such file; the sentences say why and what instead.
            RequestError: so many are under way already that one more would only wait.
            QuantcoreError: the spec names pictures or a model that cannot be read.
        """
        support = exports.supports(spec)
        if not support.ok:
            raise UnsupportedError(support.reason, support.remedy)
        known = exports.cached(self._store, spec)
        with self._mutex:
            for export_id, record in self._records.items():
                if record.spec == spec and record.is_open:
                    record.owners.add(owner)
                    return export_id
            if known is None:
                self._require_room()
            export_id, record = secrets.token_urlsafe(ID_BYTES), _Record(spec, owners={owner})
            self._records[export_id] = record
            self._forget_the_oldest()
        if known is not None:
            record.end(known)
        else:
            # A worker takes seconds to start, and who asked is drawing a page.
            threading.Thread(
                target=self._submit, args=(export_id, record), name="quantcore-export", daemon=True
            ).start()
        return export_id

    def view(self, export_id: str) -> ExportView:
        """Return where an export stands.

        Raises:
            RequestError: this process was asked for no such export.
        """
        return self._record(export_id).view()

    def cancel(self, export_id: str, owner: str = "") -> bool:
        """Stop an export unless others asked for it as well; return whether it is stopped.

        What runs is killed, what waits never starts.

        Raises:
            RequestError: as `view`.
        """
        record = self._record(export_id)
        # Nobody may join meanwhile what is about to be stopped.
        with self._mutex:
            record.owners.discard(owner)
            if record.owners and record.is_open:
                return False
            self._end(record)
        self._workers.cancel(_ticket(export_id))
        return True

    def forget(self, origin: str) -> None:
        """Stop every export that is made from an upload, whoever asked, and remember none."""
        with self._mutex:
            gone = {
                export_id: record
                for export_id, record in self._records.items()
                if origin in origins(record.spec.request)
            }
            for export_id in gone:
                del self._records[export_id]
        for export_id, record in gone.items():
            if record.is_open:
                self._end(record)
                self._workers.cancel(_ticket(export_id))

    def known(self, spec: ExportSpec) -> VerificationReport | None:
        """Return the card of a file that was proved here before, if the file is still there.

        Quick, for who draws a page: whether the file is whole is looked at when it is taken.

        Raises:
            QuantcoreError: the spec names pictures or a model that cannot be read.
        """
        return exports.present(self._store, spec)

    def recorded(self, spec: ExportSpec) -> VerificationReport | None:
        """Return the card of a file that was proved here before; the file may be gone."""
        return exports.recorded(self._store, spec)

    def latest(self, spec: ExportSpec) -> str | None:
        """Return the newest export of this file that this process was asked for; None if none."""
        with self._mutex:
            ids = [key for key, record in self._records.items() if record.spec == spec]
        return ids[-1] if ids else None

    @contextmanager
    def files(self, card: VerificationReport) -> Iterator[tuple[Path, Path | None]]:
        """Keep a proved file, and the picture to try it with, while the block runs.

        Raises:
            DamagedArtifactError: it is no longer in the store as it was; asked again, it is made
                anew.
        """
        digests = exports.stored(card)
        # Read again, so that nobody gets another file than the one that was proved.
        for sha256 in digests:
            self._store.checked_path(sha256)
        with self._store.using(*digests) as paths:
            yield paths[0], paths[1] if card.sample else None

    def picture(self, card: VerificationReport) -> bytes | None:
        """Return the picture to try a file with, as a PNG; None where it has none.

        Raises:
            DamagedArtifactError: as `files`.
        """
        if card.sample is None:
            return None
        with self._store.using(card.sample.artifact.sha256) as (path,):
            return path.read_bytes()

    def close(self) -> None:
        """End what is under way, and the workers if they are its own."""
        for export_id, record in list(self._records.items()):
            if record.is_open:
                self._end(record)
                self._workers.cancel(_ticket(export_id))
        if self._owns_workers:
            self._workers.close()
        self._store.close()

    def _require_room(self) -> None:
        if sum(record.is_open for record in self._records.values()) >= MAX_OPEN:
            raise RequestError(
                f"{MAX_OPEN} files are being made or wait for their turn.",
                "Ask again when one of them is done.",
            )

    @staticmethod
    def _end(record: _Record) -> None:
        with record.mutex:
            record.cancelled = True
        record.end("cancelled")

    def _record(self, export_id: str) -> _Record:
        with self._mutex:
            record = self._records.get(export_id)
        if record is None:
            raise RequestError(
                "There is no such export here.",
                "Ask for it again: what was made before is found at once.",
            )
        return record

    def _submit(self, export_id: str, record: _Record) -> None:
        try:
            self._workers.submit_task(
                _claim(export_id, record.spec),
                partial(exports.attempt, spec=record.spec),
                *(record.progress, record.end),
            )
        except QuantcoreError as error:
            record.end(failure(record.spec.request, record.spec.variant, error))
            return
        if record.cancelled:
            # It was cancelled before there was anything to cancel.
            self._workers.cancel(_ticket(export_id))

    def _forget_the_oldest(self) -> None:
        over = [key for key, record in self._records.items() if not record.is_open]
        for key in over[: max(0, len(self._records) - MAX_REMEMBERED)]:
            del self._records[key]


def _ticket(export_id: str) -> str:
    return f"export-{digest(export_id)[:16]}"


def _claim(export_id: str, spec: ExportSpec) -> Claim:
    """Return what a worker of this machine is asked for one export."""
    host = Host(current_environment())
    return Claim(_ticket(export_id), "", 0, spec.request, spec.variant, host)
