"""Collections of picture files: what people bring, and the stand-in photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantcore.errors import RequestError
from quantcore.images.classes import class_folders, lacking, match_labels
from quantcore.images.files import PictureFile, PictureFolder, prepare, read_source
from quantcore.images.split import ImageData, Split, combined, fewer_note
from quantcore.models import ModelInfo, bundled_file
from quantcore.schema import ImageSpec, file_digest

if TYPE_CHECKING:
    from torch import Tensor

# Of what people bring, at most these go to calibration and QAT; the rest judges.
CALIBRATION_MOST, CALIBRATION_SHARE = 1_024, 0.2
QAT_MOST, QAT_SHARE = 8_000, 0.4
QAT_LEAST = 16
HELD_OUT_SHARE = 1 / 8
PHOTO_SPLITS = ("calibration", "evaluation")
PHOTO_NOTE = (
    "Agreement with float32 is over {} crops of stand-in photographs, which have no labels; "
    "bring labelled pictures for accuracy."
)
LOOSE_NOTE = "These pictures have no labels: agreement with float32 is measured, accuracy is not."
FEW_NOTE = "They are too few for quantization-aware training."


@dataclass(frozen=True, eq=False)
class FilePictures:
    """Encoded pictures, decoded each time they are asked for."""

    files: tuple[PictureFile, ...]
    info: ModelInfo
    size: int

    def picture(self, place: int) -> Image.Image:
        """Return one picture, upright."""
        return self.files[place].open()

    def tensors(self, places: NDArray[np.int64]) -> "Tensor":
        """Return float32 `[len(places), 3, size, size]` in channels-last order."""
        import torch

        prepared = [prepare(self.picture(int(place)), self.info, self.size) for place in places]
        return torch.from_numpy(np.stack(prepared)).contiguous(memory_format=torch.channels_last)


def photos_digest() -> str:
    """Return the digest of the bundled stand-in photographs."""
    return combined(*(file_digest(bundled_file(f"photos/{name}.zip")) for name in PHOTO_SPLITS))


def load_photos(info: ModelInfo, size: int, evaluation_images: int, digest: str) -> ImageData:
    """Return the stand-in photographs: crops from disjoint halves, without labels."""
    calibration, evaluation = (_photo_split(name, info, size, digest) for name in PHOTO_SPLITS)
    evaluation = evaluation.first(evaluation_images)
    return ImageData(
        calibration=calibration,
        qat=None,
        qat_held_out=None,
        evaluation=evaluation,
        class_names=info.labels,
        labelled=False,
        name="stand-in photographs",
        note=PHOTO_NOTE.format(len(evaluation)),
    )


def _photo_split(name: str, info: ModelInfo, size: int, digest: str) -> Split:
    folder = read_source(str(bundled_file(f"photos/{name}.zip")))
    places = np.arange(len(folder.files))
    return Split(FilePictures(folder.files, info, size), places, None, combined(digest, name))


def load_brought(
    spec: ImageSpec, info: ModelInfo, folder: PictureFolder, size: int, digest: str
) -> ImageData:
    """Return a folder's or zip's pictures in seeded, disjoint splits.

    Raises:
        RequestError: there are fewer than two, or folders match no class.
    """
    different = len(folder.files) - sum(len(places) - 1 for places in folder.same)
    if different < 2:
        many = "a single picture" if len(folder.files) == 1 else "the same picture only"
        raise RequestError(
            f"{folder.name} holds {many}.",
            "Bring at least 2: one to calibrate with and another to judge with.",
        )
    labels = _labels(folder, info)
    pictures = FilePictures(folder.files, info, size)
    roles = allocate(len(folder.files), spec.seed, labels is not None, folder.same)
    splits = {
        role: Split(
            pictures, places, None if labels is None else labels[places], combined(digest, role)
        )
        for role, places in roles.items()
    }
    evaluation = splits["evaluation"].first(spec.evaluation_images)
    return ImageData(
        calibration=splits["calibration"],
        qat=splits.get("qat"),
        qat_held_out=splits.get("qat_held_out"),
        evaluation=evaluation,
        class_names=info.labels,
        labelled=labels is not None,
        name=folder.name,
        note=_note(fewer_note(len(evaluation), spec.evaluation_images), labels, splits, info),
    )


def _labels(folder: PictureFolder, info: ModelInfo) -> NDArray[np.int64] | None:
    classes = classes_of(folder)
    return None if classes is None else match_labels(classes, info, dict(folder.labels_of))


def classes_of(folder: PictureFolder) -> Sequence[str] | None:
    """Return the class that each picture's owner put it into; None where they are loose.

    Raises:
        RequestError: some pictures are in class folders and some beside them.
    """
    if folder.classes is not None:
        return folder.classes
    return class_folders([file.path for file in folder.files])


def allocate(
    count: int, seed: int, labelled: bool, same: Sequence[Sequence[int]] = ()
) -> dict[str, NDArray[np.int64]]:
    """Return which of `count` pictures each split takes, by role, in a seeded order.

    Pictures that are the same, as each group in `same` is, go into one split together: what is
    trained on must not judge. There must be two different ones.
    """
    calibration = max(1, min(CALIBRATION_MOST, int(count * CALIBRATION_SHARE)))
    qat = min(QAT_MOST, int(count * QAT_SHARE)) if labelled else 0
    qat = qat if qat >= QAT_LEAST else 0
    held_out = int(qat * HELD_OUT_SHARE)
    order = np.random.default_rng(seed).permutation(count)
    ends = np.cumsum([calibration, qat - held_out, held_out])
    parts = _cut(order, ends, same) if same else np.split(order, ends)
    if not (len(parts[1]) and len(parts[2])):
        parts = [parts[0], order[:0], order[:0], np.concatenate(parts[1:])]
    roles = ("calibration", "qat", "qat_held_out", "evaluation")
    return {role: part for role, part in zip(roles, parts, strict=True) if len(part)}


def _cut(
    order: NDArray[np.int64], ends: NDArray[np.int64], same: Sequence[Sequence[int]]
) -> list[NDArray[np.int64]]:
    """Return the order cut near `ends`, groups of the same picture whole and side by side."""
    group_of = {place: group for group in same for place in group}
    units: list[NDArray[np.int64]] = []
    taken: set[int] = set()
    for place in order.tolist():
        if place not in taken:
            unit = group_of.get(place, (place,))
            taken.update(unit)
            units.append(np.array(unit, np.int64))
    filled = np.cumsum([len(unit) for unit in units])
    # Each part goes on to the end of the unit that its last picture is in; the last part gets one.
    cuts = np.minimum(np.searchsorted(filled, ends) + 1, len(units) - 1)
    bounds = [0, *cuts.tolist(), len(units)]
    return [np.concatenate([order[:0], *units[start:end]]) for start, end in pairwise(bounds)]


def _note(
    fewer: str, labels: NDArray[np.int64] | None, splits: dict[str, Split], info: ModelInfo
) -> str:
    if labels is None:
        return " ".join(filter(None, (fewer, LOOSE_NOTE)))
    few = "" if "qat" in splits else FEW_NOTE
    return " ".join(filter(None, (fewer, few, lacking(labels, info))))
