"""An uploaded zip of pictures, checked: every picture is decoded once, in a locked child.

Damaged pictures are found and named here, rather than in the middle of a measurement.
"""

import base64
import io
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from quantcore.errors import RequestError
from quantcore.images import (
    MAX_PIXELS,
    UPLOADED_SUFFIXES,
    PictureFile,
    PictureFolder,
    collected,
    files,
    is_hidden,
    listed,
)
from quantcore.untrusted.archive import open_archive
from quantcore.untrusted.picture_warnings import reduced, warnings_of
from quantcore.untrusted.zip_structure import MAGIC
from quantcore.uploads import UploadedImages
from quantcore.wording import some

MAX_CLASSES = 5_000
MAX_THUMBNAILS = 24
THUMBNAIL_PX = 96
SHOWN = 3
# Damaged pictures do not end the inspection, so that all are reported; up to this many.
MAX_PROBLEMS = 100
OTHER_PICTURES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".ico", ".jp2", ".psd", ".svg", ".tif", ".tiff"}
)
PACKED = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"})
ACCEPTED = "Only JPEG, PNG and WebP pictures are taken."
EMPTY = "is empty: it has 0 bytes"
REPLACE = "Replace them, or take them out, and upload the zip again."
PICTURES_BETWEEN_REPORTS = 20
SUFFIX_OF = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",)}

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class CheckedPictures:
    """A zip of pictures that was checked.

    Attributes:
        images: for the record of the upload.
        thumbnails: class name (or nothing) and a small PNG in base64, of some pictures.
    """

    images: UploadedImages
    thumbnails: tuple[tuple[str, str], ...]


def check_pictures(path: Path, _: Path, report: Report) -> CheckedPictures:
    """Return the pictures of a zip, once every one of them could be decoded.

    Args:
        path: of the zip.
        _: a folder to write in, which pictures do not need.
        report: called with the stage in words and the share that is done.

    Raises:
        RequestError: it is no zip, one that is unsafe to open, or some of it is no picture; the
            sentence names the first few.
    """
    report("reading what the zip holds", 0.0)
    left_out = _check_members(path)
    folder = files.read_uploaded(path, "The zip")
    if len(folder.files) - sum(len(group) - 1 for group in folder.same) < 2:
        raise RequestError(
            f"The zip holds {_many(len(folder.files))}.",
            "Upload at least 2 different ones: one to calibrate with and another to evaluate with.",
        )
    classes = _classes(folder)
    shown = _spread(classes, len(folder.files))
    thumbnails, reduced_pictures, misnamed, problems = {}, [], [], []
    for index, file in enumerate(folder.files):
        if index % PICTURES_BETWEEN_REPORTS == 0:
            stage = f"looking at picture {index + 1:,} of {len(folder.files):,}"
            report(stage, index / len(folder.files))
        try:
            picture, kind = _decoded(file)
        except RequestError as error:
            problems.append(error.reason)
            if len(problems) >= MAX_PROBLEMS:
                break
            continue
        if file.path.suffix.lower() not in SUFFIX_OF.get(kind, (".webp",)):
            misnamed.append(f"{file.path} ({kind})")
        reduced_pictures.append(reduced(picture))
        if index in shown:
            thumbnails[index] = _thumbnail(picture)
    _raise_problems(problems)
    report("counting", 1.0)
    images = UploadedImages(
        count=len(folder.files),
        classes=tuple(sorted(Counter(classes).items())) if classes else (),
        warnings=tuple(warnings_of(folder, classes, reduced_pictures, misnamed, left_out)),
    )
    named = ((classes[index] if classes else "", thumbnails[index]) for index in shown)
    return CheckedPictures(images, tuple(named))


def _check_members(path: Path) -> list[str]:
    """Check the zip's structure and the kinds of its files; return the names of ignored ones."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise RequestError(
                "This is not a zip file, or there is nothing in it.",
                "Put the pictures into folders named by class, and zip these.",
            )
    names = [name for name in open_archive(path, pictures=True).entries if not name.endswith("/")]
    seen = [each for each in map(PurePosixPath, names) if not is_hidden(each)]
    nested = [str(each) for each in seen if each.suffix.lower() in PACKED]
    if nested:
        raise RequestError(
            f"The zip holds other packed files: {some(nested)}.",
            "Unpack them, and zip the pictures themselves.",
        )
    others = [str(each) for each in seen if each.suffix.lower() in OTHER_PICTURES]
    if others:
        raise RequestError(
            f"The zip holds pictures of other kinds: {some(others)}. {ACCEPTED}",
            "Save them as PNG, or take them out, and upload the zip again.",
        )
    return [
        str(each)
        for each in seen
        if each.suffix.lower() not in UPLOADED_SUFFIXES and not listed.is_table(each)
    ]


def _classes(folder: PictureFolder) -> Sequence[str]:
    """Return each picture's class; nothing where they have none."""
    classes = collected.classes_of(folder) or ()
    if folder.classes is None and len(set(classes)) == 1:
        # One folder around all pictures comes from zipping it, and is no class.
        return ()
    number = len(set(classes))
    if number > MAX_CLASSES:
        raise RequestError(
            f"The zip holds {number:,} classes; {MAX_CLASSES:,} is the most.",
            "Put the pictures into one folder for each class.",
        )
    return classes


def _decoded(file: PictureFile) -> tuple[Image.Image, str]:
    """Return the picture upright, and its format by content.

    Raises:
        RequestError: it cannot be used; the sentence names it.
    """
    # Each decoder has errors of its own for damaged files, and all of them mean the same.
    try:
        content = file.read()
        kind, pixels = _format_and_pixels(content, file.formats)
        if pixels <= MAX_PIXELS:
            return PictureFile(file.path, lambda: content, file.formats).open(), kind
    except UnidentifiedImageError as error:
        what = "is no JPEG, PNG or WebP picture, whatever its name says"
        raise RequestError(f"{file.path} {what if content else EMPTY}") from error
    except Image.DecompressionBombError as error:
        raise RequestError(f"{file.path} has far more pixels than any picture needs") from error
    except Exception as error:
        raise RequestError(f"{file.path} is damaged and cannot be read") from error
    raise RequestError(
        f"{file.path} has {pixels / 1e6:.0f} megapixels, and {MAX_PIXELS / 1e6:.0f} is the most"
    )


def _format_and_pixels(content: bytes, formats: tuple[str, ...] | None) -> tuple[str, int]:
    """Return the format of a picture and the number of pixels in its header."""
    with warnings.catch_warnings():
        # Too many pixels are refused below; there is no need to be warned of them too.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        picture = Image.open(io.BytesIO(content), formats=formats)
    with picture:
        return str(picture.format), picture.width * picture.height


def _raise_problems(problems: Sequence[str]) -> None:
    if not problems:
        return
    first = "; ".join(problem.removesuffix(".") for problem in problems[:SHOWN])
    more = len(problems) - SHOWN
    rest = f"; and {more:,} more" if more > 0 else ""
    raise RequestError(f"Not all pictures can be read: {first}{rest}.", REPLACE)


def _spread(classes: Sequence[str], number: int) -> list[int]:
    """Return the indices of the pictures to show, as many of each class as there is room for."""
    if not classes:
        return list(range(min(MAX_THUMBNAILS, number)))
    indices = defaultdict(list)
    for index, name in enumerate(classes):
        indices[name].append(index)
    ordered = [indices[name] for name in sorted(indices)]
    step = max(1, len(ordered) // MAX_THUMBNAILS)
    rounds = _in_turns(ordered[::step])
    return sorted(rounds[:MAX_THUMBNAILS], key=lambda index: (classes[index], index))


def _in_turns(lists: Sequence[Sequence[int]]) -> list[int]:
    """Return the first of each list, then the second of each that has one, and so on."""
    longest = max(map(len, lists))
    return [each[turn] for turn in range(longest) for each in lists if turn < len(each)]


def _thumbnail(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _many(number: int) -> str:
    if number == 0:
        return f"no pictures that are taken. {ACCEPTED.removesuffix('.')}"
    return "a single picture" if number == 1 else "the same picture only"
