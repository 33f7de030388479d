"""Child processes for work that may crash, run out of memory, or be cancelled.

Importing torch takes seconds, and a process that has already run a model has threads and warm
kernels that would colour the next measurement. So one *process pool* process imports torch and runs
nothing, and every piece of work happens in a child forked from it: the import is paid once, and
each child starts equally clean. A child that dies takes nothing with it; when the process that
started the process pool dies, however suddenly, the process pool sees its socket close and kills
what is left.

Messages are pickled by `multiprocessing.connection`, and only ever travel between these processes.
A *locked* process pool is for what strangers bring: its children enter a `lockdown` before they
look at anything, start from an environment that holds nothing of ours, and answer in JSON of
limited size, which their parent reads as data and never as objects.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from quantcore import errors
from quantcore.errors import CancelledError, ChildDiedError, QuantcoreError
from quantcore.sandbox.lockdown.lock import Lock
from quantcore.sandbox.lockdown.runtime import import_path, quiet_environment

# Dask sets these in its workers. Inherited, they would pin every child to one thread, and hand a
# float model's large buffers back to the kernel after every call, which doubles its latency.
_DASK_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MALLOC_TRIM_THRESHOLD_",
)
_ENTRY = "from quantcore.sandbox.process_pool import main; main()"
_POLL_S = 0.1
_LESS_MEMORY = "Raise that limit if the machine has more, or take a smaller batch or image size."
# Importing torch takes three seconds on an idle machine, and minutes on one that is swamped.
_ANSWER_TIMEOUT_S = 600.0
_REQUEST_BYTES = 65_536
# Of a locked child's answers: longer ones, and those that never end, are no answers.
_MAX_ANSWER_BYTES = 32 * 2**20
_MESSAGE_TIMEOUT_S = 30.0
_PIECE_BYTES = 2**20
# What stands in place of a message's size where that takes eight bytes.
_LONG_MESSAGE = -1
# What only this side may say: a cell whose child says so itself would be run again and again.
_OURS_TO_SAY = (CancelledError,)
_MAX_CHARACTERS = 20_000
_LONGEST_STAGE = 120
_REPORTS_EVERY_S = 0.05
# Converting and judging a large model takes a while on all cores; an endless loop takes longer.
_LOCKED_CPU_S = 4 * 3_600
_LOCKED_FILE_BYTES = 8 * 10**9


@dataclass(frozen=True)
class Progress:
    """A child's word on how far it is: a stage in plain words, and the share of its work done."""

    stage: str
    share: float


@dataclass(frozen=True)
class Raised:
    """An exception that ended a child's work, with its traceback as text."""

    error: Exception
    traceback: str


# `module:function`, and what it is called with.
Call = tuple[str, str]
Watch = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


def ignore_progress(_: Progress) -> None:
    """Take no notice of a progress report."""


def not_an_answer() -> ChildDiedError:
    """Return the error for a child that said something else than what it was asked."""
    return ChildDiedError("Its process answered with something that is no answer.", "Run it again.")


def never_stop() -> bool:
    """Answer that nobody has asked to stop."""
    return False


class Child:
    """One forked process running one function, and the connection to it."""

    def __init__(self, pool: "ProcessPool", pid: int, connection: Connection) -> None:
        self.pid = pid
        self._ended = False
        self._pool = pool
        self._connection = connection
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
        """Return the child's next answer, passing its progress reports to `watch` on the way.

        `timeout_s` is the process pool's own unless another is given. What a locked child answers
        is plain JSON, whatever it was: hold it against a type before it is used.

        Raises:
            CancelledError: `should_stop` said so; the child is gone.
            ChildDiedError: the child ended or took longer than `timeout_s`.
            Exception: whatever ended the child's function, with the child's traceback as a note.
        """
        timeout_s = self._pool.timeout_s if timeout_s is None else timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s

        def check() -> None:
            self._check(should_stop, deadline, timeout_s)

        while True:
            # Asked first: a child that always has something to say must not outrun its end.
            check()
            while not self._connection.poll(_POLL_S):
                check()
            try:
                message = self._message(check)
            except (EOFError, ConnectionResetError) as error:
                raise self._death() from error
            if isinstance(message, Progress):
                self._pass_on(message, watch)
            elif isinstance(message, Raised):
                message.error.add_note(message.traceback)
                raise self._explained(message.error) from message.error
            else:
                return message

    def _message(self, check: Callable[[], None]) -> Any:
        if not self._pool.locked:
            return self._connection.recv()
        try:
            return _from_json(self._bytes(check))
        except (EOFError, ConnectionResetError):
            raise
        # Too long, never finished, not JSON, nested without end, or a number beyond all measure.
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            self.kill()
            raise not_an_answer() from error

    def _bytes(self, check: Callable[[], None]) -> bytes:
        """Return one message as `Connection` frames it, however slowly a locked child sends it."""
        end = time.monotonic() + _MESSAGE_TIMEOUT_S
        (size,) = struct.unpack("!i", self._read(4, end, check))
        if size == _LONG_MESSAGE:
            (size,) = struct.unpack("!Q", self._read(8, end, check))
        if not 0 <= size <= _MAX_ANSWER_BYTES:
            raise ValueError(f"a message of {size} bytes")
        return self._read(size, end, check)

    def _read(self, size: int, end: float, check: Callable[[], None]) -> bytes:
        content = bytearray()
        while len(content) < size:
            check()
            if time.monotonic() > end:
                raise OSError("the message did not end")
            if self._connection.poll(_POLL_S):
                piece = os.read(self._connection.fileno(), min(size - len(content), _PIECE_BYTES))
                if not piece:
                    raise EOFError
                content += piece
        return bytes(content)

    def _pass_on(self, progress: Progress, watch: Watch) -> None:
        """Tell of progress; a locked child that tells of it without pause is not listened to."""
        now = time.monotonic()
        if self._pool.locked and now - self._reported_at < _REPORTS_EVERY_S:
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
        limit = self._pool.memory_limit_bytes
        if limit is None or not _is_out_of_memory(error):
            return error
        return ChildDiedError(f"It needed more memory than {_limit(limit)}.", _LESS_MEMORY)

    def _death(self) -> ChildDiedError:
        self._ended = True
        self._connection.close()
        status = self._pool.reap(self.pid)
        if status is not None and os.WIFSIGNALED(status):
            name = _signal_name(os.WTERMSIG(status))
            cause = f"Its process was ended by {name}"
            limit = self._pool.memory_limit_bytes
            if name == "SIGKILL":
                cause += ", which the system also does when memory runs out"
            elif name == "SIGABRT" and limit is not None:
                cause += f", as when it needs more memory than {_limit(limit)}"
            return ChildDiedError(f"{cause}.", "Run it again; if it dies again, give it less work.")
        return ChildDiedError("Its process ended before it answered.", "Run it again.")

    def kill(self) -> None:
        """End the child at once; its number is given back only here, so it cannot name another."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._pool.reap(self.pid)
        self._connection.close()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class ProcessPool:
    """A process that has `modules` imported, has run nothing, and forks children on request."""

    def __init__(
        self,
        modules: Sequence[str],
        memory_limit_bytes: int | None = None,
        timeout_s: float | None = None,
        *,
        calls: Sequence[Call] = (),
        locked: bool = False,
    ) -> None:
        """Start it; a child may use so much memory, and take so long over each answer.

        Args:
            modules: imported once, for every child.
            memory_limit_bytes: of a child's data.
            timeout_s: of each answer.
            calls: done once, after the imports, for every child.
            locked: whether its children are locked in.
        """
        self.memory_limit_bytes = memory_limit_bytes
        self.timeout_s = timeout_s
        self.locked = locked
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        environment = _environment(locked)
        # torch.ao.quantization warns at every call that it is deprecated; the pins answer that.
        environment |= {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
        # ONNX Runtime's wheel sends telemetry, from a thread that would keep a child from its lock.
        environment |= {"ORT_DISABLE_TELEMETRY": "1"}
        start = json.dumps({"modules": [*modules, *_lock_modules(locked)], "calls": calls})
        self._process = subprocess.Popen(
            # Not `-m`: what a child pickles must not belong to a module named __main__.
            # `-P`: a file in the current folder must not stand in for a module.
            [sys.executable, "-P", "-c", _ENTRY, str(theirs.fileno()), start],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            # Nothing of ours is to be inherited by what is locked in.
            stdout=subprocess.DEVNULL if locked else None,
            start_new_session=True,
        )
        theirs.close()
        self._control.settimeout(_ANSWER_TIMEOUT_S)

    @property
    def is_alive(self) -> bool:
        """Return whether it can still fork children."""
        return self._process.poll() is None

    def spawn(
        self,
        function: str,
        *arguments: Any,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
    ) -> Child:
        """Start `module:function` in a child, which is called with a connection and `arguments`.

        Args:
            function: where it is.
            arguments: what it is called with, after the connection.
            reads: files and folders that a locked child may read beside the runtime.
            writes: folders in which a locked child may write.

        Raises:
            ChildDiedError: the process pool itself is gone.
        """
        request: dict[str, Any] = {
            "fork": function,
            "memory_limit_bytes": self.memory_limit_bytes,
        }
        if self.locked:
            request["lock"] = self._lock_of(reads, writes).to_dict()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pid = self._ask(request, [theirs.fileno()])
            child = Child(self, int(pid), Connection(ours.detach()))
        child.send(arguments)
        return child

    def _lock_of(self, reads: Sequence[Path], writes: Sequence[Path]) -> Lock:
        lock = Lock(
            reads=tuple(path.absolute() for path in reads),
            writes=tuple(path.absolute() for path in writes),
            cpu_s=_LOCKED_CPU_S,
            file_bytes=_LOCKED_FILE_BYTES,
        )
        limit = self.memory_limit_bytes
        return lock if limit is None else replace(lock, memory_bytes=limit)

    def reap(self, pid: int) -> int | None:
        """Wait for a child that is ending; return its wait status, None if it was reaped before."""
        try:
            status = self._ask({"reap": pid})
        except ChildDiedError:
            return None
        return None if status is None else int(status)

    def _ask(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> Any:
        with self._lock:
            try:
                socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
                answer = self._control.recv(_REQUEST_BYTES)
            except TimeoutError as error:
                # Its late answer would be taken for the answer to the next question.
                self.close()
                raise ChildDiedError(
                    "The process that starts measurements did not answer for "
                    f"{_ANSWER_TIMEOUT_S / 60:.0f} minutes.",
                    "Run the comparison again when the machine is less busy.",
                ) from error
            except OSError:
                answer = b""
        if not answer:
            raise ChildDiedError(
                "The process that starts measurements is gone.", "Run the comparison again."
            )
        return json.loads(answer)

    def close(self) -> None:
        """End the process pool and every child of it."""
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "bad_alloc" in text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    # Not all of the signals for one's own use have names.
    except ValueError:
        return f"signal {number}"


def _limit(limit_bytes: int) -> str:
    return f"the {limit_bytes / 1e9:.1f} GB a variant may use (QUANTCORE_MEMORY_GB)"


def progress_sender(connection: Connection) -> Callable[[str, float], None]:
    """Return a function that a child's work calls with its stage and the share done."""

    def send(stage: str, share: float) -> None:
        connection.send(Progress(stage, share))

    return send


def _serve(control: socket.socket) -> None:
    """Fork a child for each request until the other end closes; then take all children along."""
    for request, descriptors in _requests(control):
        if "fork" in request:
            control.send(json.dumps(_fork(request, descriptors[0], control)).encode())
        else:
            control.send(json.dumps(_status(request["reap"])).encode())
    os.killpg(0, signal.SIGKILL)


def _requests(control: socket.socket) -> Iterator[tuple[dict[str, Any], list[int]]]:
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 1)
        if not text:
            return
        yield json.loads(text), list(descriptors)


def _status(pid: int) -> int | None:
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None


def _fork(request: dict[str, Any], descriptor: int, control: socket.socket) -> int:
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    control.close()
    if request["memory_limit_bytes"]:
        # Not the address space: torch maps gigabytes that it never touches.
        resource.setrlimit(resource.RLIMIT_DATA, (request["memory_limit_bytes"],) * 2)
    connection: Any = Connection(descriptor)
    if "lock" in request:
        connection = _Teller(connection)
        try:
            _lock_in(request, descriptor)
        # Whatever it is: without the lock nothing runs.
        except BaseException as error:
            connection.send(Raised(_portable_cause(error), ""))
            os._exit(1)
    _run(request["fork"], connection)
    os._exit(0)


def _portable_cause(error: BaseException) -> Exception:
    return ChildDiedError(
        f"What strangers bring cannot be locked in on this machine ({error}).",
        "Run it on a Linux machine whose kernel has Landlock.",
    )


def _lock_in(request: dict[str, Any], descriptor: int) -> None:
    """Leave this child nothing but its runtime, its files and its one connection."""
    from quantcore.sandbox import lockdown

    lockdown.enter(lockdown.Lock.from_dict(request["lock"]), keep=(descriptor,))


class _Teller:
    """A locked child's end of its connection: it hears objects from its parent and answers JSON."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, message: Any) -> None:
        """Send a message, as data."""
        self._connection.send_bytes(_to_json(message))

    def recv(self) -> Any:
        """Return what the parent sent."""
        return self._connection.recv()


def _to_json(message: Any) -> bytes:
    from pydantic_core import to_json

    if isinstance(message, Progress):
        content: dict[str, Any] = {"progress": [message.stage, message.share]}
    elif isinstance(message, Raised):
        error = message.error
        told = error if isinstance(error, QuantcoreError) else None
        content = {
            "raised": type(error).__name__,
            "reason": told.reason if told else str(error),
            "remedy": told.remedy if told else "",
            "errno": getattr(error, "errno", None),
            "traceback": message.traceback[-_MAX_CHARACTERS:],
        }
    else:
        content = {"answer": message}
    return to_json(content, inf_nan_mode="constants")


def _from_json(content: bytes) -> Any:
    """Return what `_to_json` wrote of one message; of an exception, one that says the same."""
    message = json.loads(content)
    if "progress" in message:
        stage, share = message["progress"]
        return Progress(_printable(stage)[:_LONGEST_STAGE], min(1.0, max(0.0, float(share))))
    if "raised" not in message:
        return message["answer"]
    name, reason, remedy, traceback = (
        _printable(message[key])[:_MAX_CHARACTERS]
        for key in ("raised", "reason", "remedy", "traceback")
    )
    number = message["errno"]
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, QuantcoreError) and kind not in _OURS_TO_SAY:
        return Raised(kind(reason, remedy), traceback)
    if name == "MemoryError":
        return Raised(MemoryError(reason), traceback)
    if isinstance(number, int):
        return Raised(OSError(number, os.strerror(number)), traceback)
    return Raised(RuntimeError(f"{name}: {reason}"), traceback)


def _printable(text: object) -> str:
    return "".join(each for each in str(text) if each.isprintable() or each == "\n")


def _lock_modules(locked: bool) -> tuple[str, ...]:
    """Return what the lock itself needs imported: inside it, nothing could be looked for."""
    return ("quantcore.sandbox.lockdown.libraries",) if locked else ()


def _environment(locked: bool) -> dict[str, str]:
    """Return what a process pool finds in its environment; a locked one, nothing that is ours."""
    inherited = {key: text for key, text in os.environ.items() if key not in _DASK_VARIABLES}
    return (quiet_environment(os.environ) if locked else inherited) | import_path(os.environ)


def _run(function: str, connection: Connection) -> None:
    """Call the function with what was sent for it; send back its answer or its exception."""
    import traceback

    try:
        answer = _function(function)(connection, *connection.recv())
    # The one place where any failure is caught: it becomes an answer, with its traceback.
    except Exception as error:
        connection.send(Raised(_portable(error), traceback.format_exc()))
    else:
        connection.send(answer)


def _portable(error: Exception) -> Exception:
    """Return the error, or one with its text where it cannot be pickled."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _function(name: str) -> Callable[..., Any]:
    """Return the function that `module:function` names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def main() -> None:
    """Do the imports and calls named on the command line, then fork children until told to end."""
    control, start = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    for module in start["modules"]:
        importlib.import_module(module)
    for function, *arguments in start["calls"]:
        _function(function)(*arguments)
    _serve(control)
