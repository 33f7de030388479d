"""Make one variant's file, in a child process: convert, trace, freeze, store."""

import hashlib
import json
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from quantcore.backends import runtime
from quantcore.engine.keys import checkpoint_engine, image_size, recipe_key
from quantcore.errors import QuantcoreError
from quantcore.formats import torchscript
from quantcore.images import load_images
from quantcore.models import find, weights_digest
from quantcore.sandbox import Outbox, progress_sender
from quantcore.schema import Artifact, CompareRequest, Variant, library_versions
from quantcore.settings import physical_cores
from quantcore.workflows import ConversionInput, Report, settings_of, workflow

if TYPE_CHECKING:
    from torch import Tensor, nn

TRACE_BATCH = 2
STATE_FORMAT = "state"


@dataclass(frozen=True)
class Conversion:
    """What the cache knows of a converted file.

    Attributes:
        artifact: the file.
        state_dict_bytes: size of the converted module's state dict as `torch.save` writes it.
        state_digest: SHA-256 of every weight, scale and zero point.
        conversion_s: seconds from the float weights to the converted module.
        state: the state dict itself, where it took pictures to find; else the module is made
            again in no time. Other formats are written from it.
    """

    artifact: Artifact
    state_dict_bytes: int
    state_digest: str
    conversion_s: float
    state: Artifact | None = None

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
    connection: Connection, request: CompareRequest, variant: Variant, folder: Path
) -> Conversion:
    """Convert a variant and put its file in the outbox; reports progress on the way."""
    import torch

    torch.set_num_threads(physical_cores())
    info, backend = find(request.model), runtime(variant.backend)
    inputs = ConversionInput(
        request.model, info, load_images(request.images, info), image_size(request, info)
    )
    backend.activate()
    started = time.monotonic()
    made = workflow(variant.workflow, dict(variant.settings))
    module = evaluated(made.convert(inputs, backend, progress_sender(connection)))
    conversion_s = time.monotonic() - started
    progress_sender(connection)("writing the file", 0.97)
    metadata, state = provenance(request, variant), numbers(module)
    outbox = Outbox(folder)
    artifact = outbox.add(
        lambda path: torchscript.export(
            module, example(inputs.image_size), backend, metadata, path
        ),
        torchscript.FORMAT,
    )
    again = made.uses and not info.is_program
    kept = outbox.add(lambda path: path.write_bytes(state), STATE_FORMAT) if again else None
    return Conversion(artifact, len(state), state_digest(module), conversion_s, kept)


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
        lambda path: torchscript.relabel(source, backend, metadata, path), torchscript.FORMAT
    )
    return replace(twin, artifact=artifact)


def module_again(
    inputs: ConversionInput,
    variant: Variant,
    conversion: Conversion,
    state: Path | None,
    report: Report,
) -> "nn.Module":
    """Return the module that a conversion gave, as it was before it was traced.

    The backend must be active. `state` is where `conversion.state` lies; without it the variant is
    converted once more.

    Raises:
        QuantcoreError: the module made now has other numbers.
    """
    import torch

    backend = runtime(variant.backend)
    made = workflow(variant.workflow, dict(variant.settings))
    if state is None:
        module = made.convert(inputs, backend, report)
    else:
        module = made.empty_converted(inputs, backend)
        module.load_state_dict(torch.load(state, weights_only=True))
    if state_digest(module) != conversion.state_digest:
        raise QuantcoreError(
            f"{variant.label}, made again, has other numbers than the file that was measured.",
            "Remove it with `python -m quantcore cache clear`, then compare and export again.",
        )
    return evaluated(module)


def evaluated(module: "nn.Module") -> "nn.Module":
    """Return the module in evaluation mode; a frozen program has no other."""
    return module.eval() if hasattr(module, "training") else module


def example(image_size: int) -> "Tensor":
    """Return pictures `[2, 3, S, S]` to trace with, always the same."""
    import torch

    noise = torch.Generator().manual_seed(0)
    return torch.randn(TRACE_BATCH, 3, image_size, image_size, generator=noise)


def provenance(request: CompareRequest, variant: Variant) -> dict[str, object]:
    """Return what every file carries: labels, how pictures are prepared, what it was made from."""
    info = find(request.model)
    return {
        "model": request.model.name,
        "workflow": variant.workflow,
        "backend": variant.backend,
        "settings": settings_of(variant),
        "labels": info.labels,
        "image_size": image_size(request, info),
        "mean": info.mean,
        "std": info.std,
        "channels": "BGR" if info.channels == "BGR" else "RGB",
        "weights": weights_digest(request.model, checkpoint_engine(variant)),
        "recipe": recipe_key(request, variant),
        "libraries": library_versions(),
    }


def numbers(module: "nn.Module") -> bytes:
    """Return the state dict as it is on disk; the recipe's `print_model_size` takes its size.

    A program's numbers are in its graph: it is returned whole.
    """
    import io

    import torch

    if isinstance(module, torch.jit.ScriptModule):
        program: Any = module
        content: bytes = program.save_to_buffer()
        return content
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.getvalue()


def state_digest(module: "nn.Module") -> str:
    """Return the SHA-256 of every weight, scale and zero point, in the order of the state dict.

    A program's numbers are in its graph: the digest is that of the whole.
    """
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return hashlib.sha256(numbers(module)).hexdigest()
    total = hashlib.sha256()
    for name, value in module.state_dict().items():
        total.update(name.encode())
        _add(total, value)
    return total.hexdigest()


def _add(total: Any, value: Any) -> None:
    import torch

    if isinstance(value, torch.Tensor) and value.is_quantized:
        _add(total, value.int_repr())
        if value.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams):
            _add(total, value.q_per_channel_scales())
            _add(total, value.q_per_channel_zero_points())
        else:
            _add(total, [value.q_scale(), value.q_zero_point()])
    elif isinstance(value, torch.Tensor):
        total.update(str(value.dtype).encode())
        flat = value.detach().contiguous().flatten()
        total.update(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, (list, tuple)):
        for each in value:
            _add(total, each)
    elif isinstance(value, torch.ScriptObject):
        state: Any = value
        _add(total, list(state.__getstate__()))
    else:
        total.update(json.dumps(str(value)).encode())
