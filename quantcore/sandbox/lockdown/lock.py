"""The permissions and limits of one locked process."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from quantcore.errors import LockError

_FOLDERS = ("reads", "writes")


@dataclass(frozen=True)
class Lock:
    """The few things a locked process may do beyond running Python and its libraries.

    Attributes:
        reads: files and folders it may read, beside `runtime_paths()`.
        writes: scratch folders, in which it may read, write, make and remove regular files and
            folders. It starts in the first.
        memory_bytes: memory it may take.
        cpu_s: seconds its threads may compute, all together.
        file_bytes: how large one file may become that it writes.
        open_files: how many files it may hold open.
        threads: threads it may start, roughly: they are counted over the whole machine. Nothing
            counts the threads of root.
    """

    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    memory_bytes: int = 4_000_000_000
    cpu_s: int = 600
    file_bytes: int = 2_000_000_000
    open_files: int = 256
    threads: int = 1_024

    def __post_init__(self) -> None:
        for name in _FOLDERS:
            for path in getattr(self, name):
                if not path.is_absolute():
                    raise _unreadable(f"{name} names {str(path)!r}, which is no absolute path")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in _FOLDERS and (type(value) is not int or value < 1):
                raise _unreadable(f"{field.name} is {value!r}, which is no whole number above 0")

    def to_dict(self) -> dict[str, Any]:
        """Return the lock as plain data for JSON."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {name: [str(path) for path in plain[name]] for name in _FOLDERS}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Lock":
        """Return the lock that `to_dict` wrote.

        Raises:
            LockError: the data holds a name or a value that no lock has.
        """
        unknown = set(plain) - {field.name for field in fields(cls)}
        if unknown:
            raise _unreadable(f"it names {', '.join(sorted(unknown))}, which no lock has")
        folders = {
            name: tuple(Path(text) for text in plain[name]) for name in _FOLDERS if name in plain
        }
        return cls(**{**plain, **folders})


def _unreadable(what: str) -> LockError:
    return LockError(f"The lock for uploaded files is not one: {what}.", "")
