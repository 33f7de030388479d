"""Paths that every locked process may read: what Python and torch need to run."""

import os
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

# The folder that holds the package: a checkout, or where it was installed.
PROJECT = Path(__file__).parents[3]
# The project's own code and what ships with it; never the whole folder, in which a data folder, a
# repository's history or a settings file may lie.
_OURS = ("quantcore", "bundled")
_PACKAGES = ("site-packages", "dist-packages")
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache")
_MACHINE = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/dev/urandom",
)
# Not all of /proc/self: its `environ` and `mem` hold secrets, and its `net` lists all
# connections.
_ITSELF = ("status", "stat", "statm", "maps")
# The rest of the environment is where credentials are.
_KEPT_VARIABLES = (
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "ORT_DISABLE_TELEMETRY",
    "PYTHONPATH",
    "PYTHONWARNINGS",
    "TORCH_CPP_LOG_LEVEL",
)


@cache
def runtime_paths() -> tuple[Path, ...]:
    """Return the files and folders that may always be read, those that exist, links resolved.

    What the kernel says about the process itself is not among them: its path differs in every
    process, and `enter` adds it.
    """
    wanted = [*_python(), *map(Path, _LIBRARIES), *map(Path, _MACHINE)]
    wanted += [PROJECT / name for name in _OURS]
    existing = {path.resolve() for path in wanted if path.exists()}
    return tuple(sorted(path for path in existing if not existing.intersection(path.parents)))


def _python() -> Iterator[Path]:
    """Yield where the standard library and the installed packages are."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    yield Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))
    for folder in [*sys.path, *site.getsitepackages()]:
        if Path(folder).name in _PACKAGES:
            yield Path(folder)


def own_paths() -> tuple[Path, ...]:
    """Return the files in which the kernel describes the calling process, of those it may read."""
    return tuple(Path("/proc/self", name) for name in _ITSELF)


def import_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the `PYTHONPATH` by which a child finds the package; none where it needs none.

    Python's own folders are left out: on `PYTHONPATH`, installed packages would come before the
    standard library.
    """
    folders = [str(PROJECT), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    own = {*site.getsitepackages(), ""}
    path = os.pathsep.join(dict.fromkeys(each for each in folders if each not in own))
    return {"PYTHONPATH": path} if path else {}


def quiet_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the few variables that a locked process, and the one it is forked from, needs."""
    return {name: environment[name] for name in _KEPT_VARIABLES if name in environment}
