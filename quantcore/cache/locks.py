"""Locks across processes and threads that the kernel releases when their holder dies.

Each is a `flock` on a descriptor of its own, so two threads exclude each other as two processes do.
Who holds a lock may delete its file; who waited for that file notices and takes the new one.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

POLL_S = 0.05

_held: set[int] = set()


def acquire(
    path: Path,
    operation: int,
    *,
    create: bool = False,
    check: Callable[[], None] | None = None,
) -> int:
    """Return a descriptor that locks the file at `path`; give it to `release`.

    Args:
        path: the file to lock.
        operation: of `fcntl.flock`: LOCK_SH or LOCK_EX, with LOCK_NB to not wait.
        create: make the file where there is none.
        check: called while waiting; what it raises ends the wait.

    Raises:
        FileNotFoundError: there is no such file, and `create` is False.
        BlockingIOError: another holds it, and `operation` has LOCK_NB.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
        _held.add(descriptor)
        try:
            _flock(descriptor, operation, check)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            release(descriptor)
            raise
        release(descriptor)


def release(descriptor: int) -> None:
    """Let go of a lock. Does nothing in a forked child, which holds none of its parent's."""
    if descriptor not in _held:
        return
    _held.discard(descriptor)
    # Unlocked by name: a child that is between fork and exec holds a copy of the descriptor.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Keep the existing file at `path` from being locked exclusively.

    Raises:
        FileNotFoundError: there is no such file.
    """
    descriptor = acquire(path, fcntl.LOCK_SH)
    try:
        yield
    finally:
        release(descriptor)


@contextmanager
def exclusive(path: Path, check: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock exclusively, after waiting for it; the file exists only meanwhile."""
    descriptor = acquire(path, fcntl.LOCK_EX, create=True, check=check)
    try:
        yield
    finally:
        # A lock file that cannot be removed does no harm, a lock that is not released does.
        with suppress(OSError):
            path.unlink()
        release(descriptor)


@contextmanager
def unused(path: Path, *, create: bool = False) -> Iterator[bool]:
    """Yield whether the file is there and nobody locks it; if so, nobody can meanwhile."""
    try:
        descriptor = acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB, create=create)
    except (BlockingIOError, FileNotFoundError):
        yield False
        return
    try:
        yield True
    finally:
        release(descriptor)


def _flock(descriptor: int, operation: int, check: Callable[[], None] | None) -> None:
    if check is None:
        fcntl.flock(descriptor, operation)
        return
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            check()
            time.sleep(POLL_S)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _forget_inherited() -> None:
    """Close a forked child's copies, which would keep the locks alive after the parent's death."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_inherited)
