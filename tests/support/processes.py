"""Which processes are there, whether they are gone, and how a test waits for that."""

import threading
import time
from collections.abc import Callable
from typing import NoReturn

import psutil

# What a busy machine may need for what takes seconds on an idle one.
PATIENCE_S = 120.0


def is_gone(pid: int) -> bool:
    """Return whether the process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def soon(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
    """Wait until the condition holds; return whether it did in time.

    Patient by default: it ends as soon as the condition holds, and a machine may be busy.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def hang() -> NoReturn:
    """Do nothing for ever, as a process does that a test is going to kill."""
    threading.Event().wait()
    raise AssertionError("nobody sets this event")


def descendants(pid: int) -> dict[str, list[int]]:
    """Return the processes under one by what they are: worker, process pool, child, other."""
    found: dict[str, list[int]] = {}
    for process in psutil.Process(pid).children(recursive=True):
        found.setdefault(_kind(process), []).append(process.pid)
    return found


def _kind(process: psutil.Process) -> str:
    try:
        command = " ".join(process.cmdline())
        if "quantcore.sandbox.fork_server" in command:
            parent = process.parent()
            is_child = parent is not None and "quantcore.sandbox.fork_server" in " ".join(
                parent.cmdline()
            )
            return "child" if is_child else "pool"
        if "quantcore.jobs.cluster" in command:
            return "cluster"
        return "worker" if "spawn_main" in command else "other"
    except psutil.NoSuchProcess:
        return "other"
