"""Messages between a child process and its parent.

Ordinary children send objects, pickled by `multiprocessing.connection`. A locked child may be
hostile: it answers in JSON of limited size, which its parent reads as data and never as objects.
"""

import json
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from quantcore import errors
from quantcore.errors import CancelledError, ChildDiedError, QuantcoreError

# A locked child's answers: longer ones, and those that never end, are refused.
MAX_MESSAGE_BYTES = 32 * 2**20
MESSAGE_TIMEOUT_S = 30.0
POLL_S = 0.1
CHUNK_BYTES = 2**20
# What `Connection` writes in place of a message's size where that takes eight bytes.
_LONG_MESSAGE = -1
# Errors that only the parent raises: a cell whose child raised one would be run again and again.
_PARENT_ONLY = (CancelledError,)
_MAX_CHARACTERS = 20_000
_MAX_STAGE_CHARACTERS = 120


@dataclass(frozen=True)
class Progress:
    """The progress of a child's work: the stage in plain words, and the share done, 0 to 1."""

    stage: str
    share: float


@dataclass(frozen=True)
class Raised:
    """An exception that ended a child's work, with its traceback as text."""

    error: Exception
    traceback: str


Watch = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


def ignore_progress(_: Progress) -> None:
    """Ignore a progress report."""


def never_stop() -> bool:
    """Return False: nobody has asked to stop."""
    return False


def not_an_answer() -> ChildDiedError:
    """Return the error for a child whose answer is not of the type that was asked for."""
    return ChildDiedError("Its process answered with something that is no answer.", "Run it again.")


def progress_sender(connection: Connection) -> Callable[[str, float], None]:
    """Return a function that sends a stage and the share done to the child's parent."""

    def send(stage: str, share: float) -> None:
        connection.send(Progress(stage, share))

    return send


class JsonConnection:
    """A locked child's end of its connection: it receives objects from its parent, sends JSON."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, message: Any) -> None:
        """Send a message as JSON."""
        self._connection.send_bytes(_to_json(message))

    def recv(self) -> Any:
        """Return the next object that the parent sent."""
        return self._connection.recv()


def receive_json(connection: Connection, check: Callable[[], None]) -> Any:
    """Return the next message of a locked child, however slowly it is sent.

    Args:
        connection: to the child.
        check: called again and again while waiting; raises to give up.

    Raises:
        EOFError, ConnectionResetError: the child closed its end.
        OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError: the message is too
            long, not complete in time, not JSON, nested without end, or holds no valid number.
    """
    return _from_json(_receive_bytes(connection, check))


def _receive_bytes(connection: Connection, check: Callable[[], None]) -> bytes:
    """Return one message, framed as `Connection` frames it."""
    end = time.monotonic() + MESSAGE_TIMEOUT_S
    (size,) = struct.unpack("!i", _read(connection, 4, end, check))
    if size == _LONG_MESSAGE:
        (size,) = struct.unpack("!Q", _read(connection, 8, end, check))
    if not 0 <= size <= MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {size} bytes")
    return _read(connection, size, end, check)


def _read(connection: Connection, size: int, end: float, check: Callable[[], None]) -> bytes:
    content = bytearray()
    while len(content) < size:
        check()
        if time.monotonic() > end:
            raise OSError("the message did not end")
        if connection.poll(POLL_S):
            chunk = os.read(connection.fileno(), min(size - len(content), CHUNK_BYTES))
            if not chunk:
                raise EOFError
            content += chunk
    return bytes(content)


def _to_json(message: Any) -> bytes:
    from pydantic_core import to_json

    if isinstance(message, Progress):
        content: dict[str, Any] = {"progress": [message.stage, message.share]}
    elif isinstance(message, Raised):
        error = message.error
        sentences = error if isinstance(error, QuantcoreError) else None
        content = {
            "raised": type(error).__name__,
            "reason": sentences.reason if sentences else str(error),
            "remedy": sentences.remedy if sentences else "",
            "errno": getattr(error, "errno", None),
            "traceback": message.traceback[-_MAX_CHARACTERS:],
        }
    else:
        content = {"answer": message}
    return to_json(content, inf_nan_mode="constants")


def _from_json(content: bytes) -> Any:
    """Return the message that `_to_json` wrote; an exception becomes one with the same text."""
    message = json.loads(content)
    if "progress" in message:
        stage, share = message["progress"]
        return Progress(_printable(stage)[:_MAX_STAGE_CHARACTERS], min(1.0, max(0.0, float(share))))
    if "raised" not in message:
        return message["answer"]
    name, reason, remedy, traceback = (
        _printable(message[key])[:_MAX_CHARACTERS]
        for key in ("raised", "reason", "remedy", "traceback")
    )
    return Raised(_exception(name, reason, remedy, message["errno"]), traceback)


def _exception(name: str, reason: str, remedy: str, errno: Any) -> Exception:
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, QuantcoreError) and kind not in _PARENT_ONLY:
        return kind(reason, remedy)
    if name == "MemoryError":
        return MemoryError(reason)
    if isinstance(errno, int):
        return OSError(errno, os.strerror(errno))
    return RuntimeError(f"{name}: {reason}")


def _printable(text: object) -> str:
    return "".join(each for each in str(text) if each.isprintable() or each == "\n")
