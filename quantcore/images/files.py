"""Read pictures from folders and zips that people bring, and prepare them as a model expects.

Nothing is unpacked to disk: zip members are read into memory one at a time, so a member's name can
harm nothing, and limits on count and size keep a small zip from filling the machine.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from quantcore.bundle import file_digest
from quantcore.errors import RequestError
from quantcore.models.catalogue import ModelInfo

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
MAX_PICTURES = 200_000
MAX_FILE_BYTES = 64 * 2**20
MAX_ZIP_BYTES = 8 * 2**30
MAX_PIXELS = 64 * 10**6
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class PictureFile:
    """One encoded picture: its path inside the source, and how to get its bytes."""

    path: PurePosixPath
    read: Callable[[], bytes]

    def open(self) -> Image.Image:
        """Return the picture upright, `L` or `RGB`, transparency laid on white.

        Raises:
            RequestError: the picture is damaged or too large; the sentence names it.
        """
        try:
            return _decode(self.read())
        except (OSError, ValueError, SyntaxError, zipfile.BadZipFile) as error:
            # SyntaxError is what Pillow raises for a broken PNG chunk.
            raise RequestError(
                f"{self.path} cannot be read as a picture ({error}).",
                "Replace it, or take it out of the folder.",
            ) from error


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder or zip, sorted by path, and the digest of their contents."""

    name: str
    files: tuple[PictureFile, ...]
    digest: str


def read_source(source: str) -> PictureFolder:
    """Return the pictures of a folder or zip file.

    Raises:
        RequestError: it is missing, empty, damaged, or larger than the limits.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        folder = _read_folder(path)
    elif path.is_file():
        folder = _read_zip(path)
    else:
        raise RequestError(f"There is no folder or zip file {source!r}.", "Check the path.")
    if not folder.files:
        raise RequestError(
            f"{source!r} holds no pictures.",
            f"Pictures end in {', '.join(sorted(SUFFIXES))}.",
        )
    return folder


def _is_picture(path: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _read_folder(folder: Path) -> PictureFolder:
    found = sorted(
        (PurePosixPath(path.relative_to(folder).as_posix()), path)
        for path in folder.rglob("*")
        if path.is_file()
    )
    pictures = [(name, path) for name, path in found if _is_picture(name)]
    _check_count(folder, len(pictures))
    contents = hashlib.sha256()
    for name, path in pictures:
        contents.update(f"{name}\0{file_digest(path)}\n".encode())
    files = tuple(PictureFile(name, path.read_bytes) for name, path in pictures)
    return PictureFolder(folder.resolve().name, files, contents.hexdigest())


def _read_zip(path: Path) -> PictureFolder:
    members = _zip_members(path, path.stat().st_mtime_ns)
    pictures = sorted(name for name in members if _is_picture(PurePosixPath(name)))
    _check_count(path, len(pictures))
    files = tuple(
        PictureFile(PurePosixPath(name), partial(_read_member, path, name)) for name in pictures
    )
    return PictureFolder(path.name, files, file_digest(path))


@lru_cache(maxsize=8)
def _zip_members(path: Path, _modified_ns: int) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise RequestError(
            f"{path.name} cannot be read as a zip file ({error}).", "Bring a folder or a zip file."
        ) from error
    for member in members:
        _check_member(path, member)
    if sum(member.file_size for member in members) > MAX_ZIP_BYTES:
        raise RequestError(
            f"{path.name} unpacks to more than {MAX_ZIP_BYTES // 2**30} GiB.",
            "Bring fewer pictures, or unpack it and name the folder.",
        )
    return tuple(member.filename for member in members)


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        raise RequestError(
            f"{path.name} holds the path {member.filename!r}, which points out of it.",
            "Pack the folder again; such a zip is not safe to open.",
        )
    if member.flag_bits & 1:
        raise RequestError(f"{path.name} is encrypted.", "Pack it without a password.")
    if member.file_size > MAX_FILE_BYTES and _is_picture(name):
        raise RequestError(
            f"{member.filename} in {path.name} is larger than {MAX_FILE_BYTES // 2**20} MiB.",
            "Scale it down.",
        )


def _check_count(path: Path, count: int) -> None:
    if count > MAX_PICTURES:
        raise RequestError(
            f"{path.name} holds {count:,} pictures; {MAX_PICTURES:,} is the most.", "Bring fewer."
        )


def _read_member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def _decode(content: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} × {picture.height} pixels are too many")
            upright = ImageOps.exif_transpose(picture)
            return _opaque(upright)
    except UnidentifiedImageError as error:
        raise ValueError("its format is not known") from error
    except Image.DecompressionBombError as error:
        raise ValueError("it has too many pixels") from error


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit greyscale: Pillow's own conversion clips at 255 instead of scaling.
        return Image.fromarray((np.asarray(picture).clip(0, 65_535) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def shorter_side(info: ModelInfo, size: int) -> int:
    """Return to how many px a picture's shorter side is scaled before `size` px are cut out."""
    return max(size, round(info.resize_size * size / info.image_size))


def is_grey(info: ModelInfo) -> bool:
    """Return whether a model sees greyscale, in three equal channels."""
    return info.channels == "grey"


def prepare(picture: Image.Image, info: ModelInfo, size: int) -> NDArray[np.float32]:
    """Return `[3, size, size]` normalised floats, as torchvision's classification presets do.

    The shorter side is resized in the model's own proportion to `size`, the centre cut out, and
    channels normalised, in the order in which the model takes them. Some see greyscale.
    """
    picture = picture.convert("L" if is_grey(info) else "RGB").convert("RGB")
    shorter = shorter_side(info, size)
    scaled = picture.resize(_scaled_size(picture.size, shorter), FILTERS[info.interpolation])
    left, top = (round((side - size) / 2) for side in scaled.size)
    square = scaled.crop((left, top, left + size, top + size))
    pixels = np.asarray(square, np.float32).transpose(2, 0, 1) / 255
    if info.channels == "BGR":
        pixels = pixels[::-1]
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (info.mean, info.std))
    return ((pixels - mean) / std).astype(np.float32, copy=False)


def _scaled_size(size: Sequence[int], shorter: int) -> tuple[int, int]:
    width, height = size
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter
