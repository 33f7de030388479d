"""Models that people bring: one of torchvision's architectures with their own weights.

The weights are the safetensors file that `quantcore.intake.examine` writes: float32, named as
torchvision names them today, without auxiliary classifiers. Nothing in such a file is code.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcore.errors import RequestError
from quantcore.models import architectures
from quantcore.models.torchvision_import import torchvision

if TYPE_CHECKING:
    from torch import Tensor, nn

POSITIONS = "encoder.pos_embedding"
PATCHES = "conv_proj.weight"
# Counters and tables that a module makes for itself where a file lacks them.
REMADE = ("num_batches_tracked", "relative_position_index", "relative_coords_table")


def build(architecture: str, classes: int, path: Path) -> "nn.Module":
    """Return the float module with the weights of a file, in eval mode, with one output.

    Raises:
        RequestError: the weights do not fit the architecture with that many classes.
    """
    from safetensors.torch import load_file

    from quantcore.models.empty import EmptyParameters

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


def twin(architecture: str, classes: int, path: Path) -> "nn.Module":
    """Return torchvision's quantizable twin with the weights of a file: eval mode, not fused.

    Raises:
        RequestError: as `build`.
    """
    from quantcore.models.empty import EmptyParameters

    weights = build(architecture, classes, path).state_dict()
    with EmptyParameters():
        model = empty_twin(architecture, classes)
    _load(model, weights, architecture)
    return model.eval()


def empty_twin(architecture: str, classes: int) -> "nn.Module":
    """Return torchvision's quantizable twin with fresh weights and no auxiliary classifier."""
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
    missing = [name for name in left.missing_keys if not name.endswith(REMADE)]
    if missing or left.unexpected_keys:
        raise _misfit(architecture, f"at fault: {[*missing, *left.unexpected_keys][0]}")


def _misfit(architecture: str, what: str) -> RequestError:
    return RequestError(
        f"The stored weights do not fit {architecture} ({what}).", "Upload the model again."
    )
