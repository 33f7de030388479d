"""A zip of pictures that a stranger brings: every picture is decoded once, in a locked child.

What is damaged is found here and named, rather than in the middle of a measurement.
"""

import base64
import io
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from quantcore.errors import RequestError
from quantcore.images import PictureFile, PictureFolder, collected, files, listed
from quantcore.untrusted.archive import MAGIC, open_archive
from quantcore.uploads import UploadedImages
from quantcore.wording import count, joined, some

MAX_CLASSES = 5_000
MAX_THUMBNAILS = 24
THUMBNAIL_PX = 96
SHOWN = 3
# Looking goes on past a damaged picture, so that its owner hears of all; but not forever.
MAX_PROBLEMS = 100
FEW_A_CLASS = 20
FEW_TO_JUDGE = 100
IMBALANCE = 10
LOOK_PX = 8
# Of 255: how far the small versions of one picture that was saved twice are apart.
LOOK_TOLERANCE = 4
# Pictures that are held against each one that judges, at most.
MAX_ALIKE = 200
OTHER_PICTURES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".ico", ".jp2", ".psd", ".svg", ".tif", ".tiff"}
)
PACKED = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"})
TAKEN = "Only JPEG, PNG and WebP pictures are taken."
EMPTY = "is empty: it has 0 bytes"
REPLACE = "Replace them, or take them out, and bring the zip again."
TELL_EVERY = 20
SUFFIX_OF = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",)}

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Looked:
    """What was found in a zip of pictures.

    Attributes:
        images: for the record of the upload.
        thumbnails: class name (or nothing) and a small PNG in base64, of some pictures.
    """

    images: UploadedImages
    thumbnails: tuple[tuple[str, str], ...]


def look_through(path: Path, _: Path, tell: Tell) -> Looked:
    """Return what a zip of pictures holds, every picture decoded.

    Args:
        path: of the zip.
        _: a folder to write in, which pictures do not need.
        tell: is called with a stage in words and the share that is done.

    Raises:
        RequestError: it is no zip, one that is unsafe to open, or some of it is no picture; the
            sentence names the first few.
    """
    tell("reading what the zip holds", 0.0)
    left_out = _check_members(path)
    folder = files.read_uploaded(path, "The zip")
    if len(folder.files) - sum(len(group) - 1 for group in folder.same) < 2:
        raise RequestError(
            f"The zip holds {_many(len(folder.files))}.",
            "Bring at least 2 different ones: one to calibrate with and another to judge with.",
        )
    classes = _classes(folder)
    shown = _spread(classes, len(folder.files))
    thumbnails, looks, misnamed, problems = {}, [], [], []
    for place, file in enumerate(folder.files):
        if place % TELL_EVERY == 0:
            stage = f"looking at picture {place + 1:,} of {len(folder.files):,}"
            tell(stage, place / len(folder.files))
        try:
            picture, kind = _opened(file)
        except RequestError as error:
            problems.append(error.reason)
            if len(problems) >= MAX_PROBLEMS:
                break
            continue
        if file.path.suffix.lower() not in SUFFIX_OF.get(kind, (".webp",)):
            misnamed.append(f"{file.path} ({kind})")
        looks.append(_look(picture))
        if place in shown:
            thumbnails[place] = _thumbnail(picture)
    _refuse(problems)
    tell("counting", 1.0)
    images = UploadedImages(
        count=len(folder.files),
        classes=tuple(sorted(Counter(classes).items())) if classes else (),
        warnings=tuple(_warnings(folder, classes, looks, misnamed, left_out)),
    )
    named = ((classes[place] if classes else "", thumbnails[place]) for place in shown)
    return Looked(images, tuple(named))


def _check_members(path: Path) -> list[str]:
    """Check the zip's structure and what kinds of files it holds; return what is left out."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise RequestError(
                "This is not a zip file, or there is nothing in it.",
                "Put the pictures into folders named by class, and zip these.",
            )
    names = [name for name in open_archive(path, pictures=True).entries if not name.endswith("/")]
    seen = [each for each in map(PurePosixPath, names) if not files.is_hidden(each)]
    nested = [str(each) for each in seen if each.suffix.lower() in PACKED]
    if nested:
        raise RequestError(
            f"The zip holds other packed files: {some(nested)}.",
            "Unpack them, and zip the pictures themselves.",
        )
    others = [str(each) for each in seen if each.suffix.lower() in OTHER_PICTURES]
    if others:
        raise RequestError(
            f"The zip holds pictures of other kinds: {some(others)}. {TAKEN}",
            "Save them as PNG, or take them out, and bring the zip again.",
        )
    return [
        str(each)
        for each in seen
        if each.suffix.lower() not in files.UPLOADED_SUFFIXES and not listed.is_table(each)
    ]


def _classes(folder: PictureFolder) -> Sequence[str]:
    """Return each picture's class; nothing where they have none."""
    classes = collected.classes_of(folder) or ()
    if folder.classes is None and len(set(classes)) == 1:
        # One folder around all pictures is how zips are made, not a class.
        return ()
    number = len(set(classes))
    if number > MAX_CLASSES:
        raise RequestError(
            f"The zip holds {number:,} classes; {MAX_CLASSES:,} is the most.",
            "Put the pictures into one folder for each class.",
        )
    return classes


def _opened(file: PictureFile) -> tuple[Image.Image, str]:
    """Return the picture upright, and the format that it has whatever its name says.

    Raises:
        RequestError: it cannot be used; the sentence names it.
    """
    # Each decoder has errors of its own for damaged files, and all of them mean the same.
    try:
        content = file.read()
        kind, pixels = _claims(content, file.formats)
        if pixels <= files.MAX_PIXELS:
            return PictureFile(file.path, lambda: content, file.formats).open(), kind
    except UnidentifiedImageError as error:
        what = "is no JPEG, PNG or WebP picture, whatever its name says"
        raise RequestError(f"{file.path} {what if content else EMPTY}") from error
    except Image.DecompressionBombError as error:
        raise RequestError(f"{file.path} has far more pixels than any picture needs") from error
    except Exception as error:
        raise RequestError(f"{file.path} is damaged and cannot be read") from error
    raise RequestError(
        f"{file.path} has {pixels / 1e6:.0f} megapixels, and {files.MAX_PIXELS / 1e6:.0f} is the "
        "most"
    )


def _claims(content: bytes, formats: tuple[str, ...] | None) -> tuple[str, int]:
    """Return the format of a picture and how many pixels it says it has."""
    with warnings.catch_warnings():
        # Too many pixels are refused below; there is no need to be warned of them too.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        picture = Image.open(io.BytesIO(content), formats=formats)
    with picture:
        return str(picture.format), picture.width * picture.height


def _refuse(problems: Sequence[str]) -> None:
    if not problems:
        return
    told = "; ".join(problem.removesuffix(".") for problem in problems[:SHOWN])
    more = len(problems) - SHOWN
    rest = f"; and {more:,} more" if more > 0 else ""
    raise RequestError(f"Not all pictures can be read: {told}{rest}.", REPLACE)


def _spread(classes: Sequence[str], number: int) -> list[int]:
    """Return the places of the pictures to show: as many of each class as there is room for."""
    if not classes:
        return list(range(min(MAX_THUMBNAILS, number)))
    places = defaultdict(list)
    for place, name in enumerate(classes):
        places[name].append(place)
    ordered = [places[name] for name in sorted(places)]
    step = max(1, len(ordered) // MAX_THUMBNAILS)
    rounds = _in_turns(ordered[::step])
    return sorted(rounds[:MAX_THUMBNAILS], key=lambda place: (classes[place], place))


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


def _look(picture: Image.Image) -> NDArray[np.int16]:
    """Return a picture as a few numbers that saving it again hardly changes."""
    small = picture.convert("RGB").resize((LOOK_PX, LOOK_PX), Image.Resampling.BOX)
    return np.asarray(small, np.int16)


def _warnings(
    folder: PictureFolder,
    classes: Sequence[str],
    looks: Sequence[NDArray[np.int16]],
    misnamed: Sequence[str],
    left_out: Sequence[str],
) -> Iterable[str]:
    """Yield what may spoil a measurement, in sentences."""
    yield from _of_numbers(folder, classes)
    yield from _of_same(folder, classes, looks)
    if misnamed:
        yield (
            f"{count(len(misnamed), 'picture')} in another format than the name says: "
            f"{some(misnamed)}. That does no harm."
        )
    if left_out:
        yield (
            f"{count(len(left_out), 'file')} that {_are(left_out)} no pictures "
            f"{_are(left_out)} left out: {some(left_out)}."
        )


def _of_numbers(folder: PictureFolder, classes: Sequence[str]) -> Iterable[str]:
    roles = collected.allocate(len(folder.files), 0, bool(classes), folder.same)
    judging = len(roles["evaluation"])
    if judging < FEW_TO_JUDGE:
        weight = f": one picture is {100 / judging:.1f} points" if classes else ""
        yield f"Only {count(judging, 'picture')} will judge the model{weight}. Bring more."
    if not classes:
        return
    if "qat" not in roles:
        yield "There are too few pictures for quantization-aware training."
    counts = Counter(classes)
    few = sorted(name for name, number in counts.items() if number < FEW_A_CLASS)
    if few:
        told = [f"{name} ({counts[name]:,})" for name in few]
        yield f"Fewer than {FEW_A_CLASS} pictures: {some(told)}."
    (most, high), (least, low) = counts.most_common()[0], counts.most_common()[-1]
    if high > IMBALANCE * low:
        yield (
            f"The classes are unequal: {high:,} of {most}, {low:,} of {least}. Accuracy will be "
            "mostly that of the frequent ones."
        )


def _of_same(
    folder: PictureFolder, classes: Sequence[str], looks: Sequence[NDArray[np.int16]]
) -> Iterable[str]:
    again = sum(len(group) - 1 for group in folder.same)
    if again:
        first = joined([str(folder.files[place].path) for place in folder.same[0][:2]])
        yield (
            f"{count(again, 'picture')} {'is' if again == 1 else 'are'} there more than once, such "
            f"as {first}. What is the same is never both trained on and judged with."
        )
    torn = (
        [group for group in folder.same if len({classes[each] for each in group}) > 1]
        if classes
        else []
    )
    if torn:
        names = sorted({classes[place] for place in torn[0]})
        yield (
            f"{count(len(torn), 'picture')} {'is' if len(torn) == 1 else 'are'} in more than one "
            f"class, such as {folder.files[torn[0][0]].path} in {joined(names)}."
        )
    across = _alike_across(folder, bool(classes), looks)
    if across:
        first = joined([str(folder.files[place].path) for place in across[0]])
        yield (
            f"{count(len(across), 'picture')} that will judge the model "
            f"{'looks' if len(across) == 1 else 'look'} like one that it is tuned with, such as "
            f"{first}. Accuracy may come out too high."
        )


def _alike_across(
    folder: PictureFolder, labelled: bool, looks: Sequence[NDArray[np.int16]]
) -> list[tuple[int, int]]:
    """Return pictures that judge, each with one of another split that looks the same."""
    roles = collected.allocate(len(looks), 0, labelled, folder.same)
    judging = set(roles["evaluation"].tolist())
    buckets = defaultdict(list)
    for place, look in enumerate(looks):
        grey = look.sum(axis=2)
        # A picture of one colour, or nearly, looks like many others.
        if np.ptp(grey) > 3 * LOOK_TOLERANCE * LOOK_PX:
            buckets[(grey > grey.mean()).tobytes()].append(place)
    found = []
    for places in buckets.values():
        tuning = [place for place in places if place not in judging][:MAX_ALIKE]
        for place in filter(judging.__contains__, places):
            near = (each for each in tuning if _is_alike(looks[place], looks[each]))
            found += [(place, each) for each in [next(near, None)] if each is not None]
    return found


def _is_alike(one: NDArray[np.int16], other: NDArray[np.int16]) -> bool:
    return bool(np.abs(one - other).max() <= LOOK_TOLERANCE)


def _are(things: Sequence[str]) -> str:
    return "is" if len(things) == 1 else "are"


def _many(number: int) -> str:
    if number == 0:
        return f"no pictures that are taken. {TAKEN.removesuffix('.')}"
    return "a single picture" if number == 1 else "the same picture only"
