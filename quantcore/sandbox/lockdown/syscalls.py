"""seccomp: which of the kernel's functions a locked process may still call.

Everything that is not named here is refused with EPERM. Names that a processor architecture does
not have are skipped.
"""

import errno
import os
from collections.abc import Iterator
from typing import Any

from quantcore.errors import LockError

_ALLOWED_LINES = (
    "read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek sendfile",
    "close close_range dup dup2 dup3 fsync fdatasync ftruncate fadvise64",
    "stat fstat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getcwd",
    "getdents64 creat mkdir mkdirat rmdir unlink unlinkat rename renameat",
    "poll ppoll select pselect6",
    "brk munmap mremap mprotect madvise mincore msync membarrier",
    "futex sched_yield sched_getaffinity sched_getparam sched_getscheduler",
    "sched_get_priority_max sched_get_priority_min set_robust_list set_tid_address rseq",
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait sigaltstack",
    "restart_syscall exit exit_group",
    "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage getcpu",
    "getpid getppid gettid getuid geteuid getgid getegid uname sysinfo getrlimit getrandom",
)
ALLOWED = tuple(name for line in _ALLOWED_LINES for name in line.split())
# Where glibc takes "there is no such function" for an answer, and then goes another, filtered way.
ABSENT = ("clone3", "openat2")

_CLONE_VM, _CLONE_SIGHAND, _CLONE_THREAD = 0x100, 0x800, 0x10000
_CLONE_NEW_NAMESPACES = 0x7E020080
_MAP_KIND, _MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x0F, 0x02, 0x20, 0x0100
_PR_SET_NAME, _PR_GET_NAME = 15, 16
_FCNTLS = (0, 1, 2, 3, 4, 1_030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC
_IOCTLS = (0x5401, 0x5421, 0x5450, 0x5451, 0x541B)  # TCGETS, FIONBIO, FIONCLEX, FIOCLEX, FIONREAD
# Asks for the registers that matrix instructions (AMX) use.
_XCOMP = (0x1021, 0x1022, 0x1023)
_CONTROL_OPTIMIZE_BY_TREE = 2


def restrict() -> None:
    """Leave the calling thread, and threads it starts, no system calls but the allowed.

    Raises:
        LockError: the kernel or libseccomp refused.
    """
    import pyseccomp

    try:
        rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
        rules.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
        rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, _CONTROL_OPTIMIZE_BY_TREE)
        for name in ABSENT:
            _add(rules, pyseccomp.ERRNO(errno.ENOSYS), name)
        for name in ALLOWED:
            _add(rules, pyseccomp.ALLOW, name)
        for name, conditions in _conditional():
            _add(rules, pyseccomp.ALLOW, name, *conditions)
        rules.load()
    except OSError as error:
        raise LockError(
            f"The lock for uploaded files could not be closed: seccomp says {error}.",
            "It needs a Linux kernel with seccomp filters, and libseccomp 2.5 or newer.",
        ) from error


def _conditional() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield calls that are allowed with some arguments only; one of a name's lines suffices."""
    yield from _threads()
    yield from _memory()
    yield from _openings()
    # Only what concerns the descriptor itself. Among the others are ways to send signals.
    yield from (("fcntl", (_equals(1, command),)) for command in _FCNTLS)
    yield from (("ioctl", (_equals(1, command),)) for command in _IOCTLS)
    yield from (("prctl", (_equals(0, option),)) for option in (_PR_SET_NAME, _PR_GET_NAME))
    yield from (("arch_prctl", (_equals(0, option),)) for option in _XCOMP)
    # Renaming alone: another of its kinds leaves a device behind.
    yield "renameat2", (_equals(4, 0),)
    # Limits may be read, not set.
    yield "prlimit64", (_equals(2, 0),)
    # Signals only to itself: what `abort` does.
    yield "tgkill", (_equals(0, os.getpid()),)


def _threads() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the one way to start a thread: never a process, never in another namespace."""
    thread = _CLONE_VM | _CLONE_SIGHAND | _CLONE_THREAD
    yield "clone", (_masked(0, thread | _CLONE_NEW_NAMESPACES, thread),)


def _memory() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield what may be mapped: a file, or private memory, which the memory limit counts.

    It counts neither shared memory nor stacks that grow by themselves.
    """
    yield "mmap", (_masked(3, _MAP_ANONYMOUS | _MAP_GROWSDOWN, 0),)
    yield "mmap", (_masked(3, _MAP_KIND | _MAP_GROWSDOWN, _MAP_PRIVATE),)


def _openings() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield how files may be opened: emptied only where they may be written.

    Older versions of Landlock let a file that may only be read be emptied as it is opened.
    """
    for name, index in (("open", 1), ("openat", 2)):
        yield name, (_masked(index, os.O_TRUNC, 0),)
        for mode in (os.O_WRONLY, os.O_RDWR):
            yield name, (_masked(index, os.O_TRUNC | os.O_ACCMODE, os.O_TRUNC | mode),)


def _equals(argument: int, value: int) -> Any:
    import pyseccomp

    return pyseccomp.Arg(argument, pyseccomp.EQ, value)


def _masked(argument: int, mask: int, value: int) -> Any:
    import pyseccomp

    return pyseccomp.Arg(argument, pyseccomp.MASKED_EQ, mask, value)


def _add(rules: Any, action: int, name: str, *conditions: Any) -> None:
    import pyseccomp

    # Below 0 are the calls that this architecture, or this libseccomp, does not have.
    if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0:
        rules.add_rule_exactly(action, name, *conditions)
