"""Let biases make up for what rounding the weights shifts on average.

A rounded weight is off by a constant, and its input's mean is seldom zero: each output channel is
then shifted by the same amount on every picture, which its bias can take back.

Source: "Data-free quantization through weight equalization and bias correction", Nagel et al.,
2019, section 4.2, with means from calibration pictures.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

# By the name of a layer, how far its rounded weights shift each output channel, `[out]`.
Shifts = Mapping[str, "Tensor"]

PICTURES = 64


class Watch:
    """Adds up, while an observed module is calibrated, what rounding the weights would shift."""

    def __init__(self, observed: "nn.Module") -> None:
        self._layers = {name: _Shift(layer) for name, layer in layers(observed).items()}

    def stop(self) -> Shifts:
        """Return the mean shifts of the first pictures, and watch no longer."""
        return {name: layer.stop() for name, layer in self._layers.items()}


def layers(observed: "nn.Module") -> dict[str, Any]:
    """Return the convolutions and linear layers that will be converted, by name."""
    from torch import nn

    return {
        name: part
        for name, part in observed.named_modules()
        if isinstance(part, (nn.Conv2d, nn.Linear)) and getattr(part, "qconfig", None) is not None
    }


def correct(observed: "nn.Module", shifts: Shifts) -> None:
    """Take the shifts off the biases of the layers that will be converted, in place."""
    from torch import nn

    for name, layer in layers(observed).items():
        if name in shifts:
            bias = 0.0 if layer.bias is None else layer.bias.detach()
            layer.bias = nn.Parameter(bias - shifts[name])


class _Shift:
    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._error = rounded(layer) - layer.weight.detach()
        self._total: Any = self._error.new_zeros(len(self._error))
        self._values = self._pictures = 0
        self._handle = layer.register_forward_pre_hook(self._add)

    def _add(self, _: "nn.Module", inputs: "tuple[Tensor, ...]") -> None:
        from torch import nn

        if self._pictures >= PICTURES:
            return
        self._pictures += len(inputs[0])
        if isinstance(self._layer, nn.Linear):
            shift = nn.functional.linear(inputs[0], self._error).flatten(0, -2)
        else:
            shift = self._layer._conv_forward(inputs[0], self._error, None).movedim(1, -1)
            shift = shift.flatten(0, -2)
        self._total = self._total + shift.sum(0)
        self._values += len(shift)

    def stop(self) -> "Tensor":
        self._handle.remove()
        mean: Tensor = self._total / max(self._values, 1)
        return mean.clone()


def rounded(layer: Any) -> "Tensor":
    """Return the weights of an observed layer as they will be once they are in 8 bits."""
    import torch

    observer = layer.qconfig.weight()
    weight = layer.weight.detach()
    observer(weight)
    scale, zero_point = observer.calculate_qparams()
    low, high = observer.quant_min, observer.quant_max
    if observer.qscheme in (torch.per_channel_symmetric, torch.per_channel_affine):
        return torch.fake_quantize_per_channel_affine(
            weight, scale, zero_point.int(), observer.ch_axis, low, high
        )
    return torch.fake_quantize_per_tensor_affine(weight, float(scale), int(zero_point), low, high)
