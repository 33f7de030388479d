"""A process pool: child processes for work that may crash, run out of memory, or be cancelled.

Importing torch takes seconds, and a process that has already run a model has threads and warm
kernels that would distort the next measurement. So one fork server imports torch and runs nothing,
and every piece of work happens in a child forked from it: the import is paid once, and each child
starts equally clean. A child that dies takes nothing with it.

A *locked* pool is for untrusted files: its children enter a `lockdown` before they look at
anything, start from an environment without the parent's variables, and answer in JSON.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from quantcore.errors import ChildDiedError
from quantcore.sandbox import library_log
from quantcore.sandbox.child import Child, Limits
from quantcore.sandbox.fork_server import MAX_REQUEST_BYTES, Call
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
_ENTRY = "from quantcore.sandbox.fork_server import main; main()"
# Importing torch takes three seconds on an idle machine, and minutes on one that is swamped.
_ANSWER_TIMEOUT_S = 600.0
# Converting and evaluating a large model takes a while on all cores; an endless loop takes longer.
_LOCKED_CPU_S = 4 * 3_600
_LOCKED_FILE_BYTES = 8 * 10**9


class ProcessPool:
    """A fork server that has `modules` imported, and the children forked from it."""

    def __init__(
        self,
        modules: Sequence[str],
        memory_limit_bytes: int | None = None,
        timeout_s: float | None = None,
        *,
        calls: Sequence[Call] = (),
        locked: bool = False,
    ) -> None:
        """Start the fork server.

        Args:
            modules: imported once, for every child.
            memory_limit_bytes: of each child's data; None for no limit.
            timeout_s: seconds a child may take for each answer; None for no limit.
            calls: done once, after the imports, for every child.
            locked: whether children are locked in, for untrusted files.
        """
        self._limits = Limits(memory_limit_bytes, timeout_s, locked)
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        environment = _environment(locked)
        # torch.ao.quantization warns at every call that it is deprecated; the pins answer that.
        environment |= {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
        # ONNX Runtime's wheel sends telemetry, from a thread that would keep a child from its lock.
        environment |= {"ORT_DISABLE_TELEMETRY": "1"}
        start = json.dumps({"modules": [*modules, *_lock_modules(locked)], "calls": calls})
        log = library_log.descriptor()
        self._process = subprocess.Popen(
            # Not `-m`: what a child pickles must not belong to a module named __main__.
            # `-P`: a file in the current folder must not stand in for a module.
            [sys.executable, "-P", "-c", _ENTRY, str(theirs.fileno()), start],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            # Locked children leave it, with all other files, as they enter their lock.
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        os.close(log)
        theirs.close()
        self._control.settimeout(_ANSWER_TIMEOUT_S)

    @property
    def locked(self) -> bool:
        """Return whether its children are locked in."""
        return self._limits.locked

    @property
    def is_alive(self) -> bool:
        """Return whether the fork server can still fork children."""
        return self._process.poll() is None

    def spawn(
        self,
        function: str,
        *arguments: Any,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
    ) -> Child:
        """Start a child that calls a function with its connection and the arguments.

        Args:
            function: `module:function`.
            arguments: passed after the connection.
            reads: files and folders that a locked child may read beside the runtime.
            writes: folders in which a locked child may write.

        Raises:
            ChildDiedError: the fork server itself is gone.
        """
        request: dict[str, Any] = {
            "fork": function,
            "memory_limit_bytes": self._limits.memory_bytes,
        }
        if self._limits.locked:
            request["lock"] = self._lock_of(reads, writes).to_dict()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pid = self._ask(request, [theirs.fileno()])
            child = Child(int(pid), Connection(ours.detach()), self._limits, self._reap)
        child.send(arguments)
        return child

    def _lock_of(self, reads: Sequence[Path], writes: Sequence[Path]) -> Lock:
        lock = Lock(
            reads=tuple(path.absolute() for path in reads),
            writes=tuple(path.absolute() for path in writes),
            cpu_s=_LOCKED_CPU_S,
            file_bytes=_LOCKED_FILE_BYTES,
        )
        limit = self._limits.memory_bytes
        return lock if limit is None else replace(lock, memory_bytes=limit)

    def _reap(self, pid: int) -> int | None:
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
                answer = self._control.recv(MAX_REQUEST_BYTES)
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
                "The process that starts measurements is gone.",
                f"Run the comparison again; {library_log.path()} may say why.",
            )
        return json.loads(answer)

    def close(self) -> None:
        """End the fork server and all its children."""
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lock_modules(locked: bool) -> tuple[str, ...]:
    """Return the modules that closing the lock needs: they cannot be imported inside it."""
    return ("quantcore.sandbox.lockdown.libraries",) if locked else ()


def _environment(locked: bool) -> dict[str, str]:
    """Return the fork server's environment; where children are locked in, without secrets."""
    inherited = {key: text for key, text in os.environ.items() if key not in _DASK_VARIABLES}
    return (quiet_environment(os.environ) if locked else inherited) | import_path(os.environ)
