"""Comparisons, and beside them the exports, uploads, playground and fine-tuning of one process."""

import threading
from contextlib import suppress

from quantcore.errors import QuantcoreError
from quantcore.exports import Exports
from quantcore.fine_tuning import FineTuning
from quantcore.jobs import Comparisons
from quantcore.playground import Playground
from quantcore.settings import Settings
from quantcore.untrusted import Inspections
from quantcore.uploads import PREFIX, Uploads, token_of, use

SWEEP_EVERY_S = 3_600.0


class Service(Comparisons):
    """The comparisons of one data folder, and what else this process does for its visitors.

    Attributes:
        uploads: the files of visitors.
        inspections: of files that were uploaded to this process.
        exports: the exports of this process, which take turns with comparisons on one worker.
        playground: single pictures asked of every variant, by readers of this process.
        fine_tuning: models that this process fine-tunes on visitors' own classes.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        use(settings.data)
        self.uploads = Uploads(settings)
        self.inspections = Inspections(settings, self.uploads)
        self.exports = Exports(settings, self.workers)
        self.playground = Playground(settings, self.store)
        self.fine_tuning = FineTuning(settings, self.uploads)
        self._sweeper: threading.Timer | None = None

    def resume(self) -> None:
        """Go on with what was under way when the last server ended; remove what expired."""
        self._sweep_now_and_then()
        super().resume()

    def delete_upload(self, token: str) -> None:
        """Remove an upload with all it produced: its comparisons, its figures, its files.

        Raises:
            StoreError: the data folder cannot be written to.
        """
        name = PREFIX + token
        self.inspections.forget(token)
        self.fine_tuning.forget_upload(name)
        self.exports.forget_upload(name)
        self.delete_naming(name)
        # Before its results: a worker still busy with the upload clears up once it is gone.
        self.uploads.delete(token)
        self.delete_naming(name)
        self.store.maintenance.delete_upload(name)

    def sweep_uploads(self) -> None:
        """Remove the uploads whose time is up, with all they produced, and what others left."""
        for upload in self.uploads.expired():
            self.delete_upload(upload.token)
        self.uploads.remove_unfinished()
        for source in self.store.maintenance.source_uploads():
            # The process that deleted it was killed, or a file of it was in use.
            if not self.uploads.folder(token_of(source)).is_dir():
                self.store.maintenance.delete_upload(source)

    def close(self) -> None:
        """Leave no process behind. What was under way goes on in the next process."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for tasks in (self.playground, self.fine_tuning, self.inspections, self.exports):
            tasks.close()
        super().close()

    def _sweep_now_and_then(self) -> None:
        """Remove what expired, now and every hour from now on."""
        with suppress(QuantcoreError):
            self.sweep_uploads()
        self._sweeper = threading.Timer(SWEEP_EVERY_S, self._sweep_now_and_then)
        self._sweeper.daemon = True
        self._sweeper.start()
