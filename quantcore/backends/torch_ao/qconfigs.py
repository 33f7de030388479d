"""Observers and their settings: torch's default configuration of an engine, or a variation of it.

Source of the defaults: `torch.ao.quantization.get_default_qconfig` and `get_default_qat_qconfig`.
"""

from typing import TYPE_CHECKING, Any

from quantcore.backends.options import Observer
from quantcore.backends.torch_ao.numerics import Numerics

if TYPE_CHECKING:
    from torch.ao.quantization import QConfig, QConfigMapping

# Tried in this order where the choice is left to trial: the first of equals is kept.
OBSERVERS: tuple[Observer, ...] = ("histogram", "minmax", "percentile")


def static_qconfig(
    numerics: Numerics, observer: Observer = "histogram", per_channel: bool | None = None
) -> "QConfig":
    """Return how to watch activations and weights during calibration.

    Args:
        numerics: whose range of activations and default for weights to take.
        observer: one of `OBSERVERS`: `histogram` cuts rare outliers off where that costs least,
            `percentile` one value in a hundred thousand at either end; `minmax` keeps the whole
            range seen.
        per_channel: one weight scale per output channel; None takes the engine's default.
    """
    import torch
    from torch.ao import quantization

    from quantcore.backends.torch_ao.observers import FittedHistogramObserver, PercentileObserver

    observers: dict[str, Any] = {
        "histogram": FittedHistogramObserver,
        "minmax": quantization.MinMaxObserver,
        "percentile": PercentileObserver,
    }
    activation = observers[observer].with_args(
        dtype=torch.quint8, reduce_range=numerics.reduce_range
    )
    by_channel = quantization.default_per_channel_weight_observer
    weight = _either(by_channel, quantization.default_weight_observer, numerics, per_channel)
    return quantization.QConfig(activation=activation, weight=weight)


def qat_qconfig(numerics: Numerics, per_channel: bool | None = None) -> "QConfig":
    """Return the fake quantization that fine-tuning trains against."""
    import torch
    from torch.ao import quantization

    activation = quantization.FusedMovingAvgObsFakeQuantize.with_args(
        observer=quantization.MovingAverageMinMaxObserver,
        quant_min=0,
        quant_max=255,
        dtype=torch.quint8,
        reduce_range=numerics.reduce_range,
    )
    by_channel = quantization.default_fused_per_channel_wt_fake_quant
    weight = _either(by_channel, quantization.default_fused_wt_fake_quant, numerics, per_channel)
    return quantization.QConfig(activation=activation, weight=weight)


def _either(by_channel: Any, by_layer: Any, numerics: Numerics, per_channel: bool | None) -> Any:
    """Return the way with one weight scale per output channel, or the one with one per layer."""
    wanted = numerics.per_channel if per_channel is None else per_channel
    return by_channel if wanted else by_layer


def mapping(numerics: Numerics, qconfig: "QConfig", is_qat: bool) -> "QConfigMapping":
    """Return the configuration for FX graph mode: `qconfig` wherever the engine asks for no other.

    The engine's own mapping stays underneath, since it fixes the ranges of sigmoid and the like.
    """
    from torch.ao import quantization

    default = (
        quantization.get_default_qat_qconfig_mapping
        if is_qat
        else quantization.get_default_qconfig_mapping
    )
    return default(numerics.qconfig).set_global(qconfig)
