"""Comparisons, and beside them the exports, uploads, playground and fine-tuning of one process."""

import threading
from contextlib import suppress

from quantcore.errors import QuantcoreError
from quantcore.exports import Exports
from quantcore.fine_tuning import Transfers
from quantcore.jobs import Comparisons
from quantcore.playground import Trials
from quantcore.settings import Settings
from quantcore.untrusted import Intakes
from quantcore.uploads import PREFIX, Uploads, token_of, use

SWEEP_EVERY_S = 3_600.0


class Service(Comparisons):
    """The comparisons of one data folder, and what else this process does for its visitors.

    Attributes:
        exports: the exports of this process, which take turns with comparisons on one worker.
        trials: single pictures asked of every variant, by readers of this process.
        uploads: what visitors brought.
        intakes: the looks of this process at what they bring.
        transfers: the models that this process teaches classes of one's own.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        use(settings.data)
        self.exports = Exports(settings, self.workers)
        self.trials = Trials(settings, self.store)
        self.uploads = Uploads(settings)
        self.intakes = Intakes(settings, self.uploads)
        self.transfers = Transfers(settings, self.uploads)
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
        self.intakes.forget(token)
        self.transfers.forget(name)
        self.exports.forget(name)
        self.delete_naming(name)
        # Before what came of it: a worker that is still busy with it clears up if it is gone.
        self.uploads.delete(token)
        self.delete_naming(name)
        self.store.forget(name)

    def sweep_uploads(self) -> None:
        """Remove the uploads whose time is up, with all they produced, and what others left."""
        for upload in self.uploads.expired():
            self.delete_upload(upload.token)
        self.uploads.remove_unfinished()
        for origin in self.store.origins():
            # Whoever deleted it was killed, or a file of it was in use.
            if not self.uploads.folder(token_of(origin)).is_dir():
                self.store.forget(origin)

    def close(self) -> None:
        """Leave no process behind. What was under way goes on in the next process."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.trials.close()
        self.transfers.close()
        self.intakes.close()
        self.exports.close()
        super().close()

    def _sweep_now_and_then(self) -> None:
        """Remove what expired, now and every hour from now on."""
        with suppress(QuantcoreError):
            self.sweep_uploads()
        self._sweeper = threading.Timer(SWEEP_EVERY_S, self._sweep_now_and_then)
        self._sweeper.daemon = True
        self._sweeper.start()
