"""What of a float model and its pictures 8 bits find hard, measured in a child process.

Ranges from minimum to maximum suffer from outliers, layers with one scale from channels of unequal
width, and all fixed ranges from pictures unlike those they were calibrated on: "A White Paper on
Neural Network Quantization", Nagel et al., 2021, sections 2.2, 3.1 and 3.2.

Imports torch: only for functions that run in children.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quantcore import models
from quantcore.images import Split, load_images
from quantcore.sandbox import progress_sender
from quantcore.schema import MAX_FIGURE, CompareRequest, Extreme, FloatStatistics
from quantcore.settings import physical_cores

# Pictures of either kind: together 6 % of the 2,000 that are evaluated by default.
MAX_IMAGES = 64
BATCH = 16
# Activations of a layer that are kept of each batch: 65,000 in all, of which 65 lie above the
# percentile.
SAMPLE = 16_384
PERCENTILE = 0.999


@dataclass(frozen=True, eq=False)
class Activations:
    """What one layer reads on some pictures.

    Attributes:
        low: smallest of each channel, `[C]`.
        high: largest of each channel, `[C]`.
        means: of each picture and channel, `[N, C]`.
        sample: some of all values, drawn with a fixed seed.
    """

    low: Tensor
    high: Tensor
    means: Tensor
    sample: Tensor

    @property
    def peaks(self) -> Tensor:
        """Return the largest absolute value of each channel, `[C]`."""
        return torch.maximum(self.low.abs(), self.high.abs())


def run_statistics_child(
    connection: Connection, request: CompareRequest, _: Path
) -> FloatStatistics:
    """Build the request's float model and return what its pictures show."""
    torch.set_num_threads(physical_cores())
    progress_sender(connection)("looking at its activations", 0.0)
    images = load_images(request.images, models.find(request.model))
    return float_statistics(
        models.build(request.model), _batches(images.calibration), _batches(images.evaluation)
    )


def _batches(split: Split) -> list[Tensor]:
    return [images for images, _ in split.batches(BATCH, MAX_IMAGES)]


def float_statistics(
    module: nn.Module, calibration: list[Tensor], evaluation: list[Tensor]
) -> FloatStatistics:
    """Return the statistics of a float module in eval mode.

    Args:
        module: maps `[N, 3, H, W]` to logits.
        calibration: batches of the pictures that ranges are calibrated on.
        evaluation: batches of the pictures that it is evaluated on.
    """
    with torch.inference_mode():
        seen, later = activations(module, calibration), activations(module, evaluation)
        depthwise = depthwise_weights(module, calibration[0][:1])
    both = {name: (one, later[name]) for name, one in seen.items() if name in later}
    return FloatStatistics(
        calibration_images=sum(map(len, calibration)),
        evaluation_images=sum(map(len, evaluation)),
        outlier=_worst({name: _outlier(one) for name, one in seen.items()}),
        channel=_worst({name: _unevenness(one.peaks) for name, one in seen.items()}),
        depthwise_layers=len(depthwise),
        depthwise=_worst({name: _unevenness(peaks) for name, peaks in depthwise.items()}),
        outside=_worst({name: _outside(*pair) for name, pair in both.items()}),
        shift=_worst({name: _shift(*pair) for name, pair in both.items()}),
    )


def _worst(figures: Mapping[str, Tensor]) -> Extreme | None:
    """Return the layer with the largest figure; what is no number counts for nothing."""
    if not figures:
        return None
    bounded = {
        name: round(float(figure.nan_to_num(nan=0.0).clamp(max=MAX_FIGURE)), 4)
        for name, figure in figures.items()
    }
    layer = max(bounded, key=bounded.__getitem__)
    return Extreme(layer, bounded[layer])


def activations(module: nn.Module, batches: Iterable[Tensor]) -> dict[str, Activations]:
    """Return what each convolution and linear layer reads on the pictures, by its name."""
    seen: dict[str, list[Activations]] = {}
    noise = torch.Generator().manual_seed(0)

    def reader(name: str) -> Callable[[nn.Module, Any], None]:
        def read(layer: nn.Module, inputs: Any) -> None:
            # The channels of a convolution's pictures come second, those of all else last.
            values = inputs[0].movedim(1, -1) if isinstance(layer, nn.Conv2d) else inputs[0]
            seen.setdefault(name, []).append(_batch(values, noise))

        return read

    hooks = [
        layer.register_forward_pre_hook(reader(name))
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    for images in batches:
        module(images)
    for hook in hooks:
        hook.remove()
    return {name: _joined(parts) for name, parts in seen.items()}


def _batch(values: Tensor, noise: torch.Generator) -> Activations:
    """Return what is kept of the values `[N, …, C]` that a layer reads."""
    places = tuple(range(values.ndim - 1))
    drawn = torch.randint(values.numel(), (SAMPLE,), generator=noise)
    return Activations(
        low=values.amin(places),
        high=values.amax(places),
        means=values.mean(places[1:]) if places[1:] else values.clone(),
        sample=values.take(drawn),
    )


def _joined(parts: list[Activations]) -> Activations:
    return Activations(
        low=torch.stack([part.low for part in parts]).amin(0),
        high=torch.stack([part.high for part in parts]).amax(0),
        means=torch.cat([part.means for part in parts]),
        sample=torch.cat([part.sample for part in parts]),
    )


def _outlier(one: Activations) -> Tensor:
    """Return the largest absolute value over the percentile; 0, which is exact, does not count."""
    sizes = one.sample[one.sample != 0].abs()
    return one.peaks.max() / sizes.quantile(PERCENTILE) if len(sizes) else torch.zeros(())


def _unevenness(peaks: Tensor) -> Tensor:
    """Return the largest of the channels' peaks `[C]` over the median; dead channels are none."""
    alive = peaks[peaks > 0]
    return alive.max() / alive.median() if len(alive) else torch.zeros(())


def _outside(seen: Activations, later: Activations) -> Tensor:
    """Return the share of later values outside the range seen: what a fixed range would cut off.

    Of `m` values of one population, the next lies beyond all with a chance of `2 / (m + 1)` (Wilks,
    Statistical Prediction with Special Reference to the Problem of Tolerance Limits, 1942), which
    is taken off; what one picture gives a channel counts as one value.
    """
    outside = (later.sample < seen.low.min()) | (later.sample > seen.high.max())
    return (outside.float().mean() - 2 / (seen.means.numel() + 1)).clamp(min=0)


def _shift(seen: Activations, later: Activations) -> Tensor:
    """Return the distance of the means in standard deviations, over all channels.

    The standardized mean difference (Cohen, Statistical Power Analysis, 1988, chapter 2), which
    sees also what stays within the range. Between two samples of one population its square is
    `1/n + 1/m` on average, which is taken off.
    """
    variance = (seen.means.var(0, correction=0) + later.means.var(0, correction=0)) / 2
    varies = variance > 0
    if not varies.any():
        return torch.zeros(())
    distance = (seen.means.mean(0) - later.means.mean(0))[varies]
    chance = 1 / len(seen.means) + 1 / len(later.means)
    return ((distance.square() / variance[varies]).mean() - chance).clamp(min=0).sqrt()


def depthwise_weights(module: nn.Module, picture: Tensor) -> dict[str, Tensor]:
    """Return the largest absolute weight of each channel `[C]` of depthwise convolutions.

    Weights are quantized with the batch norm behind them folded in; what reads a convolution's
    output is seen as the module looks at the picture `[1, 3, H, W]`.
    """
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels
    }
    given: dict[str, Tensor] = {}
    norms: dict[str, nn.BatchNorm2d] = {}

    def giver(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _, __, output: given.update({name: output})

    def read(norm: nn.BatchNorm2d, inputs: Any) -> None:
        norms.update({name: norm for name, output in given.items() if output is inputs[0]})

    hooks = [layer.register_forward_hook(giver(name)) for name, layer in layers.items()]
    hooks += [
        norm.register_forward_pre_hook(read)
        for norm in module.modules()
        if isinstance(norm, nn.BatchNorm2d)
    ]
    module(picture)
    for hook in hooks:
        hook.remove()
    return {name: _peaks(layer.weight, norms.get(name)) for name, layer in layers.items()}


def _peaks(weight: Tensor, norm: nn.BatchNorm2d | None) -> Tensor:
    peaks = weight.flatten(1).abs().amax(1)
    if norm is None or norm.running_var is None:
        return peaks
    scale = (norm.running_var + norm.eps).rsqrt()
    return peaks * (scale if norm.weight is None else scale * norm.weight.abs())
