"""Make one variant's file in a child process: convert, write, put in the outbox."""

import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from quantcore.backends import runtime
from quantcore.engine.keys import (
    checkpoint_engine,
    deciding_libraries,
    image_size,
    recipe_key,
)
from quantcore.errors import QuantcoreError
from quantcore.images import ConversionInput, is_grey, load_images, shorter_side
from quantcore.models import ModelInfo, find, weights_digest
from quantcore.sandbox import Outbox, progress_sender
from quantcore.schema import Artifact, CompareRequest, Report, Tuning, Variant
from quantcore.settings import physical_cores
from quantcore.workflows import settings_of, workflow

if TYPE_CHECKING:
    from torch import nn

STATE_FORMAT = "state"


@dataclass(frozen=True)
class Conversion:
    """What the cache knows of a converted file.

    Attributes:
        artifact: the file.
        state_dict_bytes: size of the weights, scales and zero points by themselves: of a torch
            module's state dict as `torch.save` writes it, of an ONNX model's initializers.
        state_digest: SHA-256 of every weight, scale and zero point.
        conversion_s: seconds from the float weights to the written file.
        state: the state dict itself, where it took pictures to find; else the module is made
            again in no time. Other formats are written from it.
        tuning: what it chose by itself.
    """

    artifact: Artifact
    state_dict_bytes: int
    state_digest: str
    conversion_s: float
    state: Artifact | None = None
    tuning: Tuning | None = None

    def files(self) -> tuple[str | None, ...]:
        """Return the digests of what was made."""
        return self.artifact.sha256, self.state.sha256 if self.state else None

    def to_json(self) -> str:
        """Return the facts as JSON, for the store."""
        return _CONVERSION.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Conversion":
        """Return the facts that `to_json` wrote."""
        return _CONVERSION.validate_json(text)


_CONVERSION = TypeAdapter(Conversion)


def run_convert_child(
    connection: Connection,
    request: CompareRequest,
    variant: Variant,
    state: Path | None,
    folder: Path,
) -> Conversion:
    """Convert a variant and put its file in the outbox; reports progress on the way.

    Args:
        connection: to the process that asked.
        request: of which the variant is one.
        variant: what is made.
        state: of an equal conversion for another backend; None where there is none.
        folder: the outbox.
    """
    import torch

    torch.set_num_threads(physical_cores())
    backend, report = runtime(variant.backend), progress_sender(connection)
    chosen = workflow(variant.workflow, dict(variant.settings))
    started = time.monotonic()
    with TemporaryDirectory(dir=folder) as scratch:
        inputs = conversion_input(request, Path(scratch))
        model = chosen.convert(inputs, backend, report, state)
        report("writing the file", 0.97)
        outbox, metadata = Outbox(folder), provenance(request, variant)
        artifact = outbox.add(lambda path: model.write(path, metadata), backend.format.name)
        conversion_s = time.monotonic() - started
    numbers = model.state()
    kept = outbox.add(lambda path: path.write_bytes(numbers), STATE_FORMAT) if numbers else None
    return Conversion(artifact, model.state_bytes, model.digest, conversion_s, kept, model.tuning)


def conversion_input(request: CompareRequest, scratch: Path) -> ConversionInput:
    """Return the input of a request's conversions; `scratch` is for temporary files."""
    info = find(request.model)
    images = load_images(request.images, info)
    return ConversionInput(request.model, info, images, image_size(request, info), scratch)


def run_relabel_child(
    _: Connection,
    request: CompareRequest,
    variant: Variant,
    twin: Conversion,
    source: Path,
    folder: Path,
) -> Conversion:
    """Write the file of a backend whose weights, scales and zero points another one shares."""
    backend, metadata = runtime(variant.backend), provenance(request, variant)
    artifact = Outbox(folder).add(
        lambda path: backend.format.relabel(source, backend, metadata, path), backend.format.name
    )
    return replace(twin, artifact=artifact)


def module_again(
    inputs: ConversionInput,
    variant: Variant,
    conversion: Conversion,
    file: Path,
    state: Path | None,
    report: Report,
) -> "nn.Module":
    """Return the torch module that a conversion gave, as it was before it was traced.

    Only toolchains that make modules are asked.

    Args:
        inputs: the float model and its pictures.
        variant: what was converted.
        conversion: what is known of it.
        file: where `conversion.artifact` lies.
        state: where `conversion.state` lies; without it the variant is converted once more.
        report: called at every part of the work.

    Raises:
        QuantcoreError: the module made now has other numbers.
    """
    backend = runtime(variant.backend)
    if inputs.model.is_program:
        # There is no module from before it was traced.
        module = backend.format.module(file, backend)
        assert module is not None
        return module
    chosen = workflow(variant.workflow, dict(variant.settings))
    model = chosen.convert(inputs, backend, report, state)
    assert model.module is not None
    if model.digest != conversion.state_digest:
        raise QuantcoreError(
            f"{variant.label}, made again, has other numbers than the file that was measured.",
            "Remove it with `python -m quantcore cache clear`, then compare and export again.",
        )
    return model.module


def provenance(request: CompareRequest, variant: Variant) -> dict[str, object]:
    """Return the metadata of every file: labels, preparation of pictures, source model."""
    info = find(request.model)
    side = image_size(request, info)
    return {
        "model": request.model.name,
        "workflow": variant.workflow,
        "backend": variant.backend,
        "format": runtime(variant.backend).format.name,
        "settings": settings_of(variant),
        "labels": info.labels,
        "image_size": side,
        "mean": info.mean,
        "std": info.std,
        "channels": "BGR" if info.channels == "BGR" else "RGB",
        **preparation(info, side),
        "weights": weights_digest(request.model, checkpoint_engine(variant)),
        "recipe": recipe_key(request, variant),
        "libraries": deciding_libraries(variant),
    }


def preparation(info: ModelInfo, side: int) -> dict[str, object]:
    """Return how `images.prepare` comes to the square that the model sees."""
    return {
        "resize_size": shorter_side(info, side),
        "interpolation": info.interpolation,
        "greyscale": is_grey(info),
    }
