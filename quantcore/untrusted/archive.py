"""Zip files as strangers bring them: every claim is checked before anything is read.

Two programs that read one zip can see different files in it: they may believe the central directory
or the headers before each member, take the first or the last of two members with one name, or look
for the end in different places. So a zip is only taken where all of these agree. Nothing is ever
unpacked to disk, and nothing is read beyond what a member says it holds.
"""

import re
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quantcore.errors import RequestError
from quantcore.wording import count

MAX_ENTRIES = 20_000
MAX_PICTURE_ENTRIES = 200_000
MAX_NAME_BYTES = 512
MAX_DEPTH = 32
MAX_TOTAL_BYTES = 16 * 2**30
MAX_DIRECTORY_BYTES = 128 * 2**20
MAX_RATIO = 200
SMALL_BYTES = 2**20
CHUNK = 2**20
MAGIC = b"PK\x03\x04"
EMPTY_MAGIC = b"PK\x05\x06"
STORED, DEFLATED = 0, 8
ENCRYPTED = 0x0001 | 0x0040 | 0x2000
SIZES_FOLLOW = 0x0008
UTF8 = 0x0800
# After a member whose sizes follow it: a signature, a checksum and two sizes of 8 bytes at most.
LONGEST_DESCRIPTOR = 24
UNKNOWN_32 = 0xFFFFFFFF
END = struct.Struct("<4s4H2LH")
END_64_PLACE = struct.Struct("<4sLQL")
END_64 = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
AGAIN = "Save or download the file again, and upload it as it is."


@dataclass(frozen=True)
class Entry:
    """One member: what the directory says of it, and where its bytes start in the file."""

    name: str
    size: int
    packed: int
    method: int
    checksum: int
    start: int


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
            return Archive(path, _entries(file, path.stat().st_size, pictures))
    except (struct.error, OverflowError) as error:
        raise _damaged("it ends too early") from error


def _entries(file: BinaryIO, length: int, pictures: bool) -> dict[str, Entry]:
    start, size, number = _directory(file, length, pictures)
    _limit_number(number, pictures)
    if size > MAX_DIRECTORY_BYTES or start + size > length:
        raise _damaged("its list of contents is larger than the file")
    file.seek(start)
    directory = file.read(size)
    entries: dict[str, Entry] = {}
    ends = []
    position = total = 0
    folded = set()
    for _ in range(number):
        entry, header, taken = _central(directory, position, pictures)
        position += taken
        entry, first, last = _local(file, entry, header, length)
        ends.append((first, last, entry.name))
        if entry.name.casefold() in folded:
            raise RequestError(f"The file holds {shown(entry.name)} twice.", AGAIN)
        folded.add(entry.name.casefold())
        entries[entry.name] = entry
        total += entry.size
        if total > MAX_TOTAL_BYTES:
            raise RequestError(
                f"The file would unpack to more than {MAX_TOTAL_BYTES / 2**30:.0f} GB.",
                "Upload a smaller model.",
            )
    if position != size:
        raise _damaged("its list of contents has another length than it says")
    _no_overlap(ends, start, pictures)
    return dict(sorted(entries.items(), key=lambda item: item[1].start))


def _limit_number(number: int, pictures: bool) -> None:
    most = MAX_PICTURE_ENTRIES if pictures else MAX_ENTRIES
    if number > most:
        raise RequestError(
            f"The zip holds {count(number, 'file')}, more than the {most:,} that are taken.",
            "Upload fewer pictures." if pictures else "Save the model's state_dict alone.",
        )


def _directory(file: BinaryIO, length: int, pictures: bool) -> tuple[int, int, int]:
    """Return start, size and number of entries of the central directory."""
    place = _end_place(file, length, pictures)
    file.seek(place)
    _, disk, first_disk, here, number, size, start, _ = END.unpack(file.read(END.size))
    end = place
    if number == 0xFFFF or UNKNOWN_32 in {size, start} or _has_end_64(file, place):
        file.seek(place - END_64_PLACE.size)
        magic, _, record, disks = END_64_PLACE.unpack(file.read(END_64_PLACE.size))
        if magic != b"PK\x06\x07" or disks != 1 or record + END_64.size > length:
            raise _damaged("its end cannot be read")
        file.seek(record)
        magic, _, _, _, disk, first_disk, here, number, size, start = END_64.unpack(
            file.read(END_64.size)
        )
        if magic != b"PK\x06\x06" or record + END_64.size != place - END_64_PLACE.size:
            raise _damaged("its end cannot be read")
        end = record
    if disk or first_disk or here != number:
        raise _damaged("it is one part of several")
    if start + size != end:
        raise _damaged("something stands before, between or after its parts")
    return start, size, number


def _has_end_64(file: BinaryIO, place: int) -> bool:
    if place < END_64_PLACE.size:
        return False
    file.seek(place - END_64_PLACE.size)
    return file.read(4) == b"PK\x06\x07"


def _end_place(file: BinaryIO, length: int, pictures: bool) -> int:
    """Return where the end record starts: the last bytes, or before a comment of fitting length."""
    longest = END.size + (0xFFFF if pictures else 0)
    tail_start = max(0, length - longest)
    file.seek(tail_start)
    tail = file.read(longest)
    found = [
        match.start()
        for match in re.finditer(rb"PK\x05\x06", tail)
        if match.start() + END.size <= len(tail)
        and match.start() + END.size + END.unpack_from(tail, match.start())[-1] == len(tail)
    ]
    if len(found) != 1:
        raise _damaged(
            "its end is missing, so it was cut off or something was added to it"
            if not found
            else "it has two ends"
        )
    return tail_start + found[0]


def _central(directory: bytes, position: int, pictures: bool) -> tuple[Entry, bytes, int]:
    """Return an entry (with the place of its header as its start), its name and its length."""
    fields = CENTRAL.unpack_from(directory, position)
    magic, _, _, flags, method, _, _, checksum, packed, size = fields[:10]
    name_length, extra_length, comment_length, disk, _, attributes, header = fields[10:]
    position += CENTRAL.size
    raw = directory[position : position + name_length]
    extra = directory[position + name_length : position + name_length + extra_length]
    if magic != b"PK\x01\x02" or len(raw) + len(extra) != name_length + extra_length:
        raise _damaged("its list of contents cannot be read")
    name = _name(raw, flags, pictures)
    if flags & ENCRYPTED:
        raise RequestError("The zip is locked with a password.", "Upload it without a password.")
    if method not in {STORED, DEFLATED}:
        raise RequestError(
            f"{shown(name)} inside the zip is packed in a way that is not read here.",
            "Zip it in the ordinary way (deflate), or upload the file as torch.save wrote it.",
        )
    _ordinary(name, attributes >> 16, disk)
    size, packed, header = _wide(extra, size, packed, header)
    if method == STORED and size != packed:
        raise _damaged(f"{shown(name)} has two sizes")
    if method == DEFLATED and size > SMALL_BYTES and size > MAX_RATIO * packed:
        raise RequestError(
            f"{shown(name)} inside the zip would unpack to {size:,} bytes from {packed:,}.",
            "Such files are made to fill a machine. Upload the model as torch.save wrote it.",
        )
    taken = CENTRAL.size + name_length + extra_length + comment_length
    return Entry(name, size, packed, method, checksum, header), raw, taken


def _ordinary(name: str, mode: int, disk: int) -> None:
    kind = stat.S_IFMT(mode)
    if stat.S_ISLNK(mode):
        raise RequestError(
            f"{shown(name)} inside the zip is a link to another file.",
            "Zip the files themselves.",
        )
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or disk not in {0, 0xFFFF}:
        raise _damaged(f"{shown(name)} is not a file")


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Return the figures with those of 64 bits put in where 32 bits were too few."""
    values = [size, packed, header]
    if UNKNOWN_32 not in values:
        return size, packed, header
    wide = _zip64(extra)
    for index, value in enumerate(values):
        if value == UNKNOWN_32:
            if len(wide) < 8:
                raise _damaged("a size is missing")
            values[index] = int.from_bytes(wide[:8], "little")
            wide = wide[8:]
    return values[0], values[1], values[2]


def _zip64(extra: bytes) -> bytes:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""


def _name(raw: bytes, flags: int, pictures: bool) -> str:
    if not raw or len(raw) > MAX_NAME_BYTES:
        raise RequestError(
            f"A file inside the zip has a name of {len(raw):,} bytes.",
            f"Names may have 1 to {MAX_NAME_BYTES}.",
        )
    try:
        name = raw.decode("utf-8" if flags & UTF8 else "cp437" if pictures else "ascii")
    except UnicodeDecodeError as error:
        raise RequestError(
            "A file inside the zip has a name that is not text (not UTF-8).",
            "Upload the file as torch.save wrote it, or zip it again with another program.",
        ) from error
    parts = name.removesuffix("/").split("/")
    # A name that cannot be printed cannot be told either, so it is not.
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise RequestError("A file inside the zip has control characters in its name.", AGAIN)
    if (
        "\\" in name
        or re.match(r"[A-Za-z]:", name)
        or any(part in {"", ".", ".."} for part in parts)
        or len(parts) > MAX_DEPTH
    ):
        raise RequestError(
            f"{shown(name)!r} inside the zip names a place outside of it, or is no plain path.",
            "Zip the files with plain names: folder/name.",
        )
    return name


def _local(file: BinaryIO, entry: Entry, raw: bytes, length: int) -> tuple[Entry, int, int]:
    """Hold the header before a member against the directory; return its first and last byte."""
    header = entry.start
    if header + LOCAL.size > length:
        raise _damaged(f"{shown(entry.name)} lies outside of the file")
    file.seek(header)
    fields = LOCAL.unpack(file.read(LOCAL.size))
    magic, _, flags, method, _, _, checksum, packed, size, name_length, extra_length = fields
    name, extra = file.read(name_length), file.read(extra_length)
    if magic != MAGIC or name != raw or method != entry.method or flags & ENCRYPTED:
        raise _damaged(f"its list of contents and what stands before {shown(entry.name)} disagree")
    size, packed, _ = _wide(extra, size, packed, 0)
    told = (checksum, packed, size)
    meant = (entry.checksum, entry.packed, entry.size)
    if told != meant and not (
        flags & SIZES_FOLLOW and all(x in {0, y} for x, y in zip(told, meant, strict=True))
    ):
        raise _damaged(f"two sizes are given for {shown(entry.name)}")
    start = header + LOCAL.size + name_length + extra_length
    if start + entry.packed > length:
        raise _damaged(f"{shown(entry.name)} reaches beyond its end")
    last = start + entry.packed + (LONGEST_DESCRIPTOR if flags & SIZES_FOLLOW else 0)
    placed = Entry(entry.name, entry.size, entry.packed, method, entry.checksum, start)
    return placed, header, last


def _no_overlap(ends: list[tuple[int, int, str]], directory: int, pictures: bool) -> None:
    """Refuse members that share bytes, and (in models) bytes that belong to no member.

    A member's last byte is known up to the 24 bytes that may follow it.
    """
    position = 0
    for first, last, name in [*sorted(ends), (directory, directory, "its list of contents")]:
        if first < position - LONGEST_DESCRIPTOR:
            raise RequestError(f"{shown(name)} and another file in the zip share bytes.", AGAIN)
        if first > position and not pictures:
            raise _damaged("something stands before or between its parts")
        position = max(position, last)


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


def shown(name: str) -> str:
    """Return a stranger's name as it can stand in a sentence: printable, and not too long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name[:100])
    return plain if len(plain) <= 80 else f"{plain[:77]}..."


def _damaged(how: str) -> RequestError:
    return RequestError(f"The zip is damaged: {how}.", AGAIN)
