"""Layers that stay in float between 8-bit ones, in eager mode; FX graph mode has its own way."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def keep(observed: "nn.Module", names: Collection[str]) -> None:
    """Put the named layers of an observed module between a dequantization and a quantization."""
    from torch import nn
    from torch.ao.quantization import DeQuantStub, QuantStub

    for name in names:
        layer: Any = observed.get_submodule(name)
        dequantized, stub = DeQuantStub(layer.qconfig), QuantStub(layer.qconfig)
        stub.add_module("activation_post_process", layer.activation_post_process)
        for part in layer.modules():
            part.qconfig = None
        layer._forward_hooks.clear()
        del layer.activation_post_process
        observed.set_submodule(name, nn.Sequential(dequantized, layer, stub))


def names_in(state: dict[str, Any], names: Collection[str]) -> tuple[str, ...]:
    """Return which of the layers a converted module's state dict holds in float."""
    # Only an 8-bit layer has a scale for its output.
    return tuple(name for name in names if f"{name}.scale" not in state)
