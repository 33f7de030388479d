"""What children do in the tests of conversions: convert, answer, load and answer."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcore.backends import ConvertedModel, runtime
from quantcore.engine import conversion_input
from quantcore.errors import CancelledError
from quantcore.schema import CompareRequest, Report, Tuning, Variant
from quantcore.workflows import workflow

Logits = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Made:
    """A converted model: its digest, its logits before it was saved, and what was chosen for it."""

    state: str
    logits: Logits
    tuning: Tuning | None


def make(
    _: Connection,
    request: CompareRequest,
    variant: Variant,
    path: Path,
    state: Path | None = None,
) -> Made:
    """Convert a variant, write its file to `path`, and let the model itself answer.

    What a backend's step needs again of an equal conversion lies beside the file then.
    """
    import torch

    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        model = _converted(request, variant, Path(scratch), lambda _stage, _share: None, state)
        model.write(path, {"variant": variant.label})
    numbers = model.state()
    if numbers:
        path.with_suffix(".state").write_bytes(numbers)
    if model.module is None:
        return Made(model.digest, answer(_, request, variant.backend, path), model.tuning)
    with torch.inference_mode():
        return Made(model.digest, model.module(_pictures(request)).numpy(), model.tuning)


def answer(_: Connection, request: CompareRequest, backend: str | None, path: Path) -> Logits:
    """Load a file and return its logits on the evaluation pictures."""
    import torch

    torch.set_num_threads(1)
    logits: Logits = runtime(backend).load(path, 1)(_pictures(request)).numpy()
    return logits


def metadata(_: Connection, backend: str | None, path: Path) -> dict[str, object]:
    return runtime(backend).format.read_metadata(path)


def relabel(_: Connection, source: Path, backend: str, path: Path) -> None:
    kernels = runtime(backend)
    kernels.format.relabel(source, kernels, {}, path)


def stop_at(_: Connection, request: CompareRequest, variant: Variant, report: int) -> str | int:
    """Convert with a progress function that cancels at the given report, counted from 1.

    Returns what was raised, or how many reports there were in all.
    """
    import torch

    torch.set_num_threads(1)
    reports: list[str] = []

    def cancel(stage: str, _share: float) -> None:
        reports.append(stage)
        if len(reports) == report:
            raise CancelledError(f"cancelled at report {report}")

    with TemporaryDirectory() as scratch:
        try:
            _converted(request, variant, Path(scratch), cancel, None)
        except CancelledError as error:
            return error.reason
    return len(reports)


def _converted(
    request: CompareRequest, variant: Variant, scratch: Path, report: Report, state: Path | None
) -> ConvertedModel:
    chosen = workflow(variant.workflow, dict(variant.settings))
    inputs = conversion_input(request, scratch)
    return chosen.convert(inputs, runtime(variant.backend), report, state)


def _pictures(request: CompareRequest) -> Any:
    images = conversion_input(request, Path()).images.evaluation
    return images.tensor(request.images.evaluation_images)
