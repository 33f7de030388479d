"""Whether the lock holds on this machine: forbidden things are tried inside it, and judged.

`attempts` runs inside a locked process and may be asked of any; `prove` starts a small one for it,
without torch, and can be called from a process with threads.
"""

import ctypes
import errno
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from quantcore.errors import LockError
from quantcore.sandbox.lockdown.enter import enter
from quantcore.sandbox.lockdown.lock import Lock
from quantcore.sandbox.lockdown.runtime import import_path, quiet_environment

_TIMEOUT_S = 60.0
_ENTRY = "from quantcore.sandbox.lockdown.proof import main; main()"
_LOCK = Lock(memory_bytes=1_000_000_000, cpu_s=20, file_bytes=1_000_000)
_OUTSIDE = Path("/etc/passwd")
_REFUSALS = (errno.EPERM, errno.EACCES)
_PTRACE_SEIZE = 0x4206
# Loopback's discard port: without a lock nobody answers there, which is no refusal of the lock.
_NOBODY = ("127.0.0.1", 9)


@dataclass(frozen=True)
class Attempt:
    """One thing tried inside a lock.

    Attributes:
        name: what was tried, as a page says it: "read a file outside".
        allowed: whether a lock lets it happen.
        worked: whether it did; None where it failed for a reason that is not the lock's.
        detail: the kernel's words.
    """

    name: str
    allowed: bool
    worked: bool | None
    detail: str = ""

    @property
    def is_as_it_should_be(self) -> bool:
        """Return whether the lock let through what it must, or refused what it must."""
        return self.worked is self.allowed


@dataclass(frozen=True)
class Proof:
    """Whether the lock holds; and the sentence to show where it does not."""

    holds: bool
    sentence: str
    attempts: tuple[Attempt, ...] = ()


def why_unavailable() -> str | None:
    """Return why this machine cannot close the lock, None if it seems to be able to. Cheap."""
    if not sys.platform.startswith("linux"):
        return "Uploaded files are run in a lock that only Linux has; this machine runs no Linux."
    try:
        import landlock

        import quantcore.sandbox.lockdown.libraries  # noqa: F401

        # What an earlier call of the same library left behind would be taken for a failure.
        ctypes.set_errno(0)
        landlock.landlock_abi_version()
    except ImportError as error:
        return f"Uploaded files are run in a lock that needs a Python package: {error}."
    except RuntimeError:
        return "Uploaded files are run in a lock that needs libseccomp (Debian's libseccomp2)."
    except OSError as error:
        return (
            "Uploaded files are run in a lock that needs Landlock, which this machine's kernel "
            f"lacks or has switched off ({error.strerror})."
        )
    return None


def prove() -> Proof:
    """Try what is forbidden in a small locked process of its own; return whether the lock holds.

    Whatever goes wrong on the way is a proof that does not hold, never an exception.
    """
    reason = why_unavailable()
    if reason is not None:
        return Proof(False, reason)
    with tempfile.TemporaryDirectory() as folder:
        try:
            # The parent of the locked process is what it tries to reach, so it is not this one.
            done = subprocess.run(
                [sys.executable, "-c", _ENTRY, folder],
                env=quiet_environment(os.environ) | import_path(os.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            answer = json.loads(done.stdout)
        except (OSError, subprocess.SubprocessError, json.JSONDecodeError):
            return Proof(
                False, "The lock for uploaded files could not be tried: it did not answer."
            )
    if "reason" in answer:
        return Proof(False, answer["reason"])
    return judge(Attempt(**attempt) for attempt in answer["attempts"])


def judge(tried: Iterable[Attempt]) -> Proof:
    """Return whether a lock in which this was tried holds."""
    tried = tuple(tried)
    names = {attempt.name for attempt in tried}
    missing = [name for name in (*_FORBIDDEN, *_ALLOWED) if name not in names]
    through = [each.name for each in tried if not each.allowed and not each.is_as_it_should_be]
    stuck = [each.name for each in tried if each.allowed and not each.is_as_it_should_be]
    if through:
        sentence = f"The lock for uploaded files does not hold here: one could {through[0]}."
    elif stuck:
        sentence = f"The lock for uploaded files is too tight here: one could not {stuck[0]}."
    elif missing:
        sentence = f"The lock for uploaded files was not tried whole: nobody tried to {missing[0]}."
    else:
        sentence = "The lock for uploaded files holds: everything forbidden was tried and refused."
    return Proof(not (through or stuck or missing), sentence, tried)


def attempts(scratch: Path) -> tuple[Attempt, ...]:
    """Try everything, from inside a locked process whose scratch folder is given.

    The process it was forked from must live, as it is what some attempts are aimed at.
    """
    tried = [_attempt(name, False, action, scratch) for name, action in _FORBIDDEN.items()]
    return (*tried, *(_attempt(name, True, action, scratch) for name, action in _ALLOWED.items()))


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


_FORBIDDEN: dict[str, Callable[[Path], object]] = {
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
_ALLOWED: dict[str, Callable[[Path], object]] = {
    "read the program's own code": _read_code,
    "write into its scratch folder": _write_scratch,
    "start a thread": _start_thread,
}


def main() -> None:
    """Fork, lock the fork, and print what could be done in it, as JSON."""
    import quantcore.sandbox.lockdown.libraries  # noqa: F401

    scratch = Path(sys.argv[1]).resolve()
    (scratch / "inside").mkdir()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, json.dumps(_answer(scratch / "inside", writer)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    sys.stdout.write(answer.decode())


def _answer(scratch: Path, writer: int) -> dict[str, object]:
    from dataclasses import replace

    try:
        enter(replace(_LOCK, writes=(scratch,)), keep=[writer])
    except LockError as error:
        return {"reason": f"{error.reason} {error.remedy}".strip()}
    return {"attempts": [asdict(attempt) for attempt in attempts(scratch)]}
