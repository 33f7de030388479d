"""`labels.csv`: a table with the class of every picture, in place of class folders."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from quantcore.errors import RequestError
from quantcore.wording import some

NAME = "labels.csv"
MAX_BYTES = 64 * 2**20
FILE_COLUMNS = ("file", "filename", "file_name", "image", "path")
LABEL_COLUMNS = ("label", "class", "class_name")
SEPARATORS = (",", ";", "\t")
FORM = "Write two columns, file and label, and one row for each picture."

Rows = list[tuple[str, str]]


def is_table(path: PurePosixPath) -> bool:
    """Return whether a file has the table's name."""
    return path.name.lower() == NAME


def find_table(paths: Iterable[PurePosixPath]) -> PurePosixPath | None:
    """Return the table among files, the outermost one; None without any.

    Raises:
        RequestError: there are two of which neither is further out.
    """
    tables = sorted((path for path in paths if is_table(path)), key=lambda path: len(path.parts))
    if not tables:
        return None
    if len(tables) > 1 and len(tables[0].parts) == len(tables[1].parts):
        raise RequestError(
            f"There are two tables of labels: {tables[0]} and {tables[1]}.",
            f"Write one {NAME} for all pictures.",
        )
    return tables[0]


def read_table(
    content: bytes, table: PurePosixPath, pictures: Sequence[PurePosixPath]
) -> tuple[str, ...]:
    """Return each picture's class, by the table.

    Args:
        content: of the table.
        table: its path, which the paths in it may be relative to.
        pictures: the paths of all pictures.

    Raises:
        RequestError: it is no such table; it names a picture that is missing, or one twice; or a
            picture is not in it.
    """
    indices = _indices(table, pictures)
    classes: dict[int, str] = {}
    missing = []
    for name, label in _rows(content, indices):
        matching = indices.get(_plain(name), [])
        if not matching:
            missing.append(name)
            continue
        if len(matching) > 1:
            raise _problem(
                f"{name}, which is the name of {len(matching)} pictures in several folders",
                "Write the path of each: folder/name.",
            )
        if matching[0] in classes:
            raise _problem(f"{name} twice", "Name each picture once.")
        if not label:
            raise _problem(f"{name} without a label", "Write a label for each picture.")
        classes[matching[0]] = label
    if missing:
        raise _problem(
            f"{some(missing)}, which {'is' if len(missing) == 1 else 'are'} not there",
            "Add the pictures, or take their rows out.",
        )
    unnamed = [str(path) for index, path in enumerate(pictures) if index not in classes]
    if unnamed:
        raise RequestError(
            f"{NAME} has no row for {some(unnamed)}.",
            "Add a row for each picture, or take the pictures out.",
        )
    return tuple(classes[index] for index in range(len(pictures)))


def _indices(table: PurePosixPath, pictures: Sequence[PurePosixPath]) -> dict[str, list[int]]:
    """Return the indices of pictures by path, by path from the table, and by name alone."""
    exact = {str(path): [index] for index, path in enumerate(pictures)}
    beside = {
        str(path.relative_to(table.parent)): [index]
        for index, path in enumerate(pictures)
        if path.is_relative_to(table.parent)
    }
    bare = defaultdict(list)
    for index, path in enumerate(pictures):
        bare[path.name].append(index)
    return {**bare, **exact, **beside}


def _rows(content: bytes, indices: dict[str, list[int]]) -> Rows:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{NAME} is not text in UTF-8.", "Save it as CSV in UTF-8, as spreadsheets can."
        ) from error
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    try:
        table = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(row)]
    except csv.Error as error:
        raise RequestError(f"{NAME} cannot be read as a table ({error}).", FORM) from error
    if not table:
        raise RequestError(f"{NAME} is empty.", FORM)
    file, label, start = _columns(table[0], indices)
    short = [number for number, row in enumerate(table, 1) if len(row) <= max(file, label)]
    if short:
        raise RequestError(f"Row {short[0]:,} of {NAME} has too few columns.", FORM)
    return [(row[file].strip(), row[label].strip()) for row in table[start:]]


def _columns(first: Sequence[str], indices: dict[str, list[int]]) -> tuple[int, int, int]:
    """Return the columns of file and label, and the row with which pictures start."""
    names = [name.strip().casefold() for name in first]
    file = next((index for index, name in enumerate(names) if name in FILE_COLUMNS), None)
    label = next((index for index, name in enumerate(names) if name in LABEL_COLUMNS), None)
    if file is not None and label is not None:
        return file, label, 1
    # Without a header, the first row is that of a picture already.
    if len(first) == 2 and _plain(first[0]) in indices:
        return 0, 1, 0
    lacking = "file" if file is None else "label"
    raise RequestError(f"{NAME} has no column named {lacking}.", FORM)


def _plain(name: str) -> str:
    return str(PurePosixPath(name.strip().replace("\\", "/")))


def _problem(what: str, remedy: str) -> RequestError:
    return RequestError(f"{NAME} names {what}.", remedy)
