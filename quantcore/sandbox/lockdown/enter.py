"""Locking the calling process, for good."""

import contextlib
import ctypes
import os
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

from quantcore.errors import LockError
from quantcore.sandbox.lockdown import files, syscalls
from quantcore.sandbox.lockdown.lock import Lock
from quantcore.sandbox.lockdown.runtime import own_paths, quiet_environment, runtime_paths

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_SIGKILL = 9
_STACK_BYTES = 64 * 2**20
# The fields of /proc/self/stat, after the program's name, with the environment's address.
_ENVIRONMENT_FIELDS = slice(47, 49)
_NULL = Path("/dev/null")


def enter(lock: Lock, keep: Sequence[int] = ()) -> None:
    """Lock the calling process, a freshly forked one, for the rest of its life.

    `keep` are the descriptors through which it answers; all others are closed. What it does after
    this it does with the rights of the lock alone, in every thread it starts.

    Raises:
        LockError: the machine cannot close the lock, or a path of it is not there, or the process
            has more than one thread. The process is then neither locked nor as it was: end it.
    """
    import quantcore.sandbox.lockdown.libraries  # noqa: F401

    tasks = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    if tasks != 1:
        raise LockError(
            f"A process with {tasks} threads cannot be locked: the others would stay free.",
            "Lock it right after it was forked.",
        )
    home = lock.writes[0] if lock.writes else Path("/")
    _redirect(keep)
    _forget_environment(home)
    _limit(lock)
    _hide()
    os.umask(0o077)
    os.chdir(home)
    files.restrict([*runtime_paths(), *own_paths(), *lock.reads], [_NULL], lock.writes)
    syscalls.restrict()


def _redirect(keep: Sequence[int]) -> None:
    """Close all descriptors but those to keep; standard ones lead to /dev/null."""
    nowhere = os.open(_NULL, os.O_RDWR)
    for standard in {0, 1, 2}.difference(keep):
        os.dup2(nowhere, standard)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) not in {0, 1, 2, *keep}:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _forget_environment(home: Path) -> None:
    """Take the environment away, also from where the kernel put it when the program started."""
    import posix

    kept = quiet_environment(os.environ)
    os.environ.clear()
    posix.environ.clear()
    start, end = _environment_span()
    ctypes.memset(start, 0, end - start)
    os.environ.update(kept | {"HOME": str(home), "TMPDIR": str(home)})
    # The folder that `tempfile` chose before is not writable any more.
    tempfile.tempdir = None


def _environment_span() -> tuple[int, int]:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = (int(text) for text in fields[_ENVIRONMENT_FIELDS])
    if not 0 < start <= end:
        raise LockError("The kernel does not say where the environment lies.", "")
    return start, end


def _limit(lock: Lock) -> None:
    limits = {
        # Not the address space: torch maps gigabytes that it never touches.
        resource.RLIMIT_DATA: lock.memory_bytes,
        resource.RLIMIT_CPU: lock.cpu_s + 1,
        resource.RLIMIT_FSIZE: lock.file_bytes,
        resource.RLIMIT_NOFILE: lock.open_files,
        resource.RLIMIT_NPROC: _tasks_of_the_machine() + lock.threads,
        resource.RLIMIT_STACK: _STACK_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, most in limits.items():
        soft, hard = (_at_most(most, now) for now in resource.getrlimit(limit))
        resource.setrlimit(limit, (soft, hard))
    # One second after the signal that says why (SIGXCPU), which it may ignore, comes SIGKILL.
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (min(soft, lock.cpu_s), hard))


def _at_most(most: int, now: int) -> int:
    return most if now == resource.RLIM_INFINITY else min(most, now)


def _tasks_of_the_machine() -> int:
    """Return the machine's number of threads: the limit counts those of other containers, too."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def _hide() -> None:
    """Make no image of the memory when it crashes, and end with the process it came from."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
