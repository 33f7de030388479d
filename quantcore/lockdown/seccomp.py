"""seccomp: which calls to the kernel this thread, and those it starts, may still make.

What is not listed is refused with EPERM. The list is what Python, torch, OpenMP, Pillow and ONNX
Runtime use to compute and to read and write files; there is no way to another process, program,
namespace or network in it.
"""

import errno
from typing import Any

import pyseccomp

CLONE_THREAD = 0x00010000
# Of the namespaces that a new thread could be given, and of vfork.
CLONE_NEVER = 0x7E020000 | 0x00004000 | 0x00000080
ALLOWED = """
read write pread64 pwrite64 readv writev preadv pwritev lseek open openat close close_range
stat fstat lstat newfstatat fstatat64 statx statfs fstatfs access faccessat faccessat2
getdents getdents64 readlink readlinkat getcwd chdir mkdir mkdirat rmdir unlink unlinkat
rename renameat renameat2 ftruncate truncate fsync fdatasync fallocate fadvise64 flock fcntl
sendfile copy_file_range dup dup2 dup3 pipe pipe2 poll ppoll select pselect6
epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 umask
mmap mprotect munmap mremap madvise brk msync mincore membarrier get_mempolicy
futex set_robust_list get_robust_list rseq set_tid_address
gettid getpid getppid getpgrp getuid geteuid getgid getegid getresuid getresgid getgroups
sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min getcpu getpriority
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage getrlimit
arch_prctl uname sysinfo getrandom exit exit_group restart_syscall
"""
# Terminals and sizes are asked for; nothing is ever told to a device.
IOCTLS = {"TCGETS": 0x5401, "FIONREAD": 0x541B, "FIOCLEX": 0x5451, "TIOCGWINSZ": 0x5413}
PRCTLS = {"PR_SET_NAME": 15, "PR_GET_NAME": 16, "PR_SET_VMA": 0x53564D41}


def prepared(process: int) -> Any:
    """Return the filter of a process that has this id; `load` puts it in force."""
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in ALLOWED.split():
        _rule(rules, pyseccomp.ALLOW, name)
    # Threads, but no processes. glibc asks with clone3 first, whose flags cannot be looked at.
    _rule(rules, pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    _rule(
        rules,
        pyseccomp.ALLOW,
        "clone",
        pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_THREAD | CLONE_NEVER, CLONE_THREAD),
    )
    # Ending itself, as abort does.
    _rule(rules, pyseccomp.ALLOW, "tgkill", pyseccomp.Arg(0, pyseccomp.EQ, process))
    # Its own limits may be read.
    _rule(
        rules,
        pyseccomp.ALLOW,
        "prlimit64",
        pyseccomp.Arg(0, pyseccomp.EQ, 0),
        pyseccomp.Arg(2, pyseccomp.EQ, 0),
    )
    for number in IOCTLS.values():
        _rule(rules, pyseccomp.ALLOW, "ioctl", pyseccomp.Arg(1, pyseccomp.EQ, number))
    for number in PRCTLS.values():
        _rule(rules, pyseccomp.ALLOW, "prctl", pyseccomp.Arg(0, pyseccomp.EQ, number))
    return rules


def load(rules: Any) -> None:
    """Put a filter in force, for this thread and those it starts.

    Raises:
        OSError: the kernel refused.
    """
    rules.load()


def _rule(rules: Any, action: int, name: str, *arguments: Any) -> None:
    try:
        pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    except (ValueError, OSError):
        # No such call on this processor.
        return
    rules.add_rule(action, name, *arguments)
