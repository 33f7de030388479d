"""TorchScript: the module traced and frozen, with what it is written into the file itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from quantcore.backends import Backend
from quantcore.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "torchscript"
METADATA = "quantcore.json"


def export(
    module: "nn.Module",
    example: "Tensor",
    backend: Backend,
    metadata: Mapping[str, object],
    path: Path,
) -> None:
    """Write the module to `path`, as it answers for `example` and any other batch size.

    The backend must be active already: a quantized module can only be traced by the engine that
    its weights were packed for.

    `example` holds pictures `[N, 3, H, W]`; `metadata` goes into the file as JSON, for whoever
    finds it later.

    Raises:
        UnsupportedError: the traced module answers otherwise than the module itself.
    """
    import torch

    # torch's fused attention is one opaque operator; the plain ones can be counted and exported.
    torch.backends.mha.set_fastpath_enabled(False)
    # Not in inference mode: tensors born in it cannot be saved in a module.
    with torch.no_grad():
        expected = module(example[:1])
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), example, check_trace=False))
        found = traced(example[:1])
    if not torch.allclose(expected, found, rtol=1e-3, atol=1e-3):
        raise UnsupportedError(
            "The model takes another path for each picture, which a trace cannot follow.",
            "Choose another workflow; this one has no file to ship.",
        )
    save(traced, backend, metadata, path)


def relabel(source: Path, backend: Backend, metadata: Mapping[str, object], path: Path) -> None:
    """Write the file again for another backend that shares its weights, scales and zero points."""
    import torch

    backend.activate()
    save(torch.jit.load(source, map_location="cpu"), backend, metadata, path)


def save(module: object, backend: Backend, metadata: Mapping[str, object], path: Path) -> None:
    """Write a TorchScript module with its metadata, which names the engine that loads it."""
    text = json.dumps({**metadata, "engine": backend.engine}, sort_keys=True)
    # Through memory: on a full disk, torch's own writer ends the process instead of raising.
    content: bytes = module.save_to_buffer(_extra_files={METADATA: text})  # type: ignore[attr-defined]
    path.write_bytes(content)


def read_metadata(path: Path) -> dict[str, object]:
    """Return what `save` wrote beside the weights. Loads the file, so only in a child process."""
    import torch

    files = {METADATA: ""}
    torch.jit.load(path, map_location="cpu", _extra_files=files)
    content: dict[str, object] = json.loads(files[METADATA])
    return content
