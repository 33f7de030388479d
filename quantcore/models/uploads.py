"""Uploaded models: weights for a torchvision architecture, or a program to load.

A program is only ever loaded in a sandboxed process pool; callers of `build` see to that.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcore import uploads
from quantcore.errors import RequestError, UnsupportedError
from quantcore.schema import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from quantcore.models.catalogue import ModelInfo

WEIGHTS = "weights.safetensors"
PROGRAM = "model.pt"
GRAPH = "model.onnx"
POSITIONS = "encoder.pos_embedding"
PATCHES = "conv_proj.weight"
# Counters and tables that a module computes by itself where a file lacks them.
RECOMPUTED = ("num_batches_tracked", "relative_position_index", "relative_coords_table")


# The file that a model of each form is built from.
FILES: dict[uploads.Form, str] = {
    "state_dict": WEIGHTS,
    "torchscript": PROGRAM,
    "exported_program": PROGRAM,
    "onnx": GRAPH,
}
NO_TORCH = "It came as an ONNX graph, and torch cannot read ONNX."


def graph_file(name: str) -> Path:
    """Return the ONNX file of a model that came as one."""
    return uploads.folder(name) / GRAPH


def is_here(spec: ModelSpec) -> bool:
    """Return whether the upload still exists, and on this machine."""
    try:
        model = uploads.find(spec.name).model
    except RequestError:
        return False
    return model is not None and (uploads.folder(spec.name) / FILES[model.form]).is_file()


def digest(spec: ModelSpec) -> str:
    """Return the SHA-256 of the file that `build` reads.

    Raises:
        RequestError: the upload is gone, or is no model.
    """
    model = uploads.find(spec.name).model
    if model is None:
        raise RequestError("This upload is not a model.", "Upload a model.")
    return model.weights


def build(info: "ModelInfo") -> "nn.Module":
    """Return the float module in eval mode, mapping `[N, 3, H, W]` to logits `[N, classes]`.

    Raises:
        RequestError: the upload is gone.
        UnsupportedError: it is a graph, which is no module.
    """
    import torch

    folder = uploads.folder(info.name)
    if info.is_graph:
        raise UnsupportedError(NO_TORCH, "Choose a backend that runs ONNX files.")
    if info.is_program:
        return frozen(torch.jit.load(folder / PROGRAM, map_location="cpu"))
    return assembled(info.architecture, info.classes, folder / WEIGHTS)


def twin(info: "ModelInfo") -> "nn.Module":
    """Return torchvision's quantizable twin with fresh weights and no auxiliary classifier."""
    return empty_twin(info.architecture, info.classes)


def frozen(program: Any) -> "nn.Module":
    """Return a TorchScript program frozen: its weights folded into the graph."""
    import torch

    # A program that was frozen before has no modes.
    if not hasattr(program, "training"):
        module: nn.Module = program
        return module
    with torch.no_grad():
        module = torch.jit.freeze(program.eval())
    return module


def assembled(architecture: str, classes: int, path: Path) -> "nn.Module":
    """Return the float module with the weights of a file, in eval mode, with one output.

    Raises:
        RequestError: the weights do not fit the architecture with that many classes.
    """
    from safetensors.torch import load_file

    from quantcore.models import architectures
    from quantcore.models.empty import EmptyParameters
    from quantcore.models.torchvision_import import torchvision

    weights = load_file(path)
    with EmptyParameters():
        model = architectures.drop_auxiliary(
            torchvision().models.get_model(
                architecture,
                weights=None,
                num_classes=classes,
                **architectures.options(architecture),
                **_size_option(weights),
            ),
            architecture,
        )
    _load(model, weights, architecture)
    return model.eval()


def empty_twin(architecture: str, classes: int) -> "nn.Module":
    """Return torchvision's quantizable twin with fresh weights and no auxiliary classifier."""
    from quantcore.models import architectures
    from quantcore.models.torchvision_import import torchvision

    options = architectures.options(architecture)
    if options:
        options["aux_logits"] = False
    model: nn.Module = torchvision().models.get_model(
        f"quantized_{architecture}", weights=None, quantize=False, num_classes=classes, **options
    )
    return model


def _size_option(weights: "dict[str, Tensor]") -> dict[str, Any]:
    """Return the picture size that a vision transformer's positions are laid out for."""
    if POSITIONS not in weights or PATCHES not in weights:
        return {}
    side = round(float(weights[POSITIONS].shape[1] - 1) ** 0.5)
    return {"image_size": side * weights[PATCHES].shape[-1]}


def _load(model: "nn.Module", weights: "dict[str, Tensor]", architecture: str) -> None:
    # Without the versions of a state dict's parts, modules take it for one of an older torchvision.
    versions = model.state_dict()._metadata  # type: ignore[attr-defined]
    state = type(model.state_dict())(weights)
    state._metadata = versions  # type: ignore[attr-defined]
    try:
        left = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise _misfit(architecture, str(error).splitlines()[-1].strip()) from error
    missing = [name for name in left.missing_keys if not name.endswith(RECOMPUTED)]
    if missing or left.unexpected_keys:
        raise _misfit(architecture, f"first mismatch: {[*missing, *left.unexpected_keys][0]}")


def _misfit(architecture: str, what: str) -> RequestError:
    return RequestError(
        f"The stored weights do not fit {architecture} ({what}).", "Upload the model again."
    )
