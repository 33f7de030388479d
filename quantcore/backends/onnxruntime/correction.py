"""Bias correction: biases make up for what 8 bits shift in each channel's mean.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019, with means from calibration pictures.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcore.backends.onnxruntime import graphs
from quantcore.backends.onnxruntime.qdq import Layer, Layout, step_of
from quantcore.backends.onnxruntime.ranges import LEVELS, Span, batch_size, showing
from quantcore.formats import onnx
from quantcore.images import Split
from quantcore.schema import Report

# Means of so many pictures are those of all.
PICTURES = 32
CORRECTED = ("Conv", "Gemm")

Array = NDArray[Any]


def corrected(
    layout: Layout, ranges: Mapping[str, Span], split: Split, report: Report
) -> dict[str, Array]:
    """Return the corrected biases by layer.

    Each layer's mean output, from the inputs as they are in float, is held against that from the
    same inputs rounded by the ranges, with weights rounded.
    """
    layers = [
        each
        for each in layout.layers.values()
        if each.operator in CORRECTED and each.bias_names is not None
    ]
    names = list(dict.fromkeys(layer.reads for layer in layers))
    steps = {layer.reads: ranges[layout.ranged[layer.reads_scale]] for layer in layers}
    means = _means(layout, names, steps, split.first(PICTURES), report)
    return {layer.node: _corrected(layer, layout, *means[layer.reads]) for layer in layers}


def _corrected(layer: Layer, layout: Layout, before: Array, after: Array) -> Array:
    whole, scale = layout.rounded[layer.node]
    shift = _mean_output(layer, whole * layer.spread(scale), after)
    shift -= _mean_output(layer, layer.values, before)
    assert layer.bias is not None
    corrected: Array = (layer.bias - shift).astype(np.float32)
    return corrected


def _mean_output(layer: Layer, weights: Array, mean: Array) -> Array:
    """Return what a layer without its biases gives in the mean, `[C]`, padding left aside."""
    if layer.operator == "Gemm":
        return np.asarray(weights @ mean if layer.axis == 0 else mean @ weights)
    summed = weights.reshape(*weights.shape[:2], -1).sum(axis=2)
    parts = summed.reshape(layer.groups, -1, summed.shape[1])
    outputs = np.einsum("goi,gi->go", parts, mean.reshape(layer.groups, -1))
    return np.asarray(outputs.reshape(-1))


def _means(
    layout: Layout, names: list[str], spans: Mapping[str, Span], split: Split, report: Report
) -> dict[str, tuple[Array, Array]]:
    """Return each tensor's mean per channel, in float and rounded."""
    running = graphs.session(showing(layout.source, names))
    shown = [name for name in names if name != onnx.INPUT]
    totals: dict[str, list[Array]] = {}
    for images, _ in split.batches(batch_size(split)):
        report("correcting biases", 0.9)
        pictures = images.contiguous().numpy()
        values = dict(zip(shown, running.run(shown, {onnx.INPUT: pictures}), strict=True))
        values |= {onnx.INPUT: pictures}
        for name in names:
            both = [
                _channel_sums(each) for each in (values[name], _seen(values[name], spans[name]))
            ]
            before = totals.get(name, [np.zeros(1), np.zeros(1)])
            totals[name] = [one + other for one, other in zip(before, both, strict=True)]
    return {name: (one / len(split), other / len(split)) for name, (one, other) in totals.items()}


def _channel_sums(array: Array) -> Array:
    """Return the sum over pictures of each channel's mean."""
    means = array.reshape(*array.shape[:2], -1).mean(axis=2)
    return np.asarray(means.sum(axis=0, dtype=np.float64))


def _seen(array: Array, span: Span) -> Array:
    """Return values as 8 bits show them."""
    step, zero_point = step_of(span)
    seen = np.multiply(array, np.float32(1 / step))
    np.rint(seen, out=seen)
    np.clip(seen, -zero_point, LEVELS - 1 - zero_point, out=seen)
    return np.multiply(seen, np.float32(step), out=seen)
