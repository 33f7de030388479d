"""The trained models that ship with the project."""

from pathlib import Path
from typing import TYPE_CHECKING

from quantcore.errors import WeightsUnavailableError
from quantcore.models.bundle import bundled_file
from quantcore.models.catalogue import ModelInfo

if TYPE_CHECKING:
    from torch import nn

REMEDY = "`make bundle` makes it, or `git checkout -- bundled` restores it."


def weights_path(info: ModelInfo, engine: str | None = None) -> Path:
    """Return the checkpoint's path; with an engine, that of the weights quantized for it.

    Raises:
        WeightsUnavailableError: the file is not in the bundle.
    """
    name = info.weights_file if engine is None else info.pretrained_weights[engine]
    folder = "checkpoints" if engine is None else "quantized"
    path = bundled_file(f"{folder}/{name}")
    if not path.is_file():
        raise WeightsUnavailableError(f"{info.title} is not in this copy's bundle.", REMEDY)
    return path


def architecture(info: ModelInfo) -> "nn.Module":
    """Return the float module with fresh weights."""
    from quantcore.models import small
    from quantcore.models.torchvision_import import torchvision

    own = {"row_lstm": small.row_lstm, "vit_tiny": small.vit_tiny}
    if info.architecture in own:
        return own[info.architecture](num_classes=info.classes, image_size=info.image_size)
    model: nn.Module = torchvision().models.get_model(
        info.architecture, weights=None, num_classes=info.classes
    )
    return model


def build(info: ModelInfo) -> "nn.Module":
    """Return the float module with its trained weights."""
    from safetensors.torch import load_file

    model = architecture(info)
    # Stored in half precision, computed in full: loading into the module's own tensors converts.
    model.load_state_dict(load_file(weights_path(info)))
    return model.eval()


def twin(info: ModelInfo) -> "nn.Module":
    """Return torchvision's quantizable twin with fresh weights."""
    from quantcore.models.torchvision_import import torchvision

    model: nn.Module = torchvision().models.get_model(
        f"quantized_{info.architecture}", weights=None, quantize=False, num_classes=info.classes
    )
    return model


def ready_quantized(info: ModelInfo, engine: str) -> "nn.Module":
    """Return the module quantized for the engine, which must be the process's engine already."""
    import torch

    state = torch.load(weights_path(info, engine), weights_only=True)
    model = empty_quantized(info, engine)
    model.load_state_dict(state)
    return model


def empty_quantized(info: ModelInfo, engine: str) -> "nn.Module":
    """Return the converted module that quantized weights are loaded into.

    Fused, prepared for QAT and converted without having seen a picture: the layers are those of a
    QAT result, scales and weights are those of the state dict.
    """
    import warnings

    from torch.ao import quantization

    model = twin(info).train()
    model.fuse_model(is_qat=True)  # type: ignore[operator]
    model.qconfig = quantization.get_default_qat_qconfig(engine)
    with warnings.catch_warnings():
        # Observers that saw nothing warn, and here none is meant to see anything.
        warnings.simplefilter("ignore")
        quantization.prepare_qat(model, inplace=True)
        quantization.convert(model.eval(), inplace=True)
    return model
