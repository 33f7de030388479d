"""Figures and how sure they are: percentiles, intervals, a paired test, agreement, SQNR.

Pure numpy. Intervals are 95 %. Shares run from 0 to 1.
"""

import math
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import cache, lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantcore.schema import Accuracy, Guess, Named

CONFIDENCE = 0.95
Z_95 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
# A normal distribution's standard deviation over its median distance from the middle.
DEVIATION_PER_DISTANCE = 1.4826
# Classes named in an answer to one picture.
GUESSES = 5


def median_and_p90(samples: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 90th percentile of a few samples, faster than numpy does."""
    ordered, last = sorted(samples), len(samples) - 1
    low, part = divmod(0.9 * last, 1)
    p90 = ordered[int(low)] + part * (ordered[min(last, int(low) + 1)] - ordered[int(low)])
    return (ordered[last // 2] + ordered[(last + 1) // 2]) / 2, p90


def deviation(distances: ArrayLike) -> float:
    """Return the standard deviation of errors, from their median distance from zero."""
    return DEVIATION_PER_DISTANCE * float(np.median(np.abs(np.asarray(distances))))


@cache
def student_t(freedom: int) -> float:
    """Return the t beyond which 5 % of Student's distribution lies, both sides together.

    Raises:
        ValueError: fewer than one degree of freedom.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        inside = 1 - student_p(math.tan(angle) * math.sqrt(freedom), freedom)
        low, high = (angle, high) if inside < CONFIDENCE else (low, angle)
    return math.tan(low) * math.sqrt(freedom)


def student_p(t: ArrayLike, freedom: int) -> NDArray[np.float64]:
    """Return the two-sided p of Student's t, elementwise, for whole degrees of freedom.

    The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.

    Raises:
        ValueError: fewer than one degree of freedom.
    """
    if freedom < 1:
        raise ValueError("Student's t needs at least one degree of freedom")
    angle = np.arctan(np.abs(np.asarray(t, dtype=np.float64)) / math.sqrt(freedom))
    cosine, odd = np.cos(angle), freedom % 2
    term = cosine if odd else np.ones_like(cosine)
    total = term if freedom > 1 else np.zeros_like(cosine)
    for step in range(2 + odd, freedom - 1, 2):
        term = term * cosine * cosine * (step - 1) / step
        total = total + term
    series = np.sin(angle) * total
    inside = 2 / math.pi * (angle + series) if odd else series
    return np.maximum(0.0, 1.0 - np.asarray(inside, dtype=np.float64))


def wilson(right: int, images: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the share `right / images`.

    Raises:
        ValueError: no images, or more right than there are.
    """
    if not 0 <= right <= images or images == 0:
        raise ValueError(f"wilson takes 0 <= right <= images and images > 0: {right}, {images}")
    share, weight = right / images, Z_95 * Z_95 / images
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    # At the ends the interval touches them exactly; rounding must not carry it past.
    low = 0.0 if right == 0 else centre - half
    return low, (1.0 if right == images else centre + half)


def accuracy(predicted: ArrayLike, labels: ArrayLike) -> Accuracy:
    """Return the share of pictures whose predicted class is their label.

    Args:
        predicted: class indices, `[N]`.
        labels: class indices, `[N]`.

    Raises:
        ValueError: the two differ in shape, or there are no pictures.
    """
    classes, truth = np.asarray(predicted), np.asarray(labels)
    if classes.shape != truth.shape or classes.ndim != 1:
        raise ValueError(f"accuracy takes two [N]: {classes.shape} and {truth.shape}")
    right, images = classes == truth, len(truth)
    count = int(right.sum())
    interval = wilson(count, images)
    chance = float(np.unique(truth, return_counts=True)[1].max()) / images
    return Accuracy(count / images, images, *interval, _packed(right), chance)


def named(logits: ArrayLike) -> Named:
    """Return how many classes logits `[N, classes]` name, and how often the one named most."""
    counts = np.unique(np.asarray(logits).argmax(axis=1), return_counts=True)[1]
    return Named(len(counts), float(counts.max() / counts.sum()))


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Return the share, 0 to 1, that logits `[..., classes]` give each class."""
    numbers = np.asarray(logits, dtype=np.float64)
    scaled = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = scaled / scaled.sum(axis=-1, keepdims=True)
    return shares


def _packed(right: NDArray[np.bool_]) -> str:
    return b64encode(np.packbits(right).tobytes()).decode()


def which_right(accuracy: Accuracy) -> NDArray[np.bool_] | None:
    """Return which pictures an accuracy counts as right, `[N]`; None where that is not known."""
    try:
        packed = np.frombuffer(b64decode(accuracy.right, validate=True), dtype=np.uint8)
    except ValueError:
        return None
    if not accuracy.images or len(packed) != -(-accuracy.images // 8):
        return None
    return np.unpackbits(packed, count=accuracy.images).astype(np.bool_)


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """Return McNemar's exact two-sided p that two models are equally often right.

    Args:
        right_a: per picture, whether the one model is right, `[N]` of bool.
        right_b: the same of the other model, on the same pictures in the same order.

    Raises:
        ValueError: the two differ in shape.
    """
    one, other = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"mcnemar takes two [N]: {one.shape} and {other.shape}")
    return mcnemar_counts(int((one & ~other).sum()), int((other & ~one).sum()))


@lru_cache(maxsize=65_536)
def mcnemar_counts(only_a: int, only_b: int) -> float:
    """Return McNemar's exact p from the pictures that only one of the two gets right.

    Twice the smaller tail of a fair coin thrown `only_a + only_b` times, summed as logarithms so
    that tens of thousands of throws neither overflow nor vanish before their sum is taken.
    """
    throws, fewer = only_a + only_b, min(only_a, only_b)
    if only_a == only_b:
        return 1.0
    heads = np.arange(1, fewer + 1)
    ways = np.concatenate(([0.0], np.cumsum(np.log((throws - heads + 1) / heads))))
    logs = ways - throws * math.log(2)
    tail = math.exp(logs[-1]) * float(np.exp(logs - logs[-1]).sum())
    return min(1.0, 2 * tail)


def top_guesses(logits: NDArray[Any], labels: Sequence[str]) -> tuple[Guess, ...]:
    """Return the five classes that logits `[classes]` give the largest share, largest first."""
    shares = softmax(logits)
    order = np.argsort(-shares, kind="stable")[:GUESSES]
    return tuple(Guess(int(index), labels[index], float(shares[index])) for index in order)
