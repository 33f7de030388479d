"""Collections of picture files: people's own, and the bundled stand-in photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantcore.errors import RequestError
from quantcore.images.classes import class_folders, lacking, match_labels
from quantcore.images.files import PictureFile, PictureFolder, read_source
from quantcore.images.preparation import prepare
from quantcore.images.split import ImageData, Split, combined, fewer_note
from quantcore.models import ModelInfo, bundled_file
from quantcore.schema import ImageSpec, file_digest

if TYPE_CHECKING:
    from torch import Tensor

# At most these of people's own pictures go to calibration and QAT; the rest is for evaluation.
MAX_CALIBRATION, CALIBRATION_SHARE = 1_024, 0.2
MAX_QAT, QAT_SHARE = 8_000, 0.4
MIN_QAT = 16
HELD_OUT_SHARE = 1 / 8
PHOTO_SPLITS = ("calibration", "evaluation")
PHOTO_NOTE = (
    "Agreement with float32 is over {} crops of stand-in photographs, which have no labels; "
    "use labelled pictures for accuracy."
)
LOOSE_NOTE = "These pictures have no labels: agreement with float32 is measured, accuracy is not."
FEW_NOTE = "They are too few for quantization-aware training."


@dataclass(frozen=True, eq=False)
class FilePictures:
    """Encoded pictures, decoded at each use."""

    files: tuple[PictureFile, ...]
    info: ModelInfo
    size: int

    def picture(self, index: int) -> Image.Image:
        """Return one picture, upright."""
        return self.files[index].open()

    def tensors(self, indices: NDArray[np.int64]) -> "Tensor":
        """Return float32 `[len(indices), 3, size, size]` in channels-last order."""
        import torch

        prepared = [prepare(self.picture(int(index)), self.info, self.size) for index in indices]
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
    indices = np.arange(len(folder.files))
    return Split(FilePictures(folder.files, info, size), indices, None, combined(digest, name))


def load_own(
    spec: ImageSpec, info: ModelInfo, folder: PictureFolder, size: int, digest: str
) -> ImageData:
    """Return the pictures of a folder or zip in seeded, disjoint splits.

    Raises:
        RequestError: there are fewer than two, or folders match no class.
    """
    different = len(folder.files) - sum(len(indices) - 1 for indices in folder.same)
    if different < 2:
        many = "a single picture" if len(folder.files) == 1 else "the same picture only"
        raise RequestError(
            f"{folder.name} holds {many}.",
            "Take at least 2: one to calibrate with and another to evaluate with.",
        )
    labels = _labels(folder, info)
    pictures = FilePictures(folder.files, info, size)
    roles = allocate(len(folder.files), spec.seed, labels is not None, folder.same)
    splits = {
        role: Split(
            pictures, indices, None if labels is None else labels[indices], combined(digest, role)
        )
        for role, indices in roles.items()
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
    """Return each picture's class, by table or folder; None where pictures are loose.

    Raises:
        RequestError: some pictures are in class folders and some beside them.
    """
    if folder.classes is not None:
        return folder.classes
    return class_folders([file.path for file in folder.files])


def allocate(
    count: int, seed: int, labelled: bool, same: Sequence[Sequence[int]] = ()
) -> dict[str, NDArray[np.int64]]:
    """Return the indices of each split's pictures among `count`, by role, in a seeded order.

    Pictures that are the same, as each group in `same` is, go into one split together: none may
    be both trained on and evaluated with. There must be two different ones.
    """
    calibration = max(1, min(MAX_CALIBRATION, int(count * CALIBRATION_SHARE)))
    qat = min(MAX_QAT, int(count * QAT_SHARE)) if labelled else 0
    qat = qat if qat >= MIN_QAT else 0
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
    group_of = {index: group for group in same for index in group}
    units: list[NDArray[np.int64]] = []
    placed: set[int] = set()
    for index in order.tolist():
        if index not in placed:
            unit = group_of.get(index, (index,))
            placed.update(unit)
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
