"""The parent's side of one child process: messages to it, answers from it, and its end."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from quantcore.errors import CancelledError, ChildDiedError
from quantcore.sandbox.protocol import (
    POLL_S,
    Progress,
    Raised,
    ShouldStop,
    Watch,
    ignore_progress,
    never_stop,
    not_an_answer,
    receive_json,
)

_LESS_MEMORY = "Raise that limit if the machine has more, or take a smaller batch or image size."
_MIN_SECONDS_BETWEEN_REPORTS = 0.05


@dataclass(frozen=True)
class Limits:
    """Limits of each child of a pool.

    Attributes:
        memory_bytes: of its data; None for no limit.
        timeout_s: seconds for each answer; None for no limit.
        locked: whether it is locked in, so that nothing it sends is trusted.
    """

    memory_bytes: int | None
    timeout_s: float | None
    locked: bool


class Child:
    """One forked process that runs one function, and the connection to it."""

    def __init__(
        self,
        pid: int,
        connection: Connection,
        limits: Limits,
        reap: Callable[[int], int | None],
    ) -> None:
        """Take over a process that was just forked.

        Args:
            pid: of the process.
            connection: to it.
            limits: it runs under.
            reap: waits for a process that is ending, and returns its wait status if it is known.
        """
        self.pid = pid
        self._ended = False
        self._connection = connection
        self._limits = limits
        self._reap = reap
        self._reported_at = 0.0

    def send(self, message: Any) -> None:
        """Send a message; a child that has died is noticed at the next `receive`."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(message)

    def receive(
        self,
        watch: Watch = ignore_progress,
        should_stop: ShouldStop = never_stop,
        timeout_s: float | None = None,
    ) -> Any:
        """Return the child's next answer, and pass its progress reports to `watch` meanwhile.

        A locked child's answer is plain JSON of any shape: validate it before it is used.

        Args:
            watch: called with each progress report.
            should_stop: asked several times a second whether to end the child.
            timeout_s: seconds to wait; None takes the pool's limit.

        Raises:
            CancelledError: `should_stop` returned True; the child is gone.
            ChildDiedError: the child ended or took longer than `timeout_s`.
            Exception: whatever ended the child's function, with the child's traceback as a note.
        """
        timeout_s = self._limits.timeout_s if timeout_s is None else timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s

        def check() -> None:
            self._check(should_stop, deadline, timeout_s)

        while True:
            # Checked first: a child that always has something to send must not outrun its end.
            check()
            while not self._connection.poll(POLL_S):
                check()
            try:
                message = self._message(check)
            except (EOFError, ConnectionResetError) as error:
                raise self._death() from error
            if isinstance(message, Progress):
                self._report(message, watch)
            elif isinstance(message, Raised):
                message.error.add_note(message.traceback)
                raise self._explained(message.error) from message.error
            else:
                return message

    def _message(self, check: Callable[[], None]) -> Any:
        if not self._limits.locked:
            return self._connection.recv()
        try:
            return receive_json(self._connection, check)
        except (EOFError, ConnectionResetError):
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            self.kill()
            raise not_an_answer() from error

    def _report(self, progress: Progress, watch: Watch) -> None:
        """Pass progress on; of a locked child that reports without pause, only now and then."""
        now = time.monotonic()
        if self._limits.locked and now - self._reported_at < _MIN_SECONDS_BETWEEN_REPORTS:
            return
        self._reported_at = now
        watch(progress)

    def _check(
        self, should_stop: ShouldStop, deadline: float | None, timeout_s: float | None
    ) -> None:
        """End the child if it was asked to stop, or its time is up."""
        if should_stop():
            self.kill()
            raise CancelledError("The work was cancelled.", "Start it again when you like.")
        if deadline is not None and time.monotonic() > deadline:
            self.kill()
            raise ChildDiedError(
                f"It took longer than {timeout_s:g} s and was stopped.",
                "Try fewer images or steps, or a smaller model; QUANTCORE_TIMEOUT_S is how "
                "long a step may take.",
            )

    def _explained(self, error: Exception) -> Exception:
        """Return the error, or one that names the memory limit where the child ran into it."""
        limit = self._limits.memory_bytes
        if limit is None or not _is_out_of_memory(error):
            return error
        return ChildDiedError(f"It needed more memory than {_in_words(limit)}.", _LESS_MEMORY)

    def _death(self) -> ChildDiedError:
        """Reap a child that closed its connection; return the error that names its end."""
        self._ended = True
        self._connection.close()
        status = self._reap(self.pid)
        if status is not None and os.WIFSIGNALED(status):
            name = _signal_name(os.WTERMSIG(status))
            cause = f"Its process was ended by {name}"
            limit = self._limits.memory_bytes
            if name == "SIGKILL":
                cause += ", which the system also does when memory runs out"
            elif name == "SIGABRT" and limit is not None:
                cause += f", as when it needs more memory than {_in_words(limit)}"
            return ChildDiedError(f"{cause}.", "Run it again; if it dies again, give it less work.")
        return ChildDiedError("Its process ended before it answered.", "Run it again.")

    def kill(self) -> None:
        """Kill and reap the child; until it is reaped, no other process can have its pid."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._reap(self.pid)
        self._connection.close()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "bad_alloc" in text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    # Not all real-time signals have names.
    except ValueError:
        return f"signal {number}"


def _in_words(limit_bytes: int) -> str:
    return f"the {limit_bytes / 1e9:.1f} GB a variant may use (QUANTCORE_MEMORY_GB)"
