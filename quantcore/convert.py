"""Make one variant's file, in a child process: convert, trace, freeze, store."""

import hashlib
import json
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from quantcore.backends import runtime
from quantcore.children import report
from quantcore.environment import library_versions
from quantcore.exporters import torchscript
from quantcore.images import load_images
from quantcore.keys import image_size, recipe_key
from quantcore.models.catalogue import find
from quantcore.results import Artifact
from quantcore.settings import Settings, physical_cores
from quantcore.specs import CompareRequest, Variant
from quantcore.store import Store
from quantcore.workflows import Material, settings_of, workflow

if TYPE_CHECKING:
    from torch import nn

TRACE_BATCH = 2


@dataclass(frozen=True)
class Conversion:
    """What the cache knows of a converted file.

    Attributes:
        artifact: the file.
        state_dict_bytes: size of the converted module's state dict as `torch.save` writes it.
        state_digest: SHA-256 of every weight, scale and zero point.
        conversion_s: seconds from the float weights to the converted module.
    """

    artifact: Artifact
    state_dict_bytes: int
    state_digest: str
    conversion_s: float

    def to_json(self) -> str:
        """Return the facts as JSON, for the store."""
        return _CONVERSION.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Conversion":
        """Return the facts that `to_json` wrote."""
        return _CONVERSION.validate_json(text)


_CONVERSION = TypeAdapter(Conversion)


def run_convert_child(
    connection: Connection, request: CompareRequest, variant: Variant, settings: Settings
) -> Conversion:
    """Convert a variant and store its file; reports progress on the way."""
    import torch

    torch.set_num_threads(physical_cores())
    info, backend = find(request.model), runtime(variant.backend)
    material = Material(
        request.model, info, load_images(request.images, info), image_size(request, info)
    )
    backend.activate()
    started = time.monotonic()
    made = workflow(variant.workflow, dict(variant.settings))
    module = made.convert(material, backend, report(connection)).eval()
    conversion_s = time.monotonic() - started
    report(connection)("writing the file", 0.97)
    example = torch.randn(
        TRACE_BATCH,
        3,
        material.image_size,
        material.image_size,
        generator=torch.Generator().manual_seed(0),
    )
    metadata = _metadata(request, variant)
    with Store.open(settings) as store:
        artifact = store.add(
            lambda path: torchscript.export(module, example, backend, metadata, path),
            torchscript.FORMAT,
        )
    return Conversion(artifact, _state_dict_bytes(module), state_digest(module), conversion_s)


def run_relabel_child(
    _: Connection, request: CompareRequest, variant: Variant, twin: Conversion, settings: Settings
) -> Conversion:
    """Store the file of a backend whose weights, scales and zero points another one shares."""
    backend, metadata = runtime(variant.backend), _metadata(request, variant)
    with Store.open(settings) as store, store.using(twin.artifact.sha256) as (source,):
        artifact = store.add(
            lambda path: torchscript.relabel(source, backend, metadata, path), torchscript.FORMAT
        )
    return Conversion(artifact, twin.state_dict_bytes, twin.state_digest, twin.conversion_s)


def _metadata(request: CompareRequest, variant: Variant) -> dict[str, object]:
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
        "channels": "RGB",
        "recipe": recipe_key(request, variant),
        "libraries": library_versions(),
    }


def _state_dict_bytes(module: "nn.Module") -> int:
    """Return the size of the state dict on disk, as the recipe's `print_model_size` takes it."""
    import io

    import torch

    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.getbuffer().nbytes


def state_digest(module: "nn.Module") -> str:
    """Return the SHA-256 of every weight, scale and zero point, in the order of the state dict."""
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
