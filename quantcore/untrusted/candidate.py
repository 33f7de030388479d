"""A candidate: one architecture, compared with a file of weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One architecture, compared with a file's tensors.

    Attributes:
        architecture: as torchvision names it.
        title: as people write it.
        classes: number of classes its last layer tells apart; 0 where the file lacks that layer.
        image_size: side in px the weights are made for, None where they fit any size.
        channels: of the pictures that the first layer reads.
        prefix: what stands before every name in the file.
        share: of the names and shapes that either side has, how many both have, 0 to 1.
        missing: names the architecture needs and the file lacks, or has in another shape.
        left_over: names the file has and the architecture does not.
        further_layers: those of `left_over` that hold layers, which would change the answers.
        notes: sentences about the differences that were allowed.
    """

    architecture: str
    title: str
    classes: int
    image_size: int | None
    channels: int
    prefix: str
    share: float
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    further_layers: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Return whether this architecture can be built with these weights, losing nothing."""
        return not self.missing and not self.further_layers and self.channels == 3

    @property
    def words(self) -> str:
        """Return the candidate in words: `ResNet-18, 10 classes`."""
        return f"{self.title}, {self.classes:,} classes"
