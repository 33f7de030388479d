"""What children do in the tests of conversions: convert, answer, load and answer."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantcore.backends import runtime
from quantcore.engine import image_size
from quantcore.engine.convert import state_digest
from quantcore.errors import CancelledError
from quantcore.formats import torchscript
from quantcore.images import load_images
from quantcore.models import find
from quantcore.schema import CompareRequest, Variant
from quantcore.workflows import ConversionInput, workflow

Logits = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Made:
    """A converted module: its digest, and its logits before it was saved."""

    state: str
    logits: Logits


def make(_: Connection, request: CompareRequest, variant: Variant, path: Path) -> Made:
    """Convert a variant, write its file to `path`, and let the module itself answer."""
    import torch

    torch.set_num_threads(1)
    inputs, backend = _material(request), runtime(variant.backend)
    backend.activate()
    made = workflow(variant.workflow, dict(variant.settings))
    module = made.convert(inputs, backend, lambda _stage, _share: None).eval()
    pictures = inputs.images.evaluation.tensor(request.images.evaluation_images)
    torchscript.export(module, pictures[:2], backend, {"variant": variant.label}, path)
    with torch.inference_mode():
        return Made(state_digest(module), module(pictures).numpy())


def answer(_: Connection, request: CompareRequest, backend: str | None, path: Path) -> Logits:
    """Load a file and return its logits on the evaluation pictures."""
    import torch

    torch.set_num_threads(1)
    pictures = _material(request).images.evaluation.tensor(request.images.evaluation_images)
    logits: Logits = runtime(backend).load(path)(pictures).numpy()
    return logits


def metadata(_: Connection, path: Path) -> dict[str, object]:
    return torchscript.read_metadata(path)


def relabel(_: Connection, source: Path, backend: str, path: Path) -> None:
    torchscript.relabel(source, runtime(backend), {}, path)


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

    backend = runtime(variant.backend)
    backend.activate()
    made = workflow(variant.workflow, dict(variant.settings))
    try:
        made.convert(_material(request), backend, cancel)
    except CancelledError as error:
        return error.reason
    return len(reports)


def _material(request: CompareRequest) -> ConversionInput:
    info = find(request.model)
    images = load_images(request.images, info)
    return ConversionInput(request.model, info, images, image_size(request, info))
