"""The structure of a zip file, parsed and cross-checked before any member is read.

Two programs that read one zip can see different files in it: they may believe the central directory
or the headers before each member, take the first or the last of two members with one name, or look
for the end in different places. So a zip is refused unless all of these agree.
"""

import re
import stat
import struct
from dataclasses import dataclass
from typing import BinaryIO

from quantcore.errors import RequestError
from quantcore.untrusted.text import shown
from quantcore.wording import count

MAX_ENTRIES = 20_000
MAX_PICTURE_ENTRIES = 200_000
MAX_NAME_BYTES = 512
MAX_DEPTH = 32
MAX_TOTAL_BYTES = 16 * 2**30
MAX_DIRECTORY_BYTES = 128 * 2**20
MAX_RATIO = 200
SMALL_BYTES = 2**20
MAGIC = b"PK\x03\x04"
EMPTY_MAGIC = b"PK\x05\x06"
STORED, DEFLATED = 0, 8
ENCRYPTED = 0x0001 | 0x0040 | 0x2000
SIZES_FOLLOW = 0x0008
UTF8 = 0x0800
# After a member whose sizes follow it: a signature, a checksum and two sizes of 8 bytes at most.
MAX_DESCRIPTOR = 24
UNKNOWN_32 = 0xFFFFFFFF
END = struct.Struct("<4s4H2LH")
END_64_LOCATOR = struct.Struct("<4sLQL")
END_64 = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
AGAIN = "Save or download the file again, and upload it as it is."


@dataclass(frozen=True)
class Entry:
    """One member, as the directory describes it, and where its bytes start in the file."""

    name: str
    size: int
    packed: int
    method: int
    checksum: int
    start: int


def read_entries(file: BinaryIO, length: int, pictures: bool) -> dict[str, Entry]:
    """Return the members of a zip by name, in the order of their bytes.

    Args:
        file: the zip.
        length: of the file, bytes.
        pictures: as in `open_archive`.

    Raises:
        RequestError: as `open_archive`.
    """
    start, size, number = _directory(file, length, pictures)
    _limit_number(number, pictures)
    if size > MAX_DIRECTORY_BYTES or start + size > length:
        raise damaged("its list of contents is larger than the file")
    file.seek(start)
    directory = file.read(size)
    entries: dict[str, Entry] = {}
    ends = []
    position = total = 0
    folded = set()
    for _ in range(number):
        entry, header, length_of_entry = _central(directory, position, pictures)
        position += length_of_entry
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
        raise damaged("its list of contents has another length than it says")
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
    end_start = _find_end(file, length, pictures)
    file.seek(end_start)
    _, disk, first_disk, on_disk, number, size, start, _ = END.unpack(file.read(END.size))
    end = end_start
    if number == 0xFFFF or UNKNOWN_32 in {size, start} or _has_end_64(file, end_start):
        file.seek(end_start - END_64_LOCATOR.size)
        magic, _, record, disks = END_64_LOCATOR.unpack(file.read(END_64_LOCATOR.size))
        if magic != b"PK\x06\x07" or disks != 1 or record + END_64.size > length:
            raise damaged("its end cannot be read")
        file.seek(record)
        magic, _, _, _, disk, first_disk, on_disk, number, size, start = END_64.unpack(
            file.read(END_64.size)
        )
        if magic != b"PK\x06\x06" or record + END_64.size != end_start - END_64_LOCATOR.size:
            raise damaged("its end cannot be read")
        end = record
    if disk or first_disk or on_disk != number:
        raise damaged("it is one part of several")
    if start + size != end:
        raise damaged("something stands before, between or after its parts")
    return start, size, number


def _has_end_64(file: BinaryIO, end_start: int) -> bool:
    if end_start < END_64_LOCATOR.size:
        return False
    file.seek(end_start - END_64_LOCATOR.size)
    return file.read(4) == b"PK\x06\x07"


def _find_end(file: BinaryIO, length: int, pictures: bool) -> int:
    """Return the offset of the end record: the last bytes, or before a comment that fits."""
    longest = END.size + (0xFFFF if pictures else 0)
    tail_start = max(0, length - longest)
    file.seek(tail_start)
    tail = file.read(longest)
    ends = [
        match.start()
        for match in re.finditer(rb"PK\x05\x06", tail)
        if match.start() + END.size <= len(tail)
        and match.start() + END.size + END.unpack_from(tail, match.start())[-1] == len(tail)
    ]
    if len(ends) != 1:
        raise damaged(
            "its end is missing, so it was cut off or something was added to it"
            if not ends
            else "it has two ends"
        )
    return tail_start + ends[0]


def _central(directory: bytes, position: int, pictures: bool) -> tuple[Entry, bytes, int]:
    """Return an entry (whose start is that of its header, for now), its name and its length."""
    fields = CENTRAL.unpack_from(directory, position)
    magic, _, _, flags, method, _, _, checksum, packed, size = fields[:10]
    name_length, extra_length, comment_length, disk, _, attributes, header = fields[10:]
    position += CENTRAL.size
    raw_name = directory[position : position + name_length]
    extra = directory[position + name_length : position + name_length + extra_length]
    if magic != b"PK\x01\x02" or len(raw_name) + len(extra) != name_length + extra_length:
        raise damaged("its list of contents cannot be read")
    name = _name(raw_name, flags, pictures)
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
        raise damaged(f"{shown(name)} has two sizes")
    if method == DEFLATED and size > SMALL_BYTES and size > MAX_RATIO * packed:
        raise RequestError(
            f"{shown(name)} inside the zip would unpack to {size:,} bytes from {packed:,}.",
            "Such files are made to fill a machine. Upload the model as torch.save wrote it.",
        )
    length_of_entry = CENTRAL.size + name_length + extra_length + comment_length
    return Entry(name, size, packed, method, checksum, header), raw_name, length_of_entry


def _ordinary(name: str, mode: int, disk: int) -> None:
    kind = stat.S_IFMT(mode)
    if stat.S_ISLNK(mode):
        raise RequestError(
            f"{shown(name)} inside the zip is a link to another file.",
            "Zip the files themselves.",
        )
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or disk not in {0, 0xFFFF}:
        raise damaged(f"{shown(name)} is not a file")


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Return the figures with those of 64 bits put in where 32 bits were too few."""
    values = [size, packed, header]
    if UNKNOWN_32 not in values:
        return size, packed, header
    wide = _zip64(extra)
    for index, value in enumerate(values):
        if value == UNKNOWN_32:
            if len(wide) < 8:
                raise damaged("a size is missing")
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


def _name(raw_name: bytes, flags: int, pictures: bool) -> str:
    if not raw_name or len(raw_name) > MAX_NAME_BYTES:
        raise RequestError(
            f"A file inside the zip has a name of {len(raw_name):,} bytes.",
            f"Names may have 1 to {MAX_NAME_BYTES}.",
        )
    try:
        name = raw_name.decode("utf-8" if flags & UTF8 else "cp437" if pictures else "ascii")
    except UnicodeDecodeError as error:
        raise RequestError(
            "A file inside the zip has a name that is not text (not UTF-8).",
            "Upload the file as torch.save wrote it, or zip it again with another program.",
        ) from error
    parts = name.removesuffix("/").split("/")
    # A name that cannot be printed does not stand in the sentence either.
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


def _local(file: BinaryIO, entry: Entry, raw_name: bytes, length: int) -> tuple[Entry, int, int]:
    """Check the header before a member against the directory; return the first and last byte."""
    header = entry.start
    if header + LOCAL.size > length:
        raise damaged(f"{shown(entry.name)} lies outside of the file")
    file.seek(header)
    fields = LOCAL.unpack(file.read(LOCAL.size))
    magic, _, flags, method, _, _, checksum, packed, size, name_length, extra_length = fields
    name, extra = file.read(name_length), file.read(extra_length)
    if magic != MAGIC or name != raw_name or method != entry.method or flags & ENCRYPTED:
        raise damaged(f"its list of contents and what stands before {shown(entry.name)} disagree")
    size, packed, _ = _wide(extra, size, packed, 0)
    local = (checksum, packed, size)
    central = (entry.checksum, entry.packed, entry.size)
    if local != central and not (
        flags & SIZES_FOLLOW and all(x in {0, y} for x, y in zip(local, central, strict=True))
    ):
        raise damaged(f"two sizes are given for {shown(entry.name)}")
    start = header + LOCAL.size + name_length + extra_length
    if start + entry.packed > length:
        raise damaged(f"{shown(entry.name)} reaches beyond its end")
    last = start + entry.packed + (MAX_DESCRIPTOR if flags & SIZES_FOLLOW else 0)
    placed = Entry(entry.name, entry.size, entry.packed, method, entry.checksum, start)
    return placed, header, last


def _no_overlap(ends: list[tuple[int, int, str]], directory: int, pictures: bool) -> None:
    """Refuse members that share bytes, and (in models) bytes that belong to no member.

    A member's last byte is known up to the 24 bytes that may follow it.
    """
    position = 0
    for first, last, name in [*sorted(ends), (directory, directory, "its list of contents")]:
        if first < position - MAX_DESCRIPTOR:
            raise RequestError(f"{shown(name)} and another file in the zip share bytes.", AGAIN)
        if first > position and not pictures:
            raise damaged("something stands before or between its parts")
        position = max(position, last)


def damaged(how: str) -> RequestError:
    """Return the error for a damaged zip; `how` completes the sentence."""
    return RequestError(f"The zip is damaged: {how}.", AGAIN)
