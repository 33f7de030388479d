"""Names and shapes of every architecture's tensors, by which uploaded weights are recognised.

`fingerprints.json.gz` is generated: `python -m quantcore.untrusted.fingerprints` writes it anew
from torchvision's modules, built without numbers. Reading it needs no torch.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

FINGERPRINTS = Path(__file__).with_name("fingerprints.json.gz")
CLASSES = -1
"""Stands in a shape where the number of classes does."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Fingerprint:
    """The names and shapes of an architecture's state dict.

    Attributes:
        shapes: of its tensors, in their order; `CLASSES` stands for the number of classes.
        auxiliary: beginnings of the names that are of use in training only and may be missing.
        first: name of the convolution that reads the picture.
    """

    shapes: Mapping[str, Shape]
    auxiliary: tuple[str, ...]
    first: str

    @property
    def heads(self) -> tuple[str, ...]:
        """Return the names of the tensors whose shape depends on the number of classes."""
        return tuple(name for name, shape in self.shapes.items() if CLASSES in shape)

    @property
    def main_heads(self) -> tuple[str, ...]:
        """Return those of `heads` that do not belong to an auxiliary classifier."""
        return tuple(name for name in self.heads if not name.startswith(self.auxiliary))


@cache
def fingerprints() -> Mapping[str, Fingerprint]:
    """Return every architecture's fingerprint by its name in torchvision."""
    content = json.loads(gzip.decompress(FINGERPRINTS.read_bytes()))
    return {name: _read(entry) for name, entry in content.items()}


def _read(entry: dict[str, dict[str, list[int]] | list[str]]) -> Fingerprint:
    shapes = entry["shapes"]
    assert isinstance(shapes, dict)
    read = {name: tuple(shape) for name, shape in shapes.items()}
    first = next(name for name, shape in read.items() if len(shape) == 4)
    return Fingerprint(read, tuple(f"{part}." for part in entry["auxiliary"]), first)


def write_fingerprints(path: Path) -> None:
    """Write the names and shapes of all of torchvision's classification architectures."""
    from quantcore.models import architectures, torchvision_import

    models = torchvision_import.torchvision().models
    entries = {
        name: {"shapes": shapes_of(name), "auxiliary": architectures.AUXILIARY.get(name, ())}
        for name in models.list_models(module=models)
    }
    text = json.dumps(entries, separators=(",", ":"))
    # No time of making in it: the same torchvision gives the same bytes.
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def shapes_of(name: str) -> dict[str, Shape]:
    """Return the shapes of an architecture's tensors built for two numbers of classes."""
    few, many = (_empty(name, classes).state_dict() for classes in (3, 5))
    return {
        key: tuple(
            CLASSES if a != b else a for a, b in zip(tensor.shape, many[key].shape, strict=True)
        )
        for key, tensor in few.items()
    }


def _empty(name: str, classes: int) -> "nn.Module":
    from quantcore.models import architectures, empty, torchvision_import

    with empty.EmptyParameters():
        model: nn.Module = torchvision_import.torchvision().models.get_model(
            name, weights=None, num_classes=classes, **architectures.options(name)
        )
    return model


if __name__ == "__main__":
    write_fingerprints(FINGERPRINTS)
