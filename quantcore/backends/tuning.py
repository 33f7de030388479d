"""What a conversion finds out by trial: how to find ranges, and which layers to leave in float.

Trials are judged on pictures that were not calibrated on, never on those that evaluate a variant.
A toolchain gives the trials; nothing here knows how one is made.
"""

import math
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcore.backends.fidelity import sqnr_db
from quantcore.backends.options import Observer, StaticOptions
from quantcore.formats import Predictor
from quantcore.images import ImageData, Split
from quantcore.schema import Report

# Pictures that trials of observers are judged on; a quarter of them all where there are few.
JUDGING = 64
# Pictures that a loss is estimated on. Half a point is then five of them.
CHOOSING = 1_000
# Pictures that layers are ranked on; each trial answers for them once.
RANKING = 16
# Layers that are left in float together in the first trials, and of how many such groups each
# layer is then tried alone.
NEIGHBOURS, SINGLED_OUT = 8, 2
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
    """Return the pictures that a loss is estimated on: with labels where there are such.

    They are held out where enough are: float models know by heart what they were trained on, and
    lose more of it than of other pictures.
    """
    labelled = [split for split in (images.qat_held_out, images.qat) if split is not None]
    enough = [split for split in labelled if len(split) >= CHOOSING]
    return (*enough, *labelled[1:], images.calibration)[0].first(CHOOSING)


def answers(predict: Predictor, split: Split) -> Logits:
    """Return the logits `[N, classes]` of a split's pictures."""
    parts = [predict(images).float().numpy() for images, _ in split.batches(BATCH)]
    return np.concatenate(parts)


def best_observer(
    asked: Observer | None,
    tried: Sequence[Observer],
    trial: Callable[[Observer], Logits],
    reference: Callable[[], Logits],
) -> tuple[Observer, dict[str, float]]:
    """Return the observer asked for, or the best of a toolchain's, and decibels of each trial.

    Args:
        asked: of the workflow, which takes the backend's for none before it converts.
        tried: what `auto` tries.
        trial: the logits of a model calibrated with one.
        reference: the float logits on the same pictures; the best comes nearest to them.
    """
    assert asked is not None
    if asked != "auto":
        return asked, {}
    exact = reference()
    found: dict[str, float] = {}
    for observer in tried:
        found[observer] = round(_decibels(exact, trial(observer)), 2)
    return max(tried, key=lambda each: found[each]), found


def _decibels(reference: Logits, logits: Logits) -> float:
    decibels = sqnr_db(reference, logits)
    return NOISELESS_DB if decibels is None else decibels


def loss_points(
    reference: Logits, logits: Logits, labels: NDArray[Any] | None
) -> tuple[float, float]:
    """Return what is lost, in points, and its standard error over the pictures.

    It is of top-1, or of agreement where there are no labels.
    """
    float32, quantized = (each.argmax(axis=1) for each in (reference, logits))
    wanted = float32 if labels is None else labels
    lost = 100.0 * ((float32 == wanted).astype(int) - (quantized == wanted))
    return float(lost.mean()), float(lost.std() / math.sqrt(len(lost)))


def kept_float(
    layers: Sequence[str],
    reference: Callable[[Split], Logits],
    trial: Callable[[Collection[str], Split], Logits],
    images: ImageData,
    options: StaticOptions,
    report: Report,
) -> tuple[tuple[str, ...], float | None]:
    """Return the layers that stay in float, and the loss in points that is left.

    Args:
        layers: names of those that may, in the order of the graph.
        reference: the float logits on a split.
        trial: the logits on a split of the calibrated model, the named layers in float.
        images: of the conversion.
        options: how many stay, or `auto` for as few as keep the largest loss. Where no number of
            layers keeps it, that with the least loss is returned.
        report: of progress.
    """
    keep, limit = options.keep_float, options.max_loss_points
    if not keep:
        return (), None
    split = choosing(images)
    exact = reference(split)

    @cache
    def loss(count: int) -> tuple[float, float]:
        report("finding layers that stay in float", 0.9 if ranked else 0.5)
        return loss_points(exact, trial(ranked[:count], split), split.labels)

    # The first of many numbers that seems to do owes some of that to these pictures: it is to
    # keep the limit with a standard error to spare.
    def cautious(count: int) -> float:
        return sum(loss(count))

    ranked: tuple[str, ...] = ()
    # Ranking takes many trials, which a model that is good enough can do without.
    if keep == "auto" and loss(0)[0] <= limit:
        return (), round(loss(0)[0], 3)
    ranked = _ranked(layers, reference, trial, images.calibration.first(RANKING), report)
    count = min(keep, len(ranked)) if keep != "auto" else _fewest(len(ranked), cautious, limit)
    return ranked[:count], round(loss(count)[0], 3)


def _ranked(
    layers: Sequence[str],
    reference: Callable[[Split], Logits],
    trial: Callable[[Collection[str], Split], Logits],
    split: Split,
    report: Report,
) -> tuple[str, ...]:
    """Return the layers by how near the answers are to float without their rounding.

    Neighbours are left in float together first, then one by one where that helped most: a trial a
    layer would take longer than the conversion.
    """
    exact = reference(split)

    def nearest(candidates: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        found: dict[tuple[str, ...], float] = {}
        for index, names in enumerate(candidates):
            report("looking for the layers that hurt most", 0.5 + 0.4 * index / len(candidates))
            found[names] = _decibels(exact, trial(names, split))
        return sorted(candidates, key=lambda names: -found[names])

    together = [tuple(layers[at : at + NEIGHBOURS]) for at in range(0, len(layers), NEIGHBOURS)]
    # Few layers are ranked one by one at once.
    worst, rest = together, []
    if len(together) > SINGLED_OUT:
        ordered = nearest(together)
        worst, rest = ordered[:SINGLED_OUT], ordered[SINGLED_OUT:]
    singles = nearest([(name,) for names in worst for name in names])
    return tuple(name for names in (*singles, *rest) for name in names)


def _fewest(total: int, loss: Callable[[int], float], limit: float) -> int:
    """Return how few of the worst layers keep the limit; where none do, how many lose least."""
    tried, count = {0: loss(0)}, 1
    # Twice as many each time, so that few models are converted; then back towards the fewest.
    while min(tried.values()) > limit and count < 2 * total:
        number = min(count, total)
        tried[number] = loss(number)
        count *= 2
    good = [number for number in tried if tried[number] <= limit]
    if not good:
        return min(tried, key=lambda number: (tried[number], number))
    high, low = min(good), max((number for number in tried if number < min(good)), default=-1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) <= limit else (middle, high)
    return high
