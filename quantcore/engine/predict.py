"""The logits of a file on the evaluation pictures, computed in a child process."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from quantcore.backends import runtime
from quantcore.cache import Store
from quantcore.engine.keys import image_size
from quantcore.formats import Predictor
from quantcore.images import Split, load_images
from quantcore.models import find
from quantcore.sandbox import Outbox, progress_sender
from quantcore.schema import CompareRequest
from quantcore.settings import physical_cores

PROBE_IMAGES = 32
BATCH = 50
FORMAT = "logits"


@dataclass(frozen=True)
class Probe:
    """The result on a few pictures, and what computes it.

    Attributes:
        digest: of the logits.
        float_multiply_adds: those that run in float for one picture.
        multiply_adds: all of them, of a file that came in 8 bits: there is no float32 to take them
            from.
        delegated: the share of all multiply-adds that run in kernels made for speed.
    """

    digest: str
    float_multiply_adds: int
    multiply_adds: int | None = None
    delegated: float = 1.0


def run_probe_child(
    connection: Connection,
    path: Path,
    backend: str | None,
    request: CompareRequest,
    folder: Path,
) -> Probe | str:
    """Load the file, send its `Probe`, then answer any message with the digest of its logits.

    Kernels that give the same logits bit for bit on the probe, from the same weights, need not be
    asked for the rest: the parent then ends this child instead. Random weights have no answers
    worth keeping, so for them the probe is all.
    """
    import torch

    torch.set_num_threads(physical_cores())
    info = find(request.model)
    size = image_size(request, info)
    chosen = runtime(backend)
    with TemporaryDirectory(dir=folder) as scratch:
        in_float = chosen.float_multiply_adds(path, size, Path(scratch))
        in_all = chosen.multiply_adds(path, size, Path(scratch)) if info.in_8_bits else None
    delegated = chosen.delegated(path)
    if request.model.is_random:
        return Probe("", in_float, in_all, delegated)
    predict = chosen.load(path, physical_cores())
    evaluation = load_images(request.images, info).evaluation
    head = np.concatenate(list(_logits(predict, evaluation, PROBE_IMAGES)))
    digest = hashlib.sha256(head.tobytes()).hexdigest()
    connection.send(Probe(digest, in_float, in_all, delegated))
    connection.recv()
    return store_logits(
        Outbox(folder), evaluation_logits(predict, request, progress_sender(connection))
    )


def evaluation_logits(
    predict: Predictor, request: CompareRequest, tell: Callable[[str, float], None]
) -> NDArray[np.float32]:
    """Return the logits `[N, classes]` that `predict` gives for the evaluation pictures."""
    info = find(request.model)
    evaluation = load_images(request.images, info).evaluation
    total = min(request.images.evaluation_images, len(evaluation))
    parts: list[NDArray[np.float32]] = []
    for part in _logits(predict, evaluation, total):
        parts.append(part)
        tell(f"evaluating it on {total:,} images", len(parts) * BATCH / total)
    return np.concatenate(parts)


def store_logits(store: Store | Outbox, logits: NDArray[np.float32]) -> str:
    """Store logits and return their digest."""
    return store.add(lambda path: _save(path, logits), FORMAT).sha256


def _save(path: Path, logits: NDArray[np.float32]) -> None:
    with path.open("wb") as file:
        np.save(file, logits, allow_pickle=False)


def load_logits(path: Path) -> NDArray[np.float32]:
    """Return logits `[N, classes]` that a child stored."""
    logits: NDArray[np.float32] = np.load(path, allow_pickle=False)
    return logits


def are_logits(path: Path, most: int, classes: int) -> bool:
    """Return whether a child stored logits of so many classes, and of `most` pictures at most."""
    try:
        # Mapped, not read: the child decides the size of the file.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError):
        return False
    is_array = isinstance(array, np.ndarray) and array.dtype == np.float32 and array.ndim == 2
    return is_array and 0 < array.shape[0] <= most and array.shape[1] == classes


def _logits(predict: Predictor, split: Split, count: int) -> Iterator[NDArray[np.float32]]:
    import torch

    for images, _ in split.batches(BATCH, min(count, len(split))):
        yield predict(images).to(torch.float32).numpy()
