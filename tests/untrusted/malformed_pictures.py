"""Malformed zips of pictures, generated from seeds, and what each refusal is about."""

import io
import random
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

Members = dict[str, bytes]
Family = Callable[[random.Random], bytes]
FAMILIES: list[tuple[Family, str]] = []


def family(about: str) -> Callable[[Family], Family]:
    """Add a family whose refusals must match `about`."""

    def add(make: Family) -> Family:
        FAMILIES.append((make, about))
        return make

    return add


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (24, 18)) -> bytes:
    """Return a picture of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def good(each: int = 3, seed: int = 0) -> Members:
    """Return a few pictures of two classes."""
    kinds = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
    return {
        f"{label}/{number}.{end}": picture(seed + 100 * index + number, kinds[end])
        for index, label in enumerate(("cat", "dog"))
        for number, end in zip(range(each), list(kinds) * each, strict=False)
    }


def packed(members: Members) -> bytes:
    """Return a zip of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _with(name: str, content: bytes) -> bytes:
    return packed(good() | {name: content})


def _claimed(width: int, height: int) -> bytes:
    """Return a PNG that claims to have so many pixels, and a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">L", len(content)) + body + struct.pack(">L", zlib.crc32(body))

    header = struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@family(r"dog/bad\.(png|jpg|webp) is (damaged|no JPEG|empty)")
def truncated(chance: random.Random) -> bytes:
    end, kind = chance.choice([("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
    content = picture(chance.randrange(10**6), kind, (64, 64))
    return _with(f"dog/bad.{end}", content[: chance.randrange(0, len(content) - 40)])


@family(r"dog/bad\.png is damaged")
def flipped(chance: random.Random) -> bytes:
    content = bytearray(picture(chance.randrange(10**6)))
    content[chance.randrange(60, len(content) - 30)] ^= 1 << chance.randrange(8)
    return _with("dog/bad.png", bytes(content))


@family(r"cat/empty\.jpg is empty: it has 0 bytes")
def empty_picture(_: random.Random) -> bytes:
    return _with("cat/empty.jpg", b"")


@family("cat/large.png has 1[0-9][0-9] megapixels, and 64 is the most")
def too_many_pixels(chance: random.Random) -> bytes:
    return _with("cat/large.png", _claimed(chance.randrange(10_000, 13_000), 10_000))


@family("cat/huge.png has far more pixels")
def far_too_many_pixels(chance: random.Random) -> bytes:
    return _with("cat/huge.png", _claimed(chance.randrange(60_000, 90_000), 60_000))


@family("cat/lie.jpg is no JPEG, PNG or WebP picture, whatever its name says")
def lying_name(chance: random.Random) -> bytes:
    other = chance.choice([b"<html></html>", b"MZ\x90\x00", b"%PDF-1.7", picture(1, "GIF")])
    return _with("cat/lie.jpg", other)


@family(r"pictures of other kinds: cat/x\.")
def other_kind(chance: random.Random) -> bytes:
    name, content = chance.choice(
        [
            ("cat/x.gif", picture(1, "GIF")),
            ("cat/x.BMP", picture(1, "BMP")),
            ("cat/x.tiff", picture(1, "TIFF")),
            ("cat/x.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            ("cat/x.heic", b"....ftypheic"),
        ]
    )
    return _with(name, content)


@family("other packed files: inside")
def nested(chance: random.Random) -> bytes:
    return _with(f"inside.{chance.choice(['zip', 'tar.gz', '7z'])}", packed(good()))


@family("names a place outside of it")
def traversal(chance: random.Random) -> bytes:
    name = chance.choice(
        ["../1.png", "/etc/1.png", "cat/../../1.png", "C:/1.png", "cat\\..\\1.png"]
    )
    return _with(name, picture(9))


@family("a link to another file")
def link(_: random.Random) -> bytes:
    buffer = io.BytesIO(packed(good()))
    with zipfile.ZipFile(buffer, "a") as archive:
        member = zipfile.ZipInfo("cat/link.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    return buffer.getvalue()


@family("a name that is not text")
def name_in_no_alphabet(_: random.Random) -> bytes:
    content = _with("cat/ö.png", picture(9))
    return content.replace("ö".encode(), b"\xff\xfe")


@family("password")
def encrypted(chance: random.Random) -> bytes:
    content = bytearray(packed(good()))
    local, central = content.find(b"PK\x03\x04"), content.find(b"PK\x01\x02")
    content[local + 6] |= 1
    content[central + 8] |= 1
    return bytes(content)


@family("unpack to")
def bomb(chance: random.Random) -> bytes:
    return _with("cat/bomb.png", bytes(chance.randrange(30, 50) * 2**20))


@family("twice")
def one_name_twice(_: random.Random) -> bytes:
    return _with("dog/0.JPG", picture(1, "JPEG"))


@family("damaged|not a zip")
def zip_cut_off(chance: random.Random) -> bytes:
    content = packed(good())
    return content[: chance.randrange(1, len(content) - 1)]


@family(r"beside the class folders")
def beside(_: random.Random) -> bytes:
    return _with("loose.png", picture(7))


@family("no pictures that are taken")
def none(_: random.Random) -> bytes:
    return packed({"readme.txt": b"nothing", "__MACOSX/cat/._1.png": b"junk"})


@family("a single picture|the same picture only")
def one(chance: random.Random) -> bytes:
    content = picture(chance.randrange(100))
    return packed({f"cat/{number}.png": content for number in range(chance.randrange(1, 4))})


@family(r"labels\.csv")
def table_that_does_not_fit(chance: random.Random) -> bytes:
    names = list(good())
    rows = [f"{name},{name[:3]}" for name in names]
    table = chance.choice(
        [
            ["file,label", *rows, "cat/gone.png,cat"],
            ["file,label", *rows[1:]],
            ["file,label", *rows, rows[0]],
            ["file,label", *rows[1:], f"{names[0]},"],
            ["file,label", *rows[1:], names[0]],
            ["picture;what", *rows],
            [],
        ]
    )
    return _with("labels.csv", "\n".join(table).encode(chance.choice(["utf-8", "utf-8-sig"])))


def make(number: int) -> tuple[bytes, str, str]:
    """Return malformed zip `number`, its family's name and what its refusal is about."""
    maker, about = FAMILIES[number % len(FAMILIES)]
    return maker(random.Random(number)), maker.__name__, about
