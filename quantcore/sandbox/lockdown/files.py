"""Landlock: which files a process may open, and that it connects to nothing.

The package `landlock` makes the rules about files. Two kinds of rules that kernels learned after
it was written, about TCP and about sockets and signals, are added here.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quantcore.errors import LockError

_NETWORK_SINCE = 4
_BIND_AND_CONNECT_TCP = 0b11
_SCOPES_SINCE = 6
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_PATH_BENEATH = 1


class _Attributes(ctypes.Structure):
    """The kernel's `landlock_ruleset_attr`: the package's fields, and those of newer kernels."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


def restrict(reads: Iterable[Path], devices: Iterable[Path], writes: Iterable[Path]) -> None:
    """Let the calling thread, and threads it starts, open these files and no others.

    `devices` may be read and written, but not replaced.

    Raises:
        LockError: the kernel has no Landlock, or a path is not there.
    """
    from landlock.plumbing import FSAccess

    may_read = FSAccess.READ_FILE | FSAccess.READ_DIR
    may_write = may_read | FSAccess.WRITE_FILE | FSAccess.TRUNCATE
    may_make = FSAccess.MAKE_REG | FSAccess.MAKE_DIR | FSAccess.REMOVE_FILE | FSAccess.REMOVE_DIR
    may_make |= FSAccess.REFER
    try:
        # All that this kernel supports.
        supported = _call(FSAccess.all)
        ruleset = _ruleset(supported)
        for paths, access in (
            (reads, may_read),
            (devices, may_write),
            (writes, may_write | may_make),
        ):
            for path in paths:
                _allow(ruleset, path, access & supported)
        _apply(ruleset)
        os.close(ruleset)
    except OSError as error:
        raise LockError(
            f"The lock for uploaded files could not be closed: {error}.",
            "It needs a Linux kernel with Landlock, and the folders it names.",
        ) from error


def _ruleset(files: int) -> int:
    """Return the descriptor of an empty set of rules: whatever no rule allows is refused."""
    from landlock.plumbing import RulesetAttr, get_create_ruleset, landlock_abi_version

    version = landlock_abi_version()
    handled = [files]
    if version >= _NETWORK_SINCE:
        handled.append(_BIND_AND_CONNECT_TCP)
    if version >= _SCOPES_SINCE:
        handled.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    attributes = _Attributes(*handled)
    pointer = ctypes.cast(ctypes.byref(attributes), ctypes.POINTER(RulesetAttr))
    # A kernel that knows fewer fields takes the longer structure, as the others are 0.
    return int(_call(get_create_ruleset(), pointer, ctypes.sizeof(attributes), 0))


def _allow(ruleset: int, path: Path, access: Any) -> None:
    from landlock.plumbing import FSAccess, PathBeneathAttr, get_add_rule

    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not path.is_dir():
        access &= FSAccess.all_file()
    rule = PathBeneathAttr(access, descriptor)
    _call(get_add_rule(), ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    # What lies in /proc has no lasting identity: the kernel may forget it, and the rule with it,
    # unless somebody holds on to it. Such a descriptor can be used for nothing else.
    if not str(path).startswith("/proc/"):
        os.close(descriptor)


def _apply(ruleset: int) -> None:
    from landlock.plumbing import PR_SET_NO_NEW_PRIVS, get_prctl, get_restrict_self

    _call(get_prctl(), PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call(get_restrict_self(), ruleset, 0)


def _call(function: Any, *arguments: Any) -> Any:
    # The package takes an `errno` left over from earlier calls for a failure of this one.
    ctypes.set_errno(0)
    return function(*arguments)
