"""Layers that stay in float between the 8-bit ones of a converted module."""

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def keep(converted: "nn.Module", observed: "nn.Module", names: Collection[str]) -> None:
    """Replace the named layers of a converted module by float ones, which read and give 8 bits.

    Args:
        converted: in place.
        observed: the module it was made of, which holds the float layers.
        names: of `static.units`.
    """
    import torch
    from torch import nn

    for name in names:
        rounded: Any = converted.get_submodule(name)
        layer: Any = copy.deepcopy(observed.get_submodule(name))
        for part in layer.modules():
            part.qconfig = None
        # An observer belongs to a layer in eager mode, and stands behind it in FX graph mode.
        layer._forward_hooks.clear()
        layer._modules.pop("activation_post_process", None)
        back = nn.quantized.Quantize(rounded.scale, rounded.zero_point, torch.quint8)
        converted.set_submodule(name, nn.Sequential(nn.quantized.DeQuantize(), layer, back))


@contextmanager
def kept(
    converted: "nn.Module", observed: "nn.Module", names: Collection[str]
) -> "Iterator[nn.Module]":
    """Let the named layers of a converted module be float ones for a while."""
    rounded = {name: converted.get_submodule(name) for name in names}
    keep(converted, observed, names)
    try:
        yield converted
    finally:
        for name, layer in rounded.items():
            converted.set_submodule(name, layer)


def names_in(state: dict[str, Any], names: Collection[str]) -> tuple[str, ...]:
    """Return which of the layers a converted module's state dict holds in float."""
    # Only an 8-bit layer has a scale for its output.
    return tuple(name for name in names if f"{name}.scale" not in state)
