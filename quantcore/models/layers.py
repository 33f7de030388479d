"""Which layers dynamic quantization converts, and which attention stays float."""

from torch import nn

from quantcore.models.torchvision_import import torchvision

DYNAMIC_TYPES: tuple[type[nn.Module], ...] = (nn.Linear, nn.LSTM, nn.GRU)


def dynamic_layers(model: nn.Module) -> dict[str, list[str]]:
    """Return the names of the layers that dynamic quantization can convert, by type name.

    Left out are the linear layers inside an attention block that reads their weights instead of
    calling them: `MultiheadAttention`'s are of a type of their own that is never converted, and
    Swin's would break, since a converted layer has no weight tensor to read.
    """
    reads = tuple(
        f"{name}." for name, module in model.named_modules() if isinstance(module, _readers())
    )
    layers: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        if type(module) in DYNAMIC_TYPES and not name.startswith(reads):
            layers.setdefault(type(module).__name__, []).append(name)
    return layers


def has_float_attention(model: nn.Module) -> bool:
    """Return whether some attention block's own linear layers stay float."""
    return any(isinstance(module, _readers()) for module in model.modules())


def _readers() -> tuple[type[nn.Module], ...]:
    swin = torchvision().models.swin_transformer
    return (nn.MultiheadAttention, swin.ShiftedWindowAttention)
