"""What a locked process tries before it is trusted: everything that it must not be able to do."""

import ctypes
import os
import platform
import resource
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PTRACE_TRACEME = 0
MEMORY_BYTES = 64
# Calls without a function of their own in libc, by the machine's name.
NUMBERS = {
    "x86_64": {"process_vm_readv": 310, "memfd_create": 319, "io_uring_setup": 425},
    "aarch64": {"process_vm_readv": 270, "memfd_create": 279, "io_uring_setup": 425},
}


@dataclass(frozen=True)
class Attempt:
    """Something that was tried: whether it may be possible, and whether it was."""

    what: str
    allowed: bool
    worked: bool


@dataclass(frozen=True)
class Proof:
    """What came of all attempts."""

    attempts: tuple[Attempt, ...]

    @property
    def holds(self) -> bool:
        """Return whether only what may be was possible, and something was tried at all."""
        return bool(self.attempts) and not self.sentence

    @property
    def sentence(self) -> str:
        """Return what came through the lock, or what it takes too much of; empty where it holds."""
        through = [each.what for each in self.attempts if each.worked and not each.allowed]
        if through:
            return (
                "The lock for uploaded programs does not hold on this machine: one was able to "
                f"{through[0]}."
            )
        broken = [each.what for each in self.attempts if each.allowed and not each.worked]
        if broken:
            return (
                f"Uploaded programs cannot be run on this machine: the lock keeps one {broken[0]}."
            )
        return ""


def run_attempts_child(_: object, folder: Path) -> tuple[Attempt, ...]:
    """Try everything, in a locked child that may write in `folder`."""
    allowed = [
        ("from reading its own code", lambda: Path(__file__).read_bytes()),
        ("from writing in its folder", lambda: (folder / "own").write_text("mine")),
        ("from starting a thread", _start_a_thread),
        ("from computing with torch", _compute),
    ]
    forbidden: list[tuple[str, Callable[[], object]]] = [
        ("read a file outside", lambda: Path("/etc/passwd").read_bytes()),
        ("list a folder outside", lambda: list(Path("/").iterdir())),
        ("write a file outside", lambda: (folder.parent / "outside").write_text("escaped")),
        ("make a link", lambda: (folder / "link").symlink_to("/")),
        ("open a socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
        ("send a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
        ("listen on a port", _listen),
        ("open a local socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
        ("start a process", _fork),
        ("signal its parent", lambda: os.kill(os.getppid(), 0)),
        ("read its parent's environment", lambda: _of_parent("environ")),
        ("open its parent's memory", lambda: _of_parent("mem")),
        ("read its parent's memory", _read_parent),
        ("be traced", _trace),
        ("raise a limit", _raise_limit),
        ("make a namespace", lambda: _libc("unshare", CLONE_NEWUSER)),
        ("make a file that can be run", lambda: _numbered("memfd_create", b"x", 0)),
        ("queue work in the kernel", lambda: _numbered("io_uring_setup", 1, None)),
        # Last: it would leave nobody to tell.
        ("run another program", lambda: os.execv("/bin/true", ["true"])),
    ]
    return tuple(
        Attempt(what, is_allowed, _works(action))
        for is_allowed, entries in ((True, allowed), (False, forbidden))
        for what, action in entries
    )


def _works(action: Callable[[], object]) -> bool:
    try:
        action()
    # A refusal has many shapes; whatever it is, it did not work.
    except Exception:
        return False
    return True


def _start_a_thread() -> None:
    done = threading.Event()
    threading.Thread(target=done.set).start()
    if not done.wait(10):
        raise TimeoutError


def _compute() -> None:
    import torch

    ones = torch.ones(64, 64)
    if float((ones @ ones)[0, 0]) != len(ones):
        raise ArithmeticError


def _listen() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _of_parent(name: str) -> None:
    with Path(f"/proc/{os.getppid()}/{name}").open("rb") as file:
        file.read(1)


def _read_parent() -> None:
    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    buffer = ctypes.create_string_buffer(MEMORY_BYTES)
    # Forked, so that the parent has something at the same place.
    piece = Piece(ctypes.addressof(buffer), MEMORY_BYTES)
    _numbered("process_vm_readv", os.getppid(), ctypes.byref(piece), 1, ctypes.byref(piece), 1, 0)


def _trace() -> None:
    _libc("ptrace", PTRACE_TRACEME, 0, 0, 0)


def _raise_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, 1_048_576))


def _numbered(name: str, *arguments: object) -> None:
    number = NUMBERS.get(platform.machine(), {}).get(name)
    if number is None:
        raise NotImplementedError
    _libc("syscall", number, *arguments)


def _libc(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
