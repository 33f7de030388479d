"""FX graph mode: what torch's own pass lacks for models whose layers it does not know by class.

Convolutions of a class of their own keep their batch norms; a bound above zero (ReLU6) is not fused
with the layer before it, whose steps are then spent on what is cut off next; padding is computed in
float between two 8-bit layers. All three cost more than the rounding itself.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from quantcore.backends.torch_ao import qconfigs
from quantcore.backends.torch_ao.numerics import Numerics
from quantcore.backends.torch_ao.traced import modular

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.ao.quantization import QConfig
    from torch.ao.quantization.backend_config import BackendConfig
    from torch.fx import GraphModule, Node

Bounds = tuple[float, float]


def prepared(
    module: "nn.Module",
    numerics: Numerics,
    qconfig: "QConfig",
    example: "Tensor",
) -> "GraphModule":
    """Return the float module, fused, with an observer at every activation.

    Args:
        module: in evaluation mode.
        numerics: whose ranges are taken.
        qconfig: how activations and weights are watched.
        example: pictures `[N, 3, H, W]`.
    """
    from torch.ao.quantization import quantize_fx

    module = fused(module, example)
    cut = {} if numerics.reduce_range else _bounds_fused(module)
    module = quantize_fx.fuse_fx(module)
    mapping = qconfigs.mapping(numerics, qconfig, is_qat=False)
    observed = quantize_fx.prepare_fx(module, mapping, (example,), backend_config=backend_config())
    _bound(observed, cut)
    return observed


def fused(module: "nn.Module", example: "Tensor") -> "GraphModule":
    """Return the module as a graph, its batch norms folded whatever class the convolutions are."""
    import torch
    from torch.ao.quantization import quantize_fx

    graph = quantize_fx.fuse_fx(module.eval())
    if not _batch_norms(graph):
        return graph
    with torch.no_grad():
        program = torch.jit.trace(module, example, check_trace=False)
    folded = modular(program, example)
    return graph if folded is None or _batch_norms(folded) >= _batch_norms(graph) else folded


def _batch_norms(module: "nn.Module") -> int:
    from torch.nn.modules.batchnorm import _BatchNorm

    return sum(isinstance(part, _BatchNorm) for part in module.modules())


def converted(observed: Any) -> "GraphModule":
    """Return the observed module with its layers in 8 bits."""
    from torch.ao.quantization import quantize_fx

    module = quantize_fx.convert_fx(observed, backend_config=backend_config())
    _pad_in_8_bits(module)
    return module


def _pad_in_8_bits(module: "GraphModule") -> None:
    """Pad 8-bit numbers as they are, where torch converts them to float and back for it."""
    parts = _parts(module)
    for node in list(module.graph.nodes):
        source: Any = _source(node) if _pads(node, parts) else None
        if getattr(source, "target", None) != "dequantize" or not _only_quantized(node):
            continue
        node.replace_input_with(source, _source(source))
        for user in list(node.users):
            user.replace_all_uses_with(node)
            module.graph.erase_node(user)
    module.graph.eliminate_dead_code()
    module.recompile()


def _pads(node: "Node", parts: "dict[str, nn.Module]") -> bool:
    from torch import nn

    return node.target is nn.functional.pad or isinstance(_part(node, parts), nn.ZeroPad2d)


def _only_quantized(node: "Node") -> bool:
    """Return whether a node's output is only ever quantized; its range is that of its input."""
    import torch

    return all(user.target is torch.quantize_per_tensor for user in node.users)


def backend_config() -> "BackendConfig":
    """Return torch's own configuration, with padding that stays in 8 bits."""
    import torch
    from torch import nn
    from torch.ao.quantization import backend_config as configs

    shared = configs.ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT
    types = configs.DTypeConfig(input_dtype=torch.quint8, output_dtype=torch.quint8)
    own = configs.get_native_backend_config()
    for pad in (nn.functional.pad, nn.ZeroPad2d):
        pattern = configs.BackendPatternConfig(pad).set_observation_type(shared)
        own.set_backend_pattern_config(pattern.add_dtype_config(types))
    return own


def _bounds_fused(module: "GraphModule") -> dict[str, Bounds]:
    """Replace ReLU6 behind a layer by ReLU, which is fused; return the bounds by the layer's name.

    8-bit numbers end where their range does, so that a range up to the bound does the rest.
    """
    import torch
    from torch import nn

    parts, found = _parts(module), {}
    if any(node.target is torch.cat for node in module.graph.nodes):
        return {}  # Joined maps have one range, which cannot end where only one of them does.
    for node in module.graph.nodes:
        part = _part(node, parts)
        bounds = _bounds(part)
        if bounds is None or bounds[0] != 0:
            continue
        before = _source(node)
        if isinstance(_part(before, parts), (nn.Conv2d, nn.Linear)) and len(before.users) == 1:
            module.set_submodule(str(node.target), nn.ReLU())
            found[str(before.target)] = bounds
    return found


def _bound(observed: "GraphModule", fused: dict[str, Bounds]) -> None:
    """Let observers see values only as far as the one activation function that reads them does."""
    parts = _parts(observed)
    for observer, calls in _observed(observed, parts).items():
        # What an operator passes on of values that were seen before adds nothing to their range.
        first = [call for call in calls if not _passed_on(call, calls)]
        found = {_needed(call, parts, fused) for call in first}
        if len(found) == 1 and (bounds := found.pop()) is not None:
            observer.register_forward_pre_hook(partial(_cut, bounds))


def _passed_on(call: "Node", calls: "list[Node]") -> bool:
    return any(before in calls for before in _source(call).all_input_nodes)


def _observed(
    observed: "GraphModule", parts: "dict[str, nn.Module]"
) -> "dict[nn.Module, list[Node]]":
    """Return the calls of each observer; where a range is shared, there are several."""
    from torch.ao.quantization import ObserverBase

    calls: dict[nn.Module, list[Node]] = {}
    for node in observed.graph.nodes:
        if isinstance(part := _part(node, parts), ObserverBase):
            calls.setdefault(part, []).append(node)
    return calls


def _needed(call: "Node", parts: "dict[str, nn.Module]", fused: dict[str, Bounds]) -> Bounds | None:
    """Return as far as values are read that an observer watches; None for all of them."""
    if bounds := fused.get(str(_source(call).target)):
        return bounds
    readers = {_bounds(_part(user, parts)) for user in call.users}
    return readers.pop() if len(readers) == 1 else None


def _parts(module: "nn.Module") -> "dict[str, nn.Module]":
    return dict(module.named_modules(remove_duplicate=False))


def _cut(bounds: Bounds, _: "nn.Module", inputs: tuple["Tensor", ...]) -> "Tensor":
    return inputs[0].clamp(*bounds)


def _source(node: "Node") -> Any:
    """Return the node that another one reads first."""
    return node.args[0] if node.args else None


def _part(node: "Node", parts: "dict[str, nn.Module]") -> Any:
    return parts[str(node.target)] if node.op == "call_module" else None


def _bounds(part: Any) -> Bounds | None:
    """Return beyond which values a module's answer stays the same; None where it never does.

    Hard swish and sigmoid are left out, though theirs does below -3: a histogram's range may end
    just above that, and whatever lies below would no longer come out as nothing.
    """
    from torch import nn

    return (float(part.min_val), float(part.max_val)) if isinstance(part, nn.Hardtanh) else None
