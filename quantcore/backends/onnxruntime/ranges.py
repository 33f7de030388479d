"""Ranges of activations: what values a float graph's tensors took on calibration pictures.

Every rule reads the same histograms, so the pictures are seen once whichever rules are tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantcore.backends.onnxruntime import graphs
from quantcore.errors import QuantcoreError
from quantcore.formats import onnx
from quantcore.images import Split
from quantcore.schema import Report

if TYPE_CHECKING:
    from onnx import ModelProto

LEVELS = 256
BINS = 2_048
# Histograms of so many pictures have the shape of all.
HISTOGRAM_PICTURES = 64
# Of a layer's values, so many in the middle are kept by `percentile`.
PERCENTILE = 99.99
# Shares of the whole range that are tried by the rules that look for the best one.
SHARES = np.linspace(0.3, 1.0, 29)
# Pictures at a time, so that all layers' numbers of 224 px fit into memory.
PIXELS_AT_A_TIME, MAX_BATCH = 4 * 224 * 224, 16

Span = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observed:
    """What tensors held, by name.

    Attributes:
        spans: the smallest and the largest value, 0 among them.
        counts: how many values fell into each of equal bins of the span; empty where no rule that
            was asked for looks at them.
    """

    spans: Mapping[str, Span]
    counts: Mapping[str, NDArray[np.int64]]

    def fitted(self, observer: str) -> dict[str, Span]:
        """Return each tensor's range by one of the rules."""
        if observer == "minmax":
            return dict(self.spans)
        rule = RULES[observer]
        return {name: rule(self.counts[name], span) for name, span in self.spans.items()}


def observed(
    graph: "ModelProto", names: Sequence[str], split: Split, *, shapes: bool, report: Report
) -> Observed:
    """Return what the named tensors of a float graph held on a split's pictures.

    Args:
        graph: the float model.
        names: of tensors whose range is looked for.
        split: the calibration pictures.
        shapes: whether to count values as well, which takes a second look at some pictures.
        report: may raise to stop it.

    Raises:
        QuantcoreError: a value is not a number.
    """
    spans: dict[str, Span] = dict.fromkeys(names, (0.0, 0.0))
    for values in _values(graph, names, split, report):
        for name, array in values.items():
            low, high = spans[name]
            spans[name] = min(low, float(array.min())), max(high, float(array.max()))
    if not np.isfinite(list(spans.values())).all():
        raise QuantcoreError(
            "Some layers answer values that are not numbers (NaN or infinite).",
            "Calibrate with more typical pictures, or look into the float model.",
        )
    counts: dict[str, NDArray[np.int64]] = {}
    if shapes:
        counts = {name: np.zeros(BINS, np.int64) for name in names}
        for values in _values(graph, names, split.first(HISTOGRAM_PICTURES), report):
            for name, array in values.items():
                counts[name] += np.histogram(array, BINS, spans[name])[0]
    return Observed(spans, counts)


def _values(
    graph: "ModelProto", names: Sequence[str], split: Split, report: Report
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield the named tensors' values on a split's pictures, a few pictures at a time."""
    running = graphs.session(showing(graph, names))
    size = batch_size(split)
    shown = [name for name in names if name != onnx.INPUT]
    for part, (images, _) in enumerate(split.batches(size)):
        report(f"calibrating on {len(split)} images", part * size / len(split))
        pictures = images.contiguous().numpy()
        values = dict(zip(shown, running.run(shown, {onnx.INPUT: pictures}), strict=True))
        yield {**values, onnx.INPUT: pictures} if onnx.INPUT in names else values


def showing(graph: "ModelProto", names: Sequence[str]) -> "ModelProto":
    """Return the graph with the named tensors among its outputs."""
    import onnx as onnx_package

    whole = onnx_package.ModelProto()
    whole.CopyFrom(graph)
    given = {each.name for each in (*whole.graph.output, *whole.graph.input)}
    whole.graph.output.extend(
        onnx_package.ValueInfoProto(name=name) for name in names if name not in given
    )
    return whole


def batch_size(split: Split) -> int:
    """Return how many of a split's pictures are run at a time."""
    pixels = split.tensor(1)[0, 0].numel()
    return max(1, min(MAX_BATCH, PIXELS_AT_A_TIME // pixels))


def percentile(counts: NDArray[np.int64], span: Span) -> Span:
    """Return the range of the middle values, 0 included."""
    edges = np.linspace(*span, len(counts) + 1)
    share = np.cumsum(counts) / max(1, counts.sum())
    outside = (100 - PERCENTILE) / 200
    low = edges[np.searchsorted(share, outside)]
    high = edges[min(int(np.searchsorted(share, 1 - outside)) + 1, len(counts))]
    return min(0.0, float(low)), max(0.0, float(high))


def least_error(counts: NDArray[np.int64], span: Span) -> Span:
    """Return the range with the least squared error of rounding and of cutting off."""
    low, high = span
    if low == high:
        return span
    values = np.linspace(low, high, len(counts) + 1)[:-1] + (high - low) / (2 * len(counts))
    lows = low * SHARES if low < 0 else np.zeros(1)
    highs = high * SHARES if high > 0 else np.zeros(1)
    below = np.array([(counts * np.square(np.minimum(values - each, 0))).sum() for each in lows])
    above = np.array([(counts * np.square(np.maximum(values - each, 0))).sum() for each in highs])
    steps = (highs[None, :] - lows[:, None]) / (LEVELS - 1)
    errors = below[:, None] + above[None, :] + counts.sum() * np.square(steps) / 12
    best = np.unravel_index(np.argmin(errors), errors.shape)
    return float(lows[best[0]]), float(highs[best[1]])


def entropy(counts: NDArray[np.int64], span: Span) -> Span:
    """Return the range that loses the least information: KL divergence.

    Source: S. Migacz, "8-bit Inference with TensorRT", 2017.
    """
    low, high = span
    if low == high:
        return span
    values = np.linspace(low, high, len(counts) + 1)[:-1] + (high - low) / (2 * len(counts))
    losses = [_divergence(counts, values, low * share, high * share) for share in SHARES]
    share = float(SHARES[int(np.argmin(losses))])
    return low * share, high * share


def _divergence(counts: NDArray[np.int64], values: Floats, low: float, high: float) -> float:
    """Return how far the values' distribution is from that behind cutting off and rounding."""
    inside = (values >= low) & (values <= high)
    kept = counts[inside].astype(np.float64)
    if not kept.any():
        return np.inf
    reference = kept.copy()
    reference[0] += counts[values < low].sum()
    reference[-1] += counts[values > high].sum()
    level = np.round((values[inside] - low) / (high - low) * (LEVELS - 1)).astype(np.int64)
    filled = np.bincount(level, kept > 0, LEVELS)
    rounded = (np.bincount(level, kept, LEVELS) / np.maximum(filled, 1))[level] * (kept > 0)
    p, q = reference / reference.sum(), rounded / rounded.sum()
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))).sum())


RULES: dict[str, Any] = {"percentile": percentile, "histogram": least_error, "entropy": entropy}
