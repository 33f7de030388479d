"""Match the folders of a picture collection to a model's classes."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from quantcore.errors import RequestError
from quantcore.models import ModelInfo
from quantcore.uploads import placeholders

SHOWN = 12
WORDNET_ID = re.compile(r"n\d{8}")


def class_folders(paths: Sequence[PurePosixPath]) -> list[str] | None:
    """Return each picture's class folder, or None for loose pictures.

    Folders that only wrap the rest, as zips of a folder have, are looked through.

    Raises:
        RequestError: some pictures are in folders and some beside them.
    """
    parts = [path.parts for path in paths]
    while all(len(part) > 2 for part in parts) and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    loose = [part[0] for part in parts if len(part) == 1]
    if len(loose) == len(parts):
        return None
    if loose:
        raise RequestError(
            f"{_listing(loose)}: beside the class folders, not in one.",
            "Put every picture into the folder of its class, or all of them into one folder.",
        )
    return [part[0] for part in parts]


def match_labels(
    folders: Sequence[str], info: ModelInfo, labels_of: Mapping[str, str] | None = None
) -> NDArray[np.int64] | None:
    """Return each picture's class index; None where one lone folder names no class.

    Folders are matched by name, without regard to case, spaces and punctuation; by class index
    where none matches by name; a full set of WordNet ids in sorted order, as ImageNet comes; and
    in sorted order too where the model's labels are but placeholders, one for each folder. What is
    not matched so is as its owner chose.

    Args:
        folders: of each picture.
        info: the model.
        labels_of: the label of a folder, where its owner chose one.

    Raises:
        RequestError: a folder matches no class, or more than one.
    """
    names = sorted(set(folders))
    matched = _matched_or_chosen(names, info, labels_of or {})
    if not matched and len(names) == 1:
        return None
    unmatched = [name for name in names if name not in matched]
    if unmatched:
        raise RequestError(
            f"{_listing(unmatched)}: no such class in {info.title}.",
            f"Name the folders by class, or by number from 0 to {info.classes - 1}. "
            f"The classes are {_listing(info.labels)}.",
        )
    return np.array([matched[folder] for folder in folders], np.int64)


def unmatched(folders: Sequence[str], info: ModelInfo) -> list[str]:
    """Return the folders that fit no class of the model by themselves, or more than one."""
    names = sorted(set(folders))
    try:
        matched = _matched(names, info)
    except RequestError:
        # Its owner has to choose for at least one; then they may choose for all.
        return names
    return [name for name in names if name not in matched]


def is_placeholder(labels: Sequence[str]) -> bool:
    """Return whether labels only count, `class 0`, `class 1`, as where a file named none."""
    return tuple(labels) == placeholders(len(labels))


def lacking(labels: NDArray[np.int64], info: ModelInfo) -> str:
    """Return a sentence on the model's classes that no picture shows, or nothing."""
    shown = set(labels.tolist())
    missing = [label for index, label in enumerate(info.labels) if index not in shown]
    if not missing:
        return ""
    return (
        f"The pictures show {info.classes - len(missing):,} of the model's {info.classes:,} "
        f"classes; there is none of {_listing(missing)}."
    )


def _matched_or_chosen(
    names: Sequence[str], info: ModelInfo, labels_of: Mapping[str, str]
) -> dict[str, int]:
    """Return each folder's class: by name where all match, else by the owner's choices first."""
    index_of = {label: index for index, label in enumerate(info.labels)}
    chosen = {name: index_of[labels_of[name]] for name in names if labels_of.get(name) in index_of}
    if not chosen or not unmatched(names, info):
        return _matched(names, info)
    return {**_matched([name for name in names if name not in chosen], info), **chosen}


def _matched(names: Sequence[str], info: ModelInfo) -> dict[str, int]:
    return (
        _by_name(names, info)
        or _by_index(names, info)
        or _by_wordnet(names, info)
        or _by_order(names, info)
    )


def _by_order(names: Sequence[str], info: ModelInfo) -> dict[str, int]:
    fits = len(names) == info.classes and is_placeholder(info.labels)
    return {name: index for index, name in enumerate(names)} if fits else {}


def _by_name(names: Sequence[str], info: ModelInfo) -> dict[str, int]:
    exact = {label: index for index, label in enumerate(info.labels)}
    indices = defaultdict(list)
    for label, index in exact.items():
        indices[_plain(label)].append(index)
    # Exactly first: ImageNet has both a Cardigan, which is a dog, and a cardigan.
    return {
        name: exact[name] if name in exact else _only(name, indices[_plain(name)], info)
        for name in names
        if _plain(name) in indices
    }


def _only(name: str, indices: Sequence[int], info: ModelInfo) -> int:
    if len(indices) > 1:
        raise RequestError(
            f"The folder {name!r} fits {len(indices)} classes of {info.title}: "
            f"numbers {' and '.join(map(str, indices))}.",
            f"Write it as {' or '.join(info.labels[index] for index in indices)}.",
        )
    return indices[0]


def _by_index(names: Sequence[str], info: ModelInfo) -> dict[str, int]:
    return {
        name: int(name)
        for name in names
        if name.isascii() and name.isdigit() and int(name) < info.classes
    }


def _by_wordnet(names: Sequence[str], info: ModelInfo) -> dict[str, int]:
    complete = len(names) == info.classes and all(WORDNET_ID.fullmatch(name) for name in names)
    return {name: index for index, name in enumerate(names)} if complete else {}


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
