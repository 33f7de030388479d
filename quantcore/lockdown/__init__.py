"""The lock in which what strangers bring is read and run.

`enter` is called by a freshly forked child, which has one thread: Landlock and seccomp hold for the
thread that calls and for those it starts later. From then on the process reads its runtime and the
files it was given, writes in its own folder, and does nothing else with the world: no network, no
other program, no other process. Nothing of this can be taken back.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from quantcore.lockdown import landlock
from quantcore.lockdown.attempts import Attempt, Proof, run_attempts_child

__all__ = [
    "Attempt",
    "Lock",
    "LockError",
    "Proof",
    "enter",
    "missing",
    "run_attempts_child",
    "runtime_paths",
]

PROJECT = Path(__file__).parent.parent.parent
PR_SET_NO_NEW_PRIVS = 38
UMASK = 0o077
# What torch, the standard library and the loader read of the system.
SYSTEM = (
    "/usr/lib",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/dev/urandom",
    "/dev/null",
    "/usr/share/zoneinfo",
)


class LockError(RuntimeError):
    """The lock cannot be entered; nothing must run without it."""


@dataclass(frozen=True)
class Lock:
    """What a locked process may do.

    Attributes:
        reads: files and folders it may read beside its runtime.
        writes: folders in which it may make, change and remove plain files and folders.
        memory_bytes: of its data; None leaves what is set.
        cpu_s: seconds of processor time, after which the kernel ends it.
        file_bytes: of any one file it writes.
        open_files: at once.
    """

    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    memory_bytes: int | None = None
    cpu_s: int = 4 * 3_600
    file_bytes: int = 8 * 10**9
    open_files: int = 256


@cache
def missing() -> str:
    """Return what this machine lacks for the lock, in a sentence; empty where nothing shows."""
    if not sys.platform.startswith("linux"):
        return "Uploaded programs are run on Linux only, whose kernel can lock them in."
    if landlock.version() < 1:
        return "This machine's kernel has no Landlock, so uploaded programs cannot be locked in."
    try:
        from quantcore.lockdown import seccomp  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return "libseccomp is not on this machine, so uploaded programs cannot be locked in."
    return ""


def runtime_paths() -> tuple[Path, ...]:
    """Return what every locked process may read: Python, its packages, libraries, this code."""
    own = (PROJECT / "quantcore", PROJECT / "bundled")
    # The tests' own children need their code as well; an installed copy has none.
    tests = (PROJECT / "tests",) if "tests" in sys.modules else ()
    prefixes = (Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix))
    paths = (*map(Path, SYSTEM), *prefixes, *own, *tests, Path("/proc/self"))
    return tuple(dict.fromkeys(path for path in paths if path.exists()))


def enter(lock: Lock, keep: Sequence[int] = ()) -> None:
    """Lock this process in, for ever; only the descriptors in `keep` stay open.

    Raises:
        LockError: it has more than one thread, or the kernel does not do what is asked.
    """
    if missing():
        raise LockError(missing())
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise LockError("The process has started threads, which would stay outside of the lock.")
    from quantcore.lockdown import seccomp

    rules = seccomp.prepared(os.getpid())
    os.umask(UMASK)
    if lock.writes:
        os.chdir(lock.writes[0])
    _shut(keep)
    _limit(lock)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise LockError("The kernel does not let the process give up new privileges.")
    try:
        landlock.restrict((*runtime_paths(), *lock.reads), lock.writes)
        seccomp.load(rules)
    except OSError as error:
        raise LockError(f"The kernel refused the lock: {error}.") from error


def _shut(keep: Sequence[int]) -> None:
    """Close every descriptor but those to keep; the standard ones lead nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    opened = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    for descriptor in opened:
        if descriptor > 2 and descriptor not in keep:
            # The one that listed them is closed already.
            try:
                os.close(descriptor)
            except OSError:
                continue


def _limit(lock: Lock) -> None:
    limits = [
        (resource.RLIMIT_CPU, lock.cpu_s),
        (resource.RLIMIT_FSIZE, lock.file_bytes),
        (resource.RLIMIT_NOFILE, lock.open_files),
        (resource.RLIMIT_CORE, 0),
    ]
    if lock.memory_bytes is not None:
        # Not the address space: torch maps gigabytes that it never touches.
        limits.append((resource.RLIMIT_DATA, lock.memory_bytes))
    for kind, most in limits:
        _, hard = resource.getrlimit(kind)
        possible = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (possible, possible))
