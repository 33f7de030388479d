"""Exported files in a folder of the user's: whole or not at all, and never over another file."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from quantcore.errors import RequestError, StoreError

REPORT_SUFFIX = ".verification.json"


def require_free(folder: Path, names: list[str], *, force: bool) -> None:
    """Refuse a target that could not be written in the end, before anything is made.

    Raises:
        RequestError: it cannot be a folder, or has a file of that name and `force` is False.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise RequestError(f"{there} is a file, not a folder.", "Name another folder with --out.")
    for name in names:
        if (folder / name).exists() and not force:
            raise _exists(folder / name)


def deliver(folder: Path, contents: Mapping[str, Path | bytes], *, force: bool) -> list[Path]:
    """Write files into a folder, each under its name, and return where they are.

    All are written under other names first, so that a full disk leaves nothing behind.

    Args:
        folder: made where it is not there.
        contents: by name: bytes, or a file to copy.
        force: write over what is there.

    Raises:
        RequestError: a name is taken, and `force` is False.
        StoreError: the folder cannot be written to, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _drafts(folder, contents) as drafts:
            return _published(folder, drafts, force)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written to: {error.strerror or error}.",
            "Make room there, or name another folder.",
        ) from error


@contextmanager
def _drafts(folder: Path, contents: Mapping[str, Path | bytes]) -> Iterator[dict[str, Path]]:
    mark = secrets.token_hex(4)
    drafts = {name: folder / f".{name}.{mark}.part" for name in contents}
    try:
        for name, draft in drafts.items():
            content = contents[name]
            if isinstance(content, Path):
                shutil.copyfile(content, draft)
            else:
                draft.write_bytes(content)
        yield drafts
    finally:
        for draft in drafts.values():
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _published(folder: Path, drafts: Mapping[str, Path], force: bool) -> list[Path]:
    """Give the drafts their names; where one is taken meanwhile, none keeps its own."""
    done: list[Path] = []
    try:
        for name, draft in drafts.items():
            done.append(_publish(draft, folder / name, force))
    except RequestError:
        for path in done:
            path.unlink(missing_ok=True)
        raise
    return done


def _publish(draft: Path, target: Path, force: bool) -> Path:
    if force:
        draft.replace(target)
        return target
    try:
        # Unlike a rename, a hard link fails where the name exists meanwhile.
        os.link(draft, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:
        # A file system without hard links.
        if target.exists():
            raise _exists(target) from None
        draft.replace(target)
    return target


def _exists(target: Path) -> RequestError:
    return RequestError(
        f"{target} is there already.", "Name another folder with --out, or write over it: --force."
    )
