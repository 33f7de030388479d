"""Zip files from untrusted sources: members of a checked archive, read into memory.

Nothing is ever unpacked to disk, and nothing is read beyond what a member says it holds.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quantcore.errors import RequestError
from quantcore.untrusted.text import shown
from quantcore.untrusted.zip_structure import AGAIN, DEFLATED, Entry, damaged, read_entries

CHUNK = 2**20


@dataclass(frozen=True)
class Archive:
    """A zip whose structure was checked: its members by name, in the order of their bytes."""

    path: Path
    entries: Mapping[str, Entry]

    def read(self, name: str, limit: int) -> bytes:
        """Return a member's bytes, its checksum checked.

        Raises:
            RequestError: it holds more bytes than the limit, or other bytes than it says.
        """
        if self.entries[name].size > limit:
            raise RequestError(
                f"{shown(name)} inside the file holds {self.entries[name].size:,} bytes, more "
                f"than the {limit:,} that are read.",
                "Save the model's state_dict alone, without the rest of the training.",
            )
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a member's bytes in pieces, and check their number and checksum at the end.

        Raises:
            RequestError: the bytes are not those the directory promises.
        """
        entry = self.entries[name]
        checksum, total = 0, 0
        with self.path.open("rb") as file:
            file.seek(entry.start)
            for piece in _unpacked(file, entry):
                checksum, total = zlib.crc32(piece, checksum), total + len(piece)
                if total > entry.size:
                    break
                yield piece
        if total != entry.size or checksum != entry.checksum:
            raise RequestError(
                f"{shown(name)} inside the file is damaged: its bytes are not those that were "
                "written.",
                AGAIN,
            )


def open_archive(path: Path, pictures: bool = False) -> Archive:
    """Return the checked members of a zip.

    Args:
        path: of the file.
        pictures: it holds pictures, not a model: more members are allowed, names need not be UTF-8
            and a comment may follow, since programs that people zip pictures with do as they like.

    Raises:
        RequestError: the zip is damaged, is a bomb, or can be read in two ways.
    """
    try:
        with path.open("rb") as file:
            return Archive(path, read_entries(file, path.stat().st_size, pictures))
    except (struct.error, OverflowError) as error:
        raise damaged("it ends too early") from error


def _unpacked(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    left = entry.packed
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == DEFLATED else None
    while left:
        packed = file.read(min(CHUNK, left))
        if not packed:
            return
        left -= len(packed)
        if unpacker is None:
            yield packed
            continue
        try:
            while packed:
                yield unpacker.decompress(packed, CHUNK)
                packed = unpacker.unconsumed_tail
        except zlib.error:
            # Too few bytes came, which the caller counts.
            return
