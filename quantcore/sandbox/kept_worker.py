"""A worker for untrusted files that is kept between them, and replaced where that is due."""

from collections.abc import Sequence

from quantcore.sandbox import sandboxed
from quantcore.sandbox.fork_server import Call
from quantcore.settings import Settings


class KeptWorker:
    """Starts a worker when it is needed. For one thread at a time, but for `close`."""

    def __init__(
        self, settings: Settings, modules: Sequence[str], calls: Sequence[Call] = ()
    ) -> None:
        self._settings = settings
        self._modules = modules
        self._calls = calls
        self.worker: sandboxed.SandboxedPool | None = None

    @property
    def refusal(self) -> str:
        """Return why programs are not run here; before the start, what shows without trying."""
        return self.worker.refusal if self.worker else sandboxed.cannot()

    def started(self) -> sandboxed.SandboxedPool:
        """Return the worker that is there, or a new one where that must not be kept."""
        if self.worker is None or not self.worker.is_to_be_kept:
            self.close()
            self.worker = sandboxed.start(self._settings, self._modules, self._calls)
        return self.worker

    def close(self) -> None:
        """End the worker, if there is one."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.pool.close()
