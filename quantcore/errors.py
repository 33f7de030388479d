"""Errors that a user may see: a sentence that says what happened and one that says what to do."""


class QuantcoreError(Exception):
    """Base of every error a user may see: `reason` says what is wrong, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason} {remedy}".strip())
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["QuantcoreError"], tuple[str, str]]:
        """Keep both sentences when the error travels between processes."""
        return type(self), (self.reason, self.remedy)


class RequestError(QuantcoreError):
    """A request that cannot be read: an unknown name, a number out of range, a missing folder."""


class UnsupportedError(QuantcoreError):
    """A variant that cannot exist: this model, workflow and backend do not go together."""


class WeightsUnavailableError(QuantcoreError):
    """Published weights that are neither in the hub's cache nor can be fetched."""


class SchedulerError(QuantcoreError):
    """A Dask scheduler that does not answer, or has nobody who measures."""


class StoreError(QuantcoreError):
    """The data folder cannot be read or written: full, read-only, or damaged."""


class DamagedArtifactError(StoreError):
    """A file in the cache whose bytes are not those it was stored with; it was moved aside."""


class CancelledError(QuantcoreError):
    """The user asked to stop, and the work stopped."""


class DoesNotRunError(QuantcoreError):
    """A file that its runtime does not load or run, whoever asks: a fact about the file."""


class ChildDiedError(QuantcoreError):
    """A child process ended before it answered: killed, out of memory, or crashed."""


class LockError(QuantcoreError):
    """The lock for uploaded files cannot be closed here: the kernel or a library is missing."""
