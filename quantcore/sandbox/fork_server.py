"""The fork server: a process that imports modules once, and forks a child for each request.

It runs nothing itself, so that each child starts equally clean. A locked child enters its
`lockdown` before it looks at anything. When the process that started the fork server ends, however
suddenly, the control socket closes, and the fork server kills its children and itself.
"""

import importlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from quantcore.errors import ChildDiedError
from quantcore.sandbox.protocol import JsonConnection, Raised

MAX_REQUEST_BYTES = 65_536
# `module:function`, and the text it is called with.
Call = tuple[str, str]


def main() -> None:
    """Do the imports and calls named on the command line, then serve until the socket closes."""
    control, start = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    for module in start["modules"]:
        importlib.import_module(module)
    for function, *arguments in start["calls"]:
        _function(function)(*arguments)
    _serve(control)


def _serve(control: socket.socket) -> None:
    """Fork a child or reap one for each request; end all children when the other end closes."""
    for request, descriptors in _requests(control):
        if "fork" in request:
            control.send(json.dumps(_fork(request, descriptors[0], control)).encode())
        else:
            control.send(json.dumps(_reap(request["reap"])).encode())
    os.killpg(0, signal.SIGKILL)


def _requests(control: socket.socket) -> Iterator[tuple[dict[str, Any], list[int]]]:
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, 1)
        if not text:
            return
        yield json.loads(text), list(descriptors)


def _reap(pid: int) -> int | None:
    """Wait for a child to end; return its wait status, None if it was reaped before."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None


def _fork(request: dict[str, Any], descriptor: int, control: socket.socket) -> int:
    """Return the pid of a child that runs the requested function; the child never returns."""
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
        connection = JsonConnection(connection)
        try:
            _enter_lock(request["lock"], descriptor)
        # After any error here nothing runs: the lock does not hold.
        except BaseException as error:
            connection.send(Raised(_lock_error(error), ""))
            os._exit(1)
    _run(request["fork"], connection)
    os._exit(0)


def _enter_lock(lock: dict[str, Any], descriptor: int) -> None:
    """Leave this process nothing but its runtime, the lock's files and its one connection."""
    from quantcore.sandbox import lockdown

    lockdown.enter(lockdown.Lock.from_dict(lock), keep=(descriptor,))


def _lock_error(error: BaseException) -> Exception:
    return ChildDiedError(
        f"Uploaded files cannot be locked in on this machine ({error}).",
        "Run it on a Linux machine whose kernel has Landlock.",
    )


def _run(function: str, connection: Connection) -> None:
    """Call the function with the arguments received; send back its answer or its exception."""
    import traceback

    try:
        answer = _function(function)(connection, *connection.recv())
    # The one place where any failure is caught: it becomes an answer, with its traceback.
    except Exception as error:
        connection.send(Raised(_picklable(error), traceback.format_exc()))
    else:
        connection.send(answer)


def _function(name: str) -> Callable[..., Any]:
    """Return the function that `module:function` names."""
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def _picklable(error: Exception) -> Exception:
    """Return the error, or one with its text where it cannot be pickled."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
