"""Actions that a lock must refuse and that it must allow, and attempts at them from inside it."""

import ctypes
import errno
import os
import resource
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_OUTSIDE = Path("/etc/passwd")
_REFUSALS = (errno.EPERM, errno.EACCES)
_PTRACE_SEIZE = 0x4206
# Loopback's discard port: without a lock nobody answers there, which is no refusal of the lock.
_NOBODY = ("127.0.0.1", 9)


@dataclass(frozen=True)
class Attempt:
    """One action attempted inside a lock.

    Attributes:
        name: of the action, as pages show it: "read a file outside".
        allowed: whether a lock allows the action.
        worked: whether it succeeded; None where it failed for another reason than the lock.
        detail: the kernel's words.
    """

    name: str
    allowed: bool
    worked: bool | None
    detail: str = ""

    @property
    def is_as_it_should_be(self) -> bool:
        """Return whether the lock allowed an allowed action, or refused a forbidden one."""
        return self.worked is self.allowed


def attempts(scratch: Path) -> tuple[Attempt, ...]:
    """Attempt every action from inside a locked process, in whose scratch folder files are written.

    Its parent must be alive, since some attempts are aimed at it.
    """
    tried = [_attempt(name, False, action, scratch) for name, action in FORBIDDEN.items()]
    return (*tried, *(_attempt(name, True, action, scratch) for name, action in ALLOWED.items()))


def _attempt(name: str, allowed: bool, action: Callable[[Path], object], scratch: Path) -> Attempt:
    try:
        action(scratch)
    except OSError as error:
        worked = False if error.errno in _REFUSALS else None
        return Attempt(name, allowed, worked, str(error))
    # Whatever else it is, it was not the kernel that refused.
    except Exception as error:
        return Attempt(name, allowed, None, f"{type(error).__name__}: {error}")
    return Attempt(name, allowed, True)


def _read_outside(_: Path) -> None:
    with _OUTSIDE.open("rb") as file:
        file.read(1)


def _list_outside(_: Path) -> None:
    os.listdir(_OUTSIDE.parent)  # noqa: PTH208


def _write_outside(scratch: Path) -> None:
    # Beside the scratch folder, where this user may write if nothing stops it.
    escaped = scratch.parent / f"{scratch.name}-escaped"
    escaped.write_bytes(b"")
    escaped.unlink()


def _connect(_: Path) -> None:
    with socket.socket() as client:
        client.connect(_NOBODY)


def _listen(_: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def _send_datagram(_: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"", _NOBODY)


def _unix_socket(_: Path) -> None:
    socket.socket(socket.AF_UNIX).close()


def _execute(_: Path) -> None:
    # If it could, this would be a program's last line: one that is not there lets it go on.
    os.execv("/nowhere/program", ["program"])


def _fork() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def _signal_parent(_: Path) -> None:
    os.kill(os.getppid(), 0)


def _parents_memory(_: Path) -> None:
    Path(f"/proc/{os.getppid()}/mem").open("rb").close()


def _parents_environment(_: Path) -> None:
    Path(f"/proc/{os.getppid()}/environ").read_bytes()


def _copy_memory(_: Path) -> None:
    class Span(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    here = ctypes.create_string_buffer(8)
    # The parent, from which this process was forked, has something at the same address.
    span = Span(ctypes.addressof(here), 1)
    _libc("process_vm_readv", os.getppid(), ctypes.byref(span), 1, ctypes.byref(span), 1, 0)


def _trace(_: Path) -> None:
    _libc("ptrace", _PTRACE_SEIZE, os.getppid(), None, None)


def _libc(function: str, *arguments: object) -> None:
    call = getattr(ctypes.CDLL(None, use_errno=True), function)
    call.restype = ctypes.c_int
    ctypes.set_errno(0)
    if call(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _symlink(scratch: Path) -> None:
    link = scratch / "link"
    link.symlink_to(_OUTSIDE)
    link.unlink()


def _fifo(scratch: Path) -> None:
    os.mkfifo(scratch / "fifo")
    (scratch / "fifo").unlink()


def _change_mode(scratch: Path) -> None:
    scratch.chmod(0o700)


def _raise_limit(_: Path) -> None:
    class Limit(ctypes.Structure):
        _fields_ = (("soft", ctypes.c_uint64), ("hard", ctypes.c_uint64))

    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = Limit(min(soft + 1, 2**63), min(hard + 1, 2**63))
    _libc("setrlimit", int(resource.RLIMIT_CORE), ctypes.byref(limit))


def _read_code(_: Path) -> None:
    Path(__file__).read_bytes()


def _write_scratch(scratch: Path) -> None:
    folder = scratch / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"words")
    if (folder / "file").read_bytes() != b"words":
        raise ValueError("other words came back")
    (folder / "file").rename(folder / "other")
    (folder / "other").unlink()
    folder.rmdir()


def _start_thread(_: Path) -> None:
    ran = threading.Event()
    thread = threading.Thread(target=ran.set)
    thread.start()
    thread.join()
    if not ran.is_set():
        raise ValueError("it did not run")


FORBIDDEN: dict[str, Callable[[Path], object]] = {
    "read a file outside": _read_outside,
    "list a folder outside": _list_outside,
    "write a file outside": _write_outside,
    "connect to another machine": _connect,
    "listen for connections": _listen,
    "send a datagram": _send_datagram,
    "make a socket": _unix_socket,
    "run a program": _execute,
    "start a process": lambda _: _fork(),
    "send a signal to another process": _signal_parent,
    "open another process's memory": _parents_memory,
    "copy another process's memory": _copy_memory,
    "read another process's environment": _parents_environment,
    "trace another process": _trace,
    "make a link": _symlink,
    "make a pipe with a name": _fifo,
    "change a file's permissions": _change_mode,
    "raise its own limits": _raise_limit,
}
ALLOWED: dict[str, Callable[[Path], object]] = {
    "read the program's own code": _read_code,
    "write into its scratch folder": _write_scratch,
    "start a thread": _start_thread,
}
