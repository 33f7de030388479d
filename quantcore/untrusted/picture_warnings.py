"""Warnings about uploaded pictures: too few, unequal classes, repeated or alike pictures."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantcore.images import PictureFolder, collected
from quantcore.wording import count, joined, some

FEW_A_CLASS = 20
FEW_TO_EVALUATE = 100
IMBALANCE = 10
REDUCED_PX = 8
# Of 255: how far the small versions of one picture that was saved twice are apart.
REDUCED_TOLERANCE = 4
# Pictures that each evaluation picture is compared with, at most.
MAX_ALIKE = 200


def reduced(picture: Image.Image) -> NDArray[np.int16]:
    """Return a picture as a few numbers that saving it again hardly changes."""
    small = picture.convert("RGB").resize((REDUCED_PX, REDUCED_PX), Image.Resampling.BOX)
    return np.asarray(small, np.int16)


def warnings_of(
    folder: PictureFolder,
    classes: Sequence[str],
    reduced_pictures: Sequence[NDArray[np.int16]],
    misnamed: Sequence[str],
    left_out: Sequence[str],
) -> Iterable[str]:
    """Yield a sentence for each thing that may spoil a measurement with these pictures."""
    yield from _of_numbers(folder, classes)
    yield from _of_same(folder, classes, reduced_pictures)
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
    evaluated = len(roles["evaluation"])
    if evaluated < FEW_TO_EVALUATE:
        weight = f": one picture is {100 / evaluated:.1f} points" if classes else ""
        yield f"Only {count(evaluated, 'picture')} will evaluate the model{weight}. Upload more."
    if not classes:
        return
    if "qat" not in roles:
        yield "There are too few pictures for quantization-aware training."
    counts = Counter(classes)
    few = sorted(name for name, number in counts.items() if number < FEW_A_CLASS)
    if few:
        counted = [f"{name} ({counts[name]:,})" for name in few]
        yield f"Fewer than {FEW_A_CLASS} pictures: {some(counted)}."
    (most, high), (least, low) = counts.most_common()[0], counts.most_common()[-1]
    if high > IMBALANCE * low:
        yield (
            f"The classes are unequal: {high:,} of {most}, {low:,} of {least}. Accuracy will be "
            "mostly that of the frequent ones."
        )


def _of_same(
    folder: PictureFolder, classes: Sequence[str], reduced_pictures: Sequence[NDArray[np.int16]]
) -> Iterable[str]:
    again = sum(len(group) - 1 for group in folder.same)
    if again:
        first = joined([str(folder.files[index].path) for index in folder.same[0][:2]])
        yield (
            f"{count(again, 'picture')} {'is' if again == 1 else 'are'} there more than once, such "
            f"as {first}. What is the same is never both trained on and evaluated with."
        )
    mixed = (
        [group for group in folder.same if len({classes[each] for each in group}) > 1]
        if classes
        else []
    )
    if mixed:
        names = sorted({classes[index] for index in mixed[0]})
        yield (
            f"{count(len(mixed), 'picture')} {'is' if len(mixed) == 1 else 'are'} in more than one "
            f"class, such as {folder.files[mixed[0][0]].path} in {joined(names)}."
        )
    alike = _alike_pairs(folder, bool(classes), reduced_pictures)
    if alike:
        first = joined([str(folder.files[index].path) for index in alike[0]])
        yield (
            f"{count(len(alike), 'picture')} that will evaluate the model "
            f"{'looks' if len(alike) == 1 else 'look'} like one that it is tuned with, such as "
            f"{first}. Accuracy may come out too high."
        )


def _alike_pairs(
    folder: PictureFolder, labelled: bool, reduced_pictures: Sequence[NDArray[np.int16]]
) -> list[tuple[int, int]]:
    """Return pairs of indices: an evaluation picture, and one of another split like it."""
    roles = collected.allocate(len(reduced_pictures), 0, labelled, folder.same)
    evaluated = set(roles["evaluation"].tolist())
    buckets = defaultdict(list)
    for index, picture in enumerate(reduced_pictures):
        grey = picture.sum(axis=2)
        # A picture of one colour, or nearly, looks like many others.
        if np.ptp(grey) > 3 * REDUCED_TOLERANCE * REDUCED_PX:
            buckets[(grey > grey.mean()).tobytes()].append(index)
    pairs = []
    for indices in buckets.values():
        tuning = [index for index in indices if index not in evaluated][:MAX_ALIKE]
        for index in filter(evaluated.__contains__, indices):
            near = (
                each
                for each in tuning
                if _is_alike(reduced_pictures[index], reduced_pictures[each])
            )
            pairs += [(index, each) for each in [next(near, None)] if each is not None]
    return pairs


def _is_alike(one: NDArray[np.int16], other: NDArray[np.int16]) -> bool:
    return bool(np.abs(one - other).max() <= REDUCED_TOLERANCE)


def _are(things: Sequence[str]) -> str:
    return "is" if len(things) == 1 else "are"
