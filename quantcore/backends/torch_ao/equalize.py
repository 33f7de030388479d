"""Balance the weights of neighbouring convolutions, so that one scale a layer fits all channels.

Where a layer has a single weight scale, a channel with small weights is rounded away beside one
with large weights. Between two convolutions a channel may be scaled down on one side and up on the
other without changing what the model answers, as long as only ReLU or nothing stands between them.
So each channel is scaled until both sides use the same range.

Source: "Data-free quantization through weight equalization and bias correction", Nagel et al.,
2019, section 4.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import Node

SWEEPS = 20
# A channel that is nearly dead must not be blown up without end.
LARGEST_FACTOR = 1e3


@dataclass(frozen=True)
class _Pair:
    """Two convolutions with nothing but the first one's batch norm and a ReLU between them."""

    first: "nn.Conv2d"
    norm: "nn.BatchNorm2d"
    second: "nn.Conv2d"
    second_norm: "nn.BatchNorm2d | None"


def equalize(module: "nn.Module") -> int:
    """Balance a float model's convolutions in place; return how many neighbours there were.

    What the model answers stays the same up to rounding. Models that cannot be traced, and
    activations that know absolute values (ReLU6, Hardswish), are left as they are.
    """
    import torch
    from torch.fx import symbolic_trace

    try:
        graph = symbolic_trace(module).graph
    # A model whose path depends on its input, in any of the ways in which tracing refuses it.
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError):
        return 0
    parts = dict(module.named_modules())
    pairs = [pair for node in graph.nodes if (pair := _pair(node, parts)) is not None]
    with torch.no_grad():
        for _ in range(SWEEPS):
            for pair in pairs:
                _balance(pair)
    return len(pairs)


def _pair(node: "Node", parts: "dict[str, nn.Module]") -> _Pair | None:
    from torch import nn

    chain = list(_chain(node, parts))
    kinds = [type(part) for part in chain]
    if kinds[:2] != [nn.Conv2d, nn.BatchNorm2d]:
        return None
    rest = chain[3:] if kinds[2:3] == [nn.ReLU] else chain[2:]
    if not rest or type(rest[0]) is not nn.Conv2d or rest[0].groups not in (1, rest[0].in_channels):
        return None
    norm = rest[1] if len(rest) > 1 and type(rest[1]) is nn.BatchNorm2d else None
    return _Pair(chain[0], chain[1], rest[0], norm)  # type: ignore[arg-type]


def _chain(node: "Node", parts: "dict[str, nn.Module]") -> "Iterator[nn.Module]":
    """Yield the modules from a node on, for as long as each one's output goes to one place only."""
    while node.op == "call_module":
        yield parts[str(node.target)]
        if len(node.users) != 1:
            return
        node = next(iter(node.users))


def _balance(pair: _Pair) -> None:
    first = _folded(pair.first.weight, pair.norm).flatten(1).abs().amax(1)
    second = _by_input(pair.second, _folded(pair.second.weight, pair.second_norm))
    factor = (first / second).sqrt().clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR)
    factor[(first == 0) | (second == 0)] = 1.0
    pair.norm.weight.div_(factor)
    pair.norm.bias.div_(factor)
    if pair.second.groups == 1:
        pair.second.weight.mul_(factor[None, :, None, None])
    else:
        each = pair.second.out_channels // pair.second.in_channels
        pair.second.weight.mul_(factor.repeat_interleave(each)[:, None, None, None])


def _folded(weight: "Tensor", norm: "nn.BatchNorm2d | None") -> "Tensor":
    """Return the weights `[out, in, h, w]` as they are quantized: times the batch norm's scale."""
    if norm is None:
        return weight
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return weight * scale[:, None, None, None]


def _by_input(conv: "nn.Conv2d", weight: "Tensor") -> "Tensor":
    """Return the largest weight that each input channel meets, `[in]`."""
    if conv.groups == 1:
        return weight.abs().amax((0, 2, 3))
    return weight.reshape(conv.in_channels, -1).abs().amax(1)
