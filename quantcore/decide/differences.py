"""Pictures on which a variant and float32 name different classes, and the effect on each class."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantcore.decide.budgets import Estimate
from quantcore.decide.paired import difference
from quantcore.engine import metrics

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]
# Which of the two is right on a picture they differ on; `unknown` without labels.
Right = Literal["float32", "variant", "neither", "unknown"]


@dataclass(frozen=True)
class Disagreement:
    """A picture on which the two name different classes.

    Attributes:
        picture: its index among the evaluation pictures.
        label: its class; None where it is unknown.
        before: the class that float32 names, and the share it gives it, 0 to 1.
        after: the same of the variant.
        right: which of the two is right.
    """

    picture: int
    label: int | None
    before: tuple[int, float]
    after: tuple[int, float]
    right: Right


@dataclass(frozen=True)
class ClassChange:
    """The change of one class: shares of its pictures that float32 and the variant get right.

    `points` is the change in percentage points, with its 95 % interval over the same pictures.
    """

    label: int
    images: int
    before: float
    after: float
    points: Estimate


def disagreements(before: Logits, after: Logits, labels: Labels | None) -> list[Disagreement]:
    """Return the pictures on which the two differ, the surest contradiction first.

    Pictures that only float32 gets right come before those that only the variant does.

    Args:
        before: logits of float32, `[N, classes]`.
        after: logits of the variant, of the same pictures.
        labels: the right classes, `[N]`; None without any.
    """
    shares_before, shares_after = metrics.softmax(before), metrics.softmax(after)
    named_before, named_after = before.argmax(axis=1), after.argmax(axis=1)
    pictures = []
    for index in np.flatnonzero(named_before != named_after):
        one, other = int(named_before[index]), int(named_after[index])
        label = None if labels is None else int(labels[index])
        pictures.append(
            Disagreement(
                int(index),
                label,
                (one, float(shares_before[index, one])),
                (other, float(shares_after[index, other])),
                _right(label, one, other),
            )
        )
    return sorted(pictures, key=_badness, reverse=True)


def _right(label: int | None, before: int, after: int) -> Right:
    if label is None:
        return "unknown"
    if label == before:
        return "float32"
    return "variant" if label == after else "neither"


def _badness(one: Disagreement) -> tuple[int, float]:
    order = ("variant", "neither", "unknown", "float32")
    return order.index(one.right), one.before[1] + one.after[1]


def class_changes(before: Logits, after: Logits, labels: Labels) -> list[ClassChange]:
    """Return the change of every class that has pictures, the greatest loss first."""
    right_before, right_after = before.argmax(axis=1) == labels, after.argmax(axis=1) == labels
    changes = []
    for label in np.unique(labels):
        own = labels == label
        one, other = right_before[own], right_after[own]
        points = difference(
            float((other & ~one).sum()), float((one & ~other).sum()), int(own.sum())
        )
        assert points is not None
        changes.append(
            ClassChange(int(label), int(own.sum()), float(one.mean()), float(other.mean()), points)
        )
    return sorted(changes, key=lambda change: (change.points.value, change.label))


def confusion_change(before: Logits, after: Logits, labels: Labels) -> NDArray[np.int64]:
    """Return how many more pictures of each class (row) the variant names each class (column).

    The sums of all rows are zero. `[classes, classes]`
    """
    classes = before.shape[1]
    return _confusion(after, labels, classes) - _confusion(before, labels, classes)


def _confusion(logits: Logits, labels: Labels, classes: int) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    return counts


def is_real(before: Logits, after: Logits, labels: Labels) -> bool:
    """Return whether the two differ in accuracy beyond chance (McNemar's exact test)."""
    p = metrics.mcnemar(before.argmax(axis=1) == labels, after.argmax(axis=1) == labels)
    return p <= 1 - metrics.CONFIDENCE
