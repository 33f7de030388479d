"""Child processes that keep variants' files loaded and run them on pictures.

One child for each backend, since torch's quantized engine is global.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcore.backends import runtime
from quantcore.engine import top_guesses
from quantcore.formats import Predictor
from quantcore.models import find
from quantcore.schema import Guess, ModelSpec

# TorchScript looks at its first calls to make the later ones fast.
WARM_UP_CALLS = 3
# Bytes of files that one reader keeps loaded; the one used longest ago goes first.
KEPT_BYTES = 4 * 10**8


@dataclass(frozen=True)
class Question:
    """One file and the picture it is run on: `[3, S, S]`, normalised."""

    path: Path
    sha256: str
    size_bytes: int
    threads: int
    model: str
    pixels: NDArray[np.float32]


def run_reader_child(connection: Connection, backend: str | None) -> None:
    """Answer every `Question` that comes with guesses and milliseconds, until it is killed.

    Raises:
        Exception: a file does not load or does not run; with that the reader ends.
    """
    kept: OrderedDict[str, tuple[Predictor, int]] = OrderedDict()
    warm: set[tuple[str, int]] = set()
    while True:
        question: Question = connection.recv()
        connection.send(_answered(question, kept, warm, runtime(backend).load))


def _answered(
    question: Question,
    kept: OrderedDict[str, tuple[Predictor, int]],
    warm: set[tuple[str, int]],
    load: Callable[[Path, int], Predictor],
) -> tuple[tuple[Guess, ...], float]:
    import torch

    if torch.get_num_threads() != question.threads:
        torch.set_num_threads(question.threads)
    predict = _loaded(question, kept, warm, load)
    # In the order of `[N, C, H, W]`, as when the median was measured.
    images = torch.from_numpy(question.pixels)[None]
    shape = question.sha256, images.shape[-1]
    if shape not in warm:
        for _ in range(WARM_UP_CALLS):
            predict(images)
        warm.add(shape)
    began = time.perf_counter()
    logits = predict(images)
    latency_ms = 1_000 * (time.perf_counter() - began)
    return guesses(logits[0].double().numpy(), question.model), latency_ms


def _loaded(
    question: Question,
    kept: OrderedDict[str, tuple[Predictor, int]],
    warm: set[tuple[str, int]],
    load: Callable[[Path, int], Predictor],
) -> Predictor:
    """Return the file, loaded before or now; others are unloaded where all would be too large."""
    sha256 = question.sha256
    if sha256 not in kept:
        while kept and sum(size for _, size in kept.values()) + question.size_bytes > KEPT_BYTES:
            gone, _ = kept.popitem(last=False)
            warm.difference_update([shape for shape in warm if shape[0] == gone])
        kept[sha256] = load(question.path, question.threads), question.size_bytes
    kept.move_to_end(sha256)
    return kept[sha256][0]


def guesses(logits: NDArray[Any], model: str) -> tuple[Guess, ...]:
    """Return the classes that logits `[classes]` name first, surest first."""
    return top_guesses(logits, find(ModelSpec(model)).labels)
