"""The pictures of a comparison: disjoint splits of one collection, prepared when they are used."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor


class Pictures(Protocol):
    """A collection's pictures by index, raw and as a model sees them."""

    def picture(self, index: int) -> Image.Image:
        """Return one picture as a person would look at it."""

    def tensors(self, indices: NDArray[np.int64]) -> "Tensor":
        """Return float32 `[len(indices), 3, S, S]` in channels-last order."""


@dataclass(frozen=True, eq=False)
class Split:
    """Some of a collection's pictures, in a fixed order.

    Attributes:
        pictures: the collection.
        indices: of these pictures in the collection, `[N]`.
        labels: their classes, `[N]`; None where they have none.
        digest: SHA-256 that stands for the pictures, their order, and how they are prepared.
    """

    pictures: Pictures
    indices: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    digest: str

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.indices)

    def batches(
        self, size: int, count: int | None = None
    ) -> Iterator[tuple["Tensor", "Tensor | None"]]:
        """Yield the first `count` pictures (all by default), `size` at a time, with their labels.

        Pictures are float32 `[n, 3, S, S]` in channels-last order, labels int64 `[n]`.

        Raises:
            RequestError: a picture is damaged; the sentence names it.
        """
        import torch

        end = len(self) if count is None else min(count, len(self))
        for start in range(0, end, size):
            stop = min(start + size, end)
            labels = None if self.labels is None else torch.from_numpy(self.labels[start:stop])
            yield self.pictures.tensors(self.indices[start:stop]), labels

    def shuffled(self, seed: int) -> "Split":
        """Return a split with the pictures shuffled by the seed."""
        order = np.random.default_rng(seed).permutation(len(self))
        labels = None if self.labels is None else self.labels[order]
        digest = combined(self.digest, f"shuffled {seed}")
        return Split(self.pictures, self.indices[order], labels, digest)

    def tensor(self, count: int) -> "Tensor":
        """Return the first `count` pictures as one tensor `[count, 3, S, S]`."""
        return self.pictures.tensors(self.indices[:count])

    def thumbnail(self, index: int) -> Image.Image:
        """Return one picture as a person would look at it, before it is resized for the model."""
        return self.pictures.picture(int(self.indices[index]))

    def first(self, count: int) -> "Split":
        """Return the first `count` pictures, or all where there are fewer."""
        if count >= len(self):
            return self
        labels = None if self.labels is None else self.labels[:count]
        return Split(self.pictures, self.indices[:count], labels, combined(self.digest, str(count)))

    def after(self, count: int) -> "Split":
        """Return the pictures behind the first `count`."""
        labels = None if self.labels is None else self.labels[count:]
        digest = combined(self.digest, f"after {count}")
        return Split(self.pictures, self.indices[count:], labels, digest)


@dataclass(frozen=True, eq=False)
class ImageData:
    """Disjoint splits of one collection.

    Attributes:
        calibration: pictures that observers see.
        qat: pictures that QAT trains on; None where pictures have no labels or are too few.
        qat_held_out: what QAT evaluates its steps on, never `evaluation`; None with `qat`.
        evaluation: pictures that accuracy and agreement are measured on.
        class_names: of the model's logits.
        labelled: the pictures have labels, so that accuracy can be measured.
        name: of the collection, for people.
        note: sentences for the reader of the figures; may be empty.
    """

    calibration: Split
    qat: Split | None
    qat_held_out: Split | None
    evaluation: Split
    class_names: tuple[str, ...]
    labelled: bool
    name: str
    note: str = ""


def combined(*digests: str) -> str:
    """Return the SHA-256 of several digests or names in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def fewer_note(available: int, requested: int) -> str:
    """Return the sentence for fewer evaluation pictures than requested, or nothing."""
    if available >= requested:
        return ""
    return f"There are {available:,} evaluation pictures, not {requested:,}."
