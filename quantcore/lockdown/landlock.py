"""Landlock: which files this thread, and those it starts, may still open.

The kernel's three calls are made here: the package of that name on PyPI knows files only, and newer
kernels also hold network ports, signals and abstract sockets. Numbers are those of
`include/uapi/linux/landlock.h`; they are the same on every architecture.
"""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION = 1
PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_DIR, MAKE_REG = 1 << 7, 1 << 8
TRUNCATE = 1 << 14
# All rights over files that a version of Landlock knows: 13 at first, then more.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
PORTS = 0b11
ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Return the version of Landlock that the kernel has; 0 or less where it has none."""
    try:
        return _call(CREATE_RULESET, None, 0, ASK_VERSION)
    except OSError:
        return 0


def restrict(reads: Sequence[Path], writes: Sequence[Path]) -> None:
    """Let this thread open nothing but what lies under these paths, nor use any port.

    `no_new_privs` must be set. Devices are read and written where they are named.

    Raises:
        OSError: the kernel refused.
    """
    known = version()
    handled = (1 << FILE_RIGHTS[min(known, max(FILE_RIGHTS))]) - 1
    ruleset = _Ruleset(handled, PORTS, ABSTRACT_SOCKETS_AND_SIGNALS)
    size = 8 if known < 4 else 16 if known < 6 else 24
    descriptor = _call(CREATE_RULESET, ctypes.byref(ruleset), size, 0)
    try:
        for path in reads:
            _allow(
                descriptor, path, READ | (WRITE_FILE if path == Path(os.devnull) else 0), handled
            )
        for path in writes:
            _allow(descriptor, path, WRITE, handled)
        _call(RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def _allow(ruleset: int, path: Path, rights: int, handled: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = rights & handled & (-1 if path.is_dir() else OF_A_FILE)
        rule = _PathBeneath(allowed, parent)
        _call(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    given = [
        ctypes.c_long(each) if isinstance(each, int) else each for each in (number, *arguments)
    ]
    answer = int(libc.syscall(*given))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
