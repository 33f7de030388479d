"""Members of zip files of pictures, checked against limits and read into memory one at a time.

Nothing is unpacked to disk, so a member's name can harm nothing, and limits on count and size keep
a small zip from filling the machine.
"""

import os
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath

from quantcore.errors import RequestError
from quantcore.images.listed import MAX_BYTES as MAX_TABLE_BYTES
from quantcore.images.listed import is_table
from quantcore.images.suffixes import is_picture

MAX_FILE_BYTES = 64 * 2**20
MAX_ZIP_BYTES = 8 * 2**30
# Errors of reading a member whose bytes are not those that were packed.
READ_ERRORS = (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def zip_members(path: Path, title: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip by name, folders left out.

    Raises:
        RequestError: it cannot be read, or holds more than the limits; the sentence has the title.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise RequestError(
            f"{title} cannot be read as a zip file ({error}).", "Name a folder or a zip file."
        ) from error
    for member in members:
        _check_member(title, member)
    if sum(member.file_size for member in members) > MAX_ZIP_BYTES:
        raise RequestError(
            f"{title} unpacks to more than {MAX_ZIP_BYTES // 2**30} GiB.",
            "Take fewer pictures, or unpack it and name the folder.",
        )
    return {member.filename: member for member in members}


def _check_member(title: str, member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        raise RequestError(
            f"{title} holds the path {member.filename!r}, which points out of it.",
            "Pack the folder again; such a zip is not safe to open.",
        )
    if member.flag_bits & 1:
        raise RequestError(f"{title} is encrypted.", "Pack it without a password.")
    limit = MAX_TABLE_BYTES if is_table(name) else MAX_FILE_BYTES
    if member.file_size > limit and (is_picture(name) or is_table(name)):
        raise RequestError(
            f"{member.filename} in {title} is larger than {limit // 2**20} MiB.",
            "Scale it down." if is_picture(name) else "Name each picture in it once.",
        )


def read_member(path: Path, modified_ns: int, name: str) -> bytes:
    """Return the bytes of a member; raises one of `READ_ERRORS` where they are damaged."""
    return open_zip(path, modified_ns, os.getpid()).read(name)


@lru_cache(maxsize=2)
def open_zip(path: Path, _modified_ns: int, _process: int) -> zipfile.ZipFile:
    """Return the opened zip: its list of contents would take long to read for each picture.

    Each process has its own, since forked ones would share the position in the file.
    """
    return zipfile.ZipFile(path)
