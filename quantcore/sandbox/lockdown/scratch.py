"""Scratch folders in which a hostile process could write: how much they hold, and their removal.

Nothing bounds how much it wrote in all, how deep its folders nest, or who may enter them, so what
is used for ordinary folders (`shutil.rmtree` calls itself for each level) does not do here.
"""

import os
from collections.abc import Iterable
from pathlib import Path

# What an entry costs the disk at the least.
_ENTRY_BYTES = 4_096
_TOO_DEEP_BYTES = 2**62


def used_bytes(folders: Iterable[Path]) -> int:
    """Return the bytes used in the folders, while a process may still be writing into them.

    Folders too deep or too closed to look into count as more than any limit.
    """
    total, waiting = 0, [os.fspath(folder) for folder in folders]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += max(_ENTRY_BYTES, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return _TOO_DEEP_BYTES
    return total


def discard(folder: Path) -> None:
    """Remove the folder and all in it, if it exists; no process may be writing into it.

    Nested folders are moved up to where they can be reached, so that none is too deep.
    """
    if not folder.exists():
        return
    moved = 0
    while folders := _remove_files(folder):
        for nested in folders:
            for inner in _remove_files(nested):
                os.rename(inner, folder / f".moved-{moved}")  # noqa: PTH104
                moved += 1
            os.rmdir(nested)  # noqa: PTH106
    folder.rmdir()


def _remove_files(folder: str | Path) -> list[str]:
    """Remove what is no folder; return the folders, opened to this user."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)  # noqa: PTH101
                folders.append(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108
    return folders
