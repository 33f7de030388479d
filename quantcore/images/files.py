"""Pictures of folders, zips and uploads, with their classes and their digest."""

import hashlib
import zipfile
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

from PIL import Image

from quantcore import uploads
from quantcore.errors import RequestError
from quantcore.images.listed import find_table, read_table
from quantcore.images.preparation import decode
from quantcore.images.suffixes import SUFFIXES, UPLOADED_SUFFIXES, is_hidden, is_picture
from quantcore.images.zips import READ_ERRORS, open_zip, read_member, zip_members
from quantcore.schema import file_digest

UPLOADED_FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PICTURES = 200_000


@dataclass(frozen=True)
class PictureFile:
    """An encoded picture.

    Attributes:
        path: inside its source.
        read: returns its bytes.
        formats: Pillow's names of the formats that are accepted; None accepts any.
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
            return decode(self.read(), self.formats)
        except (*READ_ERRORS, ValueError, SyntaxError) as error:
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
        digest: SHA-256 of contents, names and labels.
        classes: of each file, by `labels.csv`; None without one.
        labels_of: pairs of a class and the model's label for it, where the owner chose one.
        same: groups of indices of files with equal bytes.
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
            f"{upload.filename} does not hold pictures.", "Choose another, or upload a zip of them."
        )
    folder = read_uploaded(path, upload.filename)
    labels_of = upload.images.labels_of
    if labels_of:
        digest = hashlib.sha256(f"{folder.digest}{sorted(labels_of)}".encode()).hexdigest()
        folder = replace(folder, digest=digest, labels_of=labels_of)
    return _not_empty(folder, upload.filename, UPLOADED_SUFFIXES)


def read_uploaded(path: Path, title: str) -> PictureFolder:
    """Return the pictures of an uploaded zip, which may be none.

    Raises:
        RequestError: as `read_source`; the sentences name the zip by this title.
    """
    modified_ns = path.stat().st_mtime_ns
    folder = _read_zip(path, modified_ns, title, UPLOADED_SUFFIXES, UPLOADED_FORMATS)
    # A deleted file must not stay on the disk because a long-lived process has it open.
    open_zip.cache_clear()
    return folder


def _not_empty(folder: PictureFolder, name: str, suffixes: Iterable[str]) -> PictureFolder:
    if not folder.files:
        raise RequestError(
            f"{name!r} holds no pictures.", f"Pictures end in {', '.join(sorted(suffixes))}."
        )
    return folder


def _read_folder(folder: Path) -> PictureFolder:
    sources = sorted(
        (PurePosixPath(path.relative_to(folder).as_posix()), path)
        for path in folder.rglob("*")
        if path.is_file()
    )
    paths = dict(sources)
    pictures = [(name, path) for name, path in sources if is_picture(name)]
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
    members = zip_members(path, title)
    names = sorted(name for name in members if is_picture(PurePosixPath(name), suffixes))
    _check_count(title, len(names))
    paths = [PurePosixPath(name) for name in names]
    read = partial(read_member, path, modified_ns)
    try:
        return PictureFolder(
            name=title,
            files=tuple(
                PictureFile(picture, partial(read, name), formats)
                for picture, name in zip(paths, names, strict=True)
            ),
            digest=file_digest(path),
            classes=_listed_classes(members, paths, read),
            same=_same_members([members[name] for name in names], read),
        )
    except READ_ERRORS as error:
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
    """Return groups of indices of members with equal bytes; few members are read for it."""
    candidates = _groups([(member.CRC, member.file_size) for member in members])
    groups: list[tuple[int, ...]] = []
    for indices in candidates:
        contents = [hashlib.sha256(read(members[each].filename)).digest() for each in indices]
        groups += [tuple(indices[each] for each in group) for group in _groups(contents)]
    return tuple(groups)


def _groups(keys: Sequence[Hashable]) -> tuple[tuple[int, ...], ...]:
    """Return the groups of indices that share a key, those of one index left out."""
    indices = defaultdict(list)
    for index, key in enumerate(keys):
        indices[key].append(index)
    return tuple(tuple(group) for group in indices.values() if len(group) > 1)


def _check_count(title: str, count: int) -> None:
    if count > MAX_PICTURES:
        raise RequestError(
            f"{title} holds {count:,} pictures; {MAX_PICTURES:,} is the most.", "Take fewer."
        )
