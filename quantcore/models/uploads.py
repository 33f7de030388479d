"""Models that somebody brought: numbers for a torchvision architecture, or a program to load.

A program is only ever loaded by a child of the locked-in worker; who calls `build` sees to that.
"""

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcore import uploads
from quantcore.errors import RequestError
from quantcore.specs import ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from quantcore.models.catalogue import ModelInfo

WEIGHTS = "weights.safetensors"
PROGRAM = "model.pt"


def path(name: str, *, is_program: bool) -> Path:
    """Return the file that a model is built from."""
    return uploads.folder(name) / (PROGRAM if is_program else WEIGHTS)


def is_here(spec: ModelSpec) -> bool:
    """Return whether the upload is still there, and on this machine."""
    try:
        found = uploads.find(spec.name).model
    except RequestError:
        return False
    return found is not None and path(spec.name, is_program=found.is_program).is_file()


def digest(spec: ModelSpec) -> str:
    """Return the SHA-256 of the file that `build` reads.

    Raises:
        RequestError: the upload is gone, or is no model.
    """
    found = uploads.find(spec.name).model
    if found is None:
        raise RequestError("This upload is not a model.", "Bring a model.")
    return found.weights


def build(info: "ModelInfo") -> "nn.Module":
    """Return the float module in eval mode, mapping `[N, 3, H, W]` to logits `[N, classes]`.

    Raises:
        RequestError: the upload is gone.
    """
    import torch

    file = path(info.name, is_program=info.is_program)
    if info.is_program:
        return frozen(torch.jit.load(file, map_location="cpu"))
    from quantcore.models.empty import EmptyParameters

    with EmptyParameters():
        model = architecture(info)
    return filled(model, file)


def frozen(program: Any) -> "nn.Module":
    """Return a program with its numbers folded into its graph; some come that way."""
    import torch

    # What was frozen before has no modes any more.
    if not hasattr(program, "training"):
        module: nn.Module = program
        return module
    with torch.no_grad():
        module = torch.jit.freeze(program.eval())
    return module


def filled(model: "nn.Module", file: Path) -> "nn.Module":
    """Return the module in eval mode with the numbers of a safetensors file, name by name."""
    from safetensors.torch import load_file

    state: Any = OrderedDict(load_file(file))
    # Some architectures ask which version of themselves wrote a state dict; safetensors forget it.
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state, assign=True)
    return model.eval()


def architecture(info: "ModelInfo") -> "nn.Module":
    """Return torchvision's plain module, as wide as the upload and without auxiliary classifier."""
    return _made(info, info.architecture)


def twin(info: "ModelInfo") -> "nn.Module":
    """Return torchvision's quantizable module, as wide as the upload, with fresh weights."""
    return _made(info, f"quantized_{info.architecture}", quantize=False)


def _made(info: "ModelInfo", name: str, **options: bool) -> "nn.Module":
    from quantcore.models import architectures
    from quantcore.models.torchvision_import import torchvision

    options |= architectures.options(info.architecture)
    if "aux_logits" in options:
        options["aux_logits"] = False
    model: nn.Module = torchvision().models.get_model(
        name, weights=None, num_classes=info.classes, **options
    )
    return model
