"""Verify an exported file in a fresh child: load it, evaluate it, read its metadata."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantcore.backends import runtime
from quantcore.engine import evaluation_logits, store_logits
from quantcore.errors import DoesNotRunError, QuantcoreError
from quantcore.exports import sample
from quantcore.formats import Format, Predictor, file_format
from quantcore.images import load_images
from quantcore.models import find
from quantcore.sandbox import Outbox, progress_sender
from quantcore.schema import Check, ExportSpec, Sample
from quantcore.settings import physical_cores

MAX_CHARACTERS = 300
# Messages of runtimes that ran out of memory, which is no fault of the file.
OUT_OF_MEMORY = ("allocate memory", "bad_alloc")


@dataclass(frozen=True)
class Answers:
    """The answers of a file: logits by digest, the provenance in it, and its checks."""

    predictions: str
    sample: Sample
    provenance: dict[str, object]
    checks: tuple[Check, ...]

    def files(self) -> tuple[str, ...]:
        """Return the digests of what was made."""
        return self.predictions, self.sample.artifact.sha256


def run_answers_child(
    connection: Connection, spec: ExportSpec, path: Path, folder: Path
) -> Answers:
    """Load the file in its runtime and store its answers on the evaluation pictures."""
    chosen = file_format(spec.format, dict(spec.options))
    predict, logits = _evaluated(connection, chosen, spec, path, spec.variant.backend)
    info = find(spec.request.model)
    evaluation = load_images(spec.request.images, info).evaluation
    pixels = sample.as_seen(evaluation, sample.surest(logits), info)
    outbox = Outbox(folder)
    picture = outbox.add(lambda target: target.write_bytes(sample.png(pixels)), sample.FORMAT)
    predictions = store_logits(outbox, logits)
    shown = Sample(picture, sample.guesses(predict, pixels, info))
    return Answers(predictions, shown, chosen.read_metadata(path), chosen.checks(path))


def run_elsewhere_child(
    connection: Connection, spec: ExportSpec, path: Path, backend: str, folder: Path
) -> str:
    """Return the digest of the file's answers by the kernels of another backend."""
    chosen = file_format(spec.format, dict(spec.options))
    _, logits = _evaluated(connection, chosen, spec, path, backend)
    return store_logits(Outbox(folder), logits)


def _evaluated(
    connection: Connection,
    chosen: Format,
    spec: ExportSpec,
    path: Path,
    backend: str | None,
) -> tuple[Predictor, NDArray[np.float32]]:
    """Return the loaded file, and its logits `[N, classes]` on the evaluation pictures.

    Raises:
        DoesNotRunError: its runtime does not load it, or cannot run it.
    """
    import torch

    torch.set_num_threads(physical_cores())
    try:
        predict = chosen.load(path, runtime(backend), physical_cores())
        return predict, evaluation_logits(predict, spec.request, progress_sender(connection))
    # Cancelled, unreadable pictures, full disk or memory: a later try may succeed.
    except (QuantcoreError, OSError, MemoryError):
        raise
    # Each runtime has errors of its own, and all of them mean that it cannot run the file.
    except Exception as error:
        text = " ".join(str(error).split())
        if any(sign in text for sign in OUT_OF_MEMORY):
            raise
        text = text[:MAX_CHARACTERS]
        raise DoesNotRunError(f"{chosen.runtime} says: {text}", "Try another format.") from error
