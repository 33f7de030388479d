"""Write the bundled Fashion-MNIST images: three disjoint, seeded splits as compressed arrays.

`python -m bundled.make images` calls this. Each file holds `images` (uint8 `[N, 28, 28]`), `labels`
(uint8 `[N]`) and `index` (the picture's place in the original file, so that anyone can check that
the splits are disjoint).
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 20261124
CALIBRATION_IMAGES = 1_024
QAT_IMAGES = 8_000
# The tail of the QAT split is what QAT judges its steps on, so float training never sees it.
QAT_HELD_OUT = 1_000

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """Pictures `[N, 28, 28]`, labels `[N]`, and where each stood in the original file `[N]`."""

    images: Bytes
    labels: Bytes
    index: NDArray[np.int64]

    def take(self, index: NDArray[np.int64]) -> "Split":
        """Return the pictures at these places of this split, in this order."""
        return Split(self.images[index], self.labels[index], self.index[index])


def read_idx(path: Path) -> Bytes:
    """Return the array of one gzipped IDX file, whose header holds the number and sizes of axes."""
    raw = gzip.decompress(path.read_bytes())
    axes = raw[3]
    shape = np.frombuffer(raw, ">u4", count=axes, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_original(folder: Path, name: str) -> Split:
    """Return the original split `train` (60,000) or `t10k` (10,000) from Debian's data folder."""
    images = read_idx(folder / f"{name}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{name}-labels-idx1-ubyte.gz")
    return Split(images, labels, np.arange(len(images)))


def split_all(folder: Path) -> dict[str, Split]:
    """Return the splits `evaluation`, `calibration`, `qat` and (not bundled) `training`."""
    generator = np.random.default_rng(SEED)
    test, train = read_original(folder, "t10k"), read_original(folder, "train")
    evaluation = test.take(generator.permutation(len(test.labels)))
    order = generator.permutation(len(train.labels))
    qat_end = CALIBRATION_IMAGES + QAT_IMAGES
    held_out = order[qat_end - QAT_HELD_OUT : qat_end]
    return {
        "evaluation": evaluation,
        "calibration": train.take(order[:CALIBRATION_IMAGES]),
        "qat": train.take(order[CALIBRATION_IMAGES:qat_end]),
        "training": train.take(np.setdiff1d(order, held_out)),
    }


def write_splits(source: Path, target: Path) -> list[Path]:
    """Write `evaluation.npz`, `calibration.npz` and `qat.npz` into `target`; return their paths."""
    target.mkdir(parents=True, exist_ok=True)
    splits = split_all(source)
    paths = []
    for name in ("evaluation", "calibration", "qat"):
        split = splits[name]
        path = target / f"{name}.npz"
        np.savez_compressed(path, images=split.images, labels=split.labels, index=split.index)
        paths.append(path)
    return paths
