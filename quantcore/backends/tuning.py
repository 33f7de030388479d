"""What a conversion finds out by trial: how to find ranges, and which layers to leave in float.

Trials are judged on pictures that were not calibrated on, never on those that evaluate a variant.
A toolchain gives the trials; nothing here knows how one is made.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcore.backends.fidelity import agreement, sqnr_db
from quantcore.backends.options import KeepFloat, Observer
from quantcore.formats import Predictor
from quantcore.images import ImageData, Split

# Pictures that trials of observers are judged on; a quarter of them all where there are few.
JUDGING = 64
# Pictures that a loss is estimated on. Half a point is then five of them.
CHOOSING = 1_000
BATCH = 64
# Stands for no noise at all: 24 bits' worth.
NOISELESS_DB = 144.0

Logits = NDArray[np.float32]


def parted(images: ImageData, count: int) -> tuple[Split, Split]:
    """Return up to `count` pictures to calibrate on, and others to judge trials on."""
    split = images.calibration
    judging = min(JUDGING, max(1, len(split) // 4))
    if len(split) < 2:
        return split, split
    calibrating = split.first(min(count, len(split) - judging))
    return calibrating, split.after(len(calibrating)).first(judging)


def choosing(images: ImageData) -> Split:
    """Return the pictures that a loss is estimated on: with labels where there are such."""
    split = images.calibration if images.qat is None else images.qat
    return split.first(CHOOSING)


def answers(predict: Predictor, split: Split) -> Logits:
    """Return the logits `[N, classes]` of a split's pictures."""
    parts = [predict(images).float().numpy() for images, _ in split.batches(BATCH)]
    return np.concatenate(parts)


def best_observer(
    observers: Sequence[Observer], trial: Callable[[Observer], Logits], reference: Logits
) -> tuple[Observer, dict[str, float]]:
    """Return the observer whose trial answers nearest to the float logits, and decibels of each."""
    found: dict[str, float] = {}
    for observer in observers:
        decibels = sqnr_db(reference, trial(observer))
        found[observer] = round(NOISELESS_DB if decibels is None else decibels, 2)
    return max(observers, key=lambda each: found[each]), found


def loss_points(reference: Logits, logits: Logits, labels: NDArray[Any] | None) -> float:
    """Return what is lost, in points: of top-1, or of agreement where there are no labels."""
    if labels is None:
        return 100 * (1 - agreement(reference, logits))
    before, after = (float((each.argmax(axis=1) == labels).mean()) for each in (reference, logits))
    return 100 * (before - after)


def kept_float(
    ranked: Sequence[str],
    loss: Callable[[Sequence[str]], float],
    keep: KeepFloat,
    limit: float,
) -> tuple[tuple[str, ...], float]:
    """Return the layers that stay in float, and the loss in points that is left.

    Args:
        ranked: names of layers, the most harmful first.
        loss: in points, of a model in which these layers stay in float; each call converts one.
        keep: how many stay, or `auto` for as few as keep the limit.
        limit: in points. Where no number of layers keeps it, that with the least loss is returned.
    """
    if keep != "auto":
        kept = tuple(ranked[:keep])
        return kept, loss(kept)
    tried = {0: loss(())}
    count = 1
    # Twice as many each time, so that few models are converted; then back towards the fewest.
    while min(tried.values()) > limit and count < 2 * len(ranked):
        number = min(count, len(ranked))
        tried[number] = loss(ranked[:number])
        count *= 2
    good = [number for number in tried if tried[number] <= limit]
    if not good:
        best = min(tried, key=lambda number: (tried[number], number))
        return tuple(ranked[:best]), tried[best]
    high, low = min(good), max((number for number in tried if number < min(good)), default=-1)
    while high - low > 1:
        middle = (low + high) // 2
        tried[middle] = loss(ranked[:middle])
        low, high = (low, middle) if tried[middle] <= limit else (middle, high)
    return tuple(ranked[:high]), tried[high]
