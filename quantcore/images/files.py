"""Read pictures from folders, zips and uploads, and prepare them as a model expects.

Nothing is unpacked to disk: zip members are read into memory one at a time, so a member's name can
harm nothing, and limits on count and size keep a small zip from filling the machine.
"""

import hashlib
import io
import os
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from quantcore import uploads
from quantcore.errors import RequestError
from quantcore.images.listed import MAX_BYTES as MAX_TABLE_BYTES
from quantcore.images.listed import find_table, is_table, read_table
from quantcore.models import ModelInfo
from quantcore.schema import file_digest

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# What is taken as an upload: as for a single picture, what browsers show and phones write.
UPLOADED_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
UPLOADED_FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PICTURES = 200_000
MAX_FILE_BYTES = 64 * 2**20
MAX_ZIP_BYTES = 8 * 2**30
MAX_PIXELS = 64 * 10**6
# What reading a member of a zip raises where its bytes are not those that were packed.
DAMAGED = (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class PictureFile:
    """One encoded picture.

    Attributes:
        path: inside its source.
        read: gets its bytes.
        formats: as Pillow names them, that it may have; None takes any.
    """

    path: PurePosixPath
    read: Callable[[], bytes]
    formats: tuple[str, ...] | None = None

    def open(self) -> Image.Image:
        """Return the picture upright, `L` or `RGB`, transparency laid on white.

        Raises:
            RequestError: the picture is damaged or too large; the sentence names it.
        """
        try:
            return _decode(self.read(), self.formats)
        except (*DAMAGED, ValueError, SyntaxError) as error:
            # SyntaxError is what Pillow raises for a broken PNG chunk.
            raise RequestError(
                f"{self.path} cannot be read as a picture ({error}).",
                "Replace it, or take it out of the folder.",
            ) from error


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder or zip, sorted by path.

    Attributes:
        name: of the folder or file, for people.
        files: its pictures.
        digest: of all that decides what they are: contents, names, labels.
        classes: what `labels.csv` says of each file; None without one.
        labels_of: the model's label for a class, where the owner said which; by class.
        same: places of files that have the same bytes, for each such group.
    """

    name: str
    files: tuple[PictureFile, ...]
    digest: str
    classes: tuple[str, ...] | None = None
    labels_of: tuple[tuple[str, str], ...] = ()
    same: tuple[tuple[int, ...], ...] = ()


def read_source(source: str) -> PictureFolder:
    """Return the pictures of a folder, a zip file, or an upload.

    Raises:
        RequestError: it is missing, empty, damaged, or larger than the limits; or `labels.csv` and
            the pictures do not agree.
    """
    if uploads.is_named(source):
        return _read_upload(source)
    path = Path(source).expanduser()
    if path.is_dir():
        folder = _read_folder(path)
    elif path.is_file():
        folder = _read_zip(path, path.stat().st_mtime_ns, path.name, SUFFIXES, None)
    else:
        raise RequestError(f"There is no folder or zip file {source!r}.", "Check the path.")
    return _not_empty(folder, source, SUFFIXES)


def _read_upload(name: str) -> PictureFolder:
    upload = uploads.find(name)
    path = uploads.folder(name) / uploads.CONTENT
    if upload.images is None or not path.is_file():
        raise RequestError(
            f"{upload.filename} does not hold pictures.", "Choose another, or bring a zip of them."
        )
    folder = read_uploaded(path, upload.filename)
    labels_of = upload.images.labels_of
    if labels_of:
        said = hashlib.sha256(f"{folder.digest}{sorted(labels_of)}".encode()).hexdigest()
        folder = replace(folder, digest=said, labels_of=labels_of)
    return _not_empty(folder, upload.filename, UPLOADED_SUFFIXES)


def read_uploaded(path: Path, title: str) -> PictureFolder:
    """Return the pictures of a zip that was uploaded, none where there are none.

    Raises:
        RequestError: as `read_source`; the sentences name the zip by this title.
    """
    modified_ns = path.stat().st_mtime_ns
    folder = _read_zip(path, modified_ns, title, UPLOADED_SUFFIXES, UPLOADED_FORMATS)
    # What is deleted must not stay on the disk because a process that lives long has it open.
    _opened.cache_clear()
    return folder


def _not_empty(folder: PictureFolder, name: str, suffixes: Iterable[str]) -> PictureFolder:
    if not folder.files:
        raise RequestError(
            f"{name!r} holds no pictures.", f"Pictures end in {', '.join(sorted(suffixes))}."
        )
    return folder


def is_hidden(path: PurePosixPath) -> bool:
    """Return whether a file is none of its owner's: programs leave such beside pictures."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _is_picture(path: PurePosixPath, suffixes: Iterable[str] = SUFFIXES) -> bool:
    return path.suffix.lower() in suffixes and not is_hidden(path)


def _read_folder(folder: Path) -> PictureFolder:
    found = sorted(
        (PurePosixPath(path.relative_to(folder).as_posix()), path)
        for path in folder.rglob("*")
        if path.is_file()
    )
    paths = dict(found)
    pictures = [(name, path) for name, path in found if _is_picture(name)]
    names = [name for name, _ in pictures]
    _check_count(folder.name, len(pictures))
    digests = [file_digest(path) for _, path in pictures]
    contents = hashlib.sha256()
    for name, digest in zip(names, digests, strict=True):
        contents.update(f"{name}\0{digest}\n".encode())
    table = find_table(name for name in paths if not is_hidden(name))
    classes = None
    if table is not None:
        contents.update(f"{table}\0{file_digest(paths[table])}\n".encode())
        classes = read_table(paths[table].read_bytes(), table, names)
    return PictureFolder(
        name=folder.resolve().name,
        files=tuple(PictureFile(name, path.read_bytes) for name, path in pictures),
        digest=contents.hexdigest(),
        classes=classes,
        same=_groups(digests),
    )


@lru_cache(maxsize=8)
def _read_zip(
    path: Path,
    modified_ns: int,
    title: str,
    suffixes: frozenset[str],
    formats: tuple[str, ...] | None,
) -> PictureFolder:
    members = _zip_members(path, title)
    names = sorted(name for name in members if _is_picture(PurePosixPath(name), suffixes))
    _check_count(title, len(names))
    paths = [PurePosixPath(name) for name in names]
    read = partial(_read_member, path, modified_ns)
    try:
        return PictureFolder(
            name=title,
            files=tuple(
                PictureFile(place, partial(read, name), formats)
                for place, name in zip(paths, names, strict=True)
            ),
            digest=file_digest(path),
            classes=_listed_classes(members, paths, read),
            same=_same_members([members[name] for name in names], read),
        )
    except DAMAGED as error:
        raise RequestError(
            f"{title} is damaged: not all that is in it can be read ({error}).", "Pack it again."
        ) from error


def _listed_classes(
    members: Iterable[str], pictures: Sequence[PurePosixPath], read: Callable[[str], bytes]
) -> tuple[str, ...] | None:
    names = {PurePosixPath(name): name for name in members}
    table = find_table(path for path in names if not is_hidden(path))
    return None if table is None else read_table(read(names[table]), table, pictures)


def _same_members(
    members: Sequence[zipfile.ZipInfo], read: Callable[[str], bytes]
) -> tuple[tuple[int, ...], ...]:
    """Return the places of members with equal bytes; only those that may be equal are read."""
    candidates = _groups([(member.CRC, member.file_size) for member in members])
    found: list[tuple[int, ...]] = []
    for places in candidates:
        contents = [hashlib.sha256(read(members[each].filename)).digest() for each in places]
        found += [tuple(places[each] for each in group) for group in _groups(contents)]
    return tuple(found)


def _groups(keys: Sequence[Hashable]) -> tuple[tuple[int, ...], ...]:
    """Return the places that share a key, for each key that stands in several."""
    places = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return tuple(tuple(group) for group in places.values() if len(group) > 1)


def _zip_members(path: Path, title: str) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise RequestError(
            f"{title} cannot be read as a zip file ({error}).", "Bring a folder or a zip file."
        ) from error
    for member in members:
        _check_member(title, member)
    if sum(member.file_size for member in members) > MAX_ZIP_BYTES:
        raise RequestError(
            f"{title} unpacks to more than {MAX_ZIP_BYTES // 2**30} GiB.",
            "Bring fewer pictures, or unpack it and name the folder.",
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
    if member.file_size > limit and (_is_picture(name) or is_table(name)):
        raise RequestError(
            f"{member.filename} in {title} is larger than {limit // 2**20} MiB.",
            "Scale it down." if _is_picture(name) else "Name each picture in it once.",
        )


def _check_count(title: str, count: int) -> None:
    if count > MAX_PICTURES:
        raise RequestError(
            f"{title} holds {count:,} pictures; {MAX_PICTURES:,} is the most.", "Bring fewer."
        )


def _read_member(path: Path, modified_ns: int, name: str) -> bytes:
    return _opened(path, modified_ns, os.getpid()).read(name)


@lru_cache(maxsize=2)
def _opened(path: Path, _modified_ns: int, _process: int) -> zipfile.ZipFile:
    """Return a zip that stays open: its list of contents would take long to read for each picture.

    Each process has its own, since forked ones would share the place in the file.
    """
    return zipfile.ZipFile(path)


def _decode(content: bytes, formats: tuple[str, ...] | None) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content), formats=formats) as picture:
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
