"""torchvision's float modules for inference: one output, no auxiliary classifiers."""

from typing import TYPE_CHECKING, Any

from quantcore.models.torchvision_import import torchvision

if TYPE_CHECKING:
    from torch import nn

# These two have auxiliary classifiers, which are of use in training only, and published weights
# that expect pictures in the scaling of the original networks.
AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


def architecture(name: str) -> "nn.Module":
    """Return the float module with fresh weights, in eval mode, with one output."""
    return drop_auxiliary(complete(name), name).eval()


def complete(name: str) -> "nn.Module":
    """Return the float module as its published weights fit it, auxiliary classifiers included."""
    model: nn.Module = torchvision().models.get_model(name, weights=None, **options(name))
    return model


def options(name: str) -> dict[str, Any]:
    """Return the constructor's arguments that differ from its defaults."""
    if name not in AUXILIARY:
        return {}
    return {"transform_input": True, "aux_logits": True, "init_weights": True}


def drop_auxiliary(model: "nn.Module", name: str) -> "nn.Module":
    """Return the model without its auxiliary classifiers, if it has any."""
    for part in AUXILIARY.get(name, ()):
        setattr(model, part, None)
        model.aux_logits = False  # type: ignore[assignment]
    return model
