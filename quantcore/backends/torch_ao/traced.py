"""A TorchScript program as an FX graph of modules, for torch's FX graph mode.

FX graph mode knows layers by their module (`nn.Conv2d`), so a program's convolutions, or those of
a class that torch does not know, are made such modules again. Batch norms are folded before, by
freezing, which goes by the graph and not by the class of a convolution.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import Graph, GraphModule, Node

# How far the graph's logits may be from the program's: both are the same sums in float32.
TOLERANCE = 1e-4

# Called as methods of a tensor: torch keeps most of these in 8 bits, and a trace follows sizes that
# go into them, where the operator itself would fix this batch's size for all.
METHODS = ("size", "view", "reshape", "permute", "transpose", "squeeze", "mean", "chunk")


class UntranslatableError(Exception):
    """The program has an operator or a structure that an FX graph of modules has no place for."""


def modular(program: Any, example: "Tensor") -> "GraphModule | None":
    """Return the program as an FX graph of modules; None where it cannot be one.

    Args:
        program: TorchScript, in evaluation mode.
        example: pictures `[N, 3, H, W]`, on which both have to answer the same.
    """
    import torch

    try:
        module = _translated(program)
        with torch.no_grad():
            wanted, answer = program(example), module(example)
    # Tensors that do not fit show that an operator meant something else, in many ways.
    except (UntranslatableError, RuntimeError, TypeError, ValueError):
        return None
    span = float(wanted.abs().max())
    return module if torch.allclose(wanted, answer, rtol=0.0, atol=TOLERANCE * span) else None


def _translated(program: Any) -> "GraphModule":
    import torch
    from torch.fx import Graph, GraphModule

    frozen = program if not hasattr(program, "training") else torch.jit.freeze(program.eval())
    source = frozen.inlined_graph.copy()
    torch._C._jit_pass_remove_mutation(source)
    torch._C._jit_pass_lint(source)
    inputs = list(source.inputs())[1:]
    if len(inputs) != 1 or len(list(source.outputs())) != 1:
        raise UntranslatableError
    translation = _Translation(Graph())
    translation.values[inputs[0].debugName()] = translation.graph.placeholder("pictures")
    for node in source.nodes():
        translation.add(node)
    translation.graph.output(translation.value(next(iter(source.outputs()))))
    module = GraphModule(translation.parts, translation.graph, "Program").eval()
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


# Columns on the left and on the right, rows above and below, as torch's own padding has them.
Sides = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Padded:
    """A node and the zeros around its pictures; below zero, so much is cut off."""

    node: "Node"
    sides: Sides


@dataclass
class _Translation:
    """The graph so far: its modules and tensors by name, and what each value became."""

    graph: "Graph"
    parts: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def value(self, value: Any) -> Any:
        """Return what a value of the program is in the graph: a node, or a constant."""
        return self.values[value.debugName()]

    def add(self, node: Any) -> None:
        """Take over one node of the program."""
        kind, inputs = node.kind(), list(node.inputs())
        outputs = [output.debugName() for output in node.outputs()]
        if kind == "prim::Constant":
            self.values[outputs[0]] = node.output().toIValue()
            return
        arguments = [self.value(each) for each in inputs]
        if kind == "prim::ListConstruct":
            self.values[outputs[0]] = arguments
        elif kind in ("prim::ListUnpack", "prim::TupleUnpack"):
            for index, name in enumerate(outputs):
                self.values[name] = self.call(operator.getitem, self.held(arguments[0]), index)
        elif kind == "prim::TupleConstruct" or not kind.startswith(("aten::", "prim::NumTo")):
            raise UntranslatableError(kind)
        else:
            self.values[outputs[0]] = self.operation(node, kind.partition("::")[2], arguments)

    def operation(self, node: Any, name: str, arguments: list[Any]) -> Any:
        """Return the node of one operator: a module where torch quantizes it by its module."""
        import torch

        schema = torch._C.parse_schema(node.schema())
        named = dict(zip((each.name for each in schema.arguments), arguments, strict=True))
        if special := SPECIAL.get(name.removesuffix("_")):
            made = special(self, named)
            if made is not None:
                return made
        if schema.is_mutable:
            raise UntranslatableError(schema.name)
        if name in METHODS:
            return self.method(name, schema.arguments, named)
        space, _, short = schema.name.partition("::")
        packet = getattr(getattr(torch.ops, space), short)
        target = getattr(packet, schema.overload_name or "default")
        return self.call(target, *map(self.held, arguments))

    def call(self, target: Callable[..., Any], *arguments: Any, **named: Any) -> "Node":
        """Return the node of a function's call."""
        return self.graph.call_function(target, arguments, named)

    def method(self, name: str, declared: Sequence[Any], named: Mapping[str, Any]) -> "Node":
        """Return the node of a tensor method's call, whose sizes a trace follows."""
        positional = [self.held(named[each.name]) for each in declared if not each.kwarg_only]
        by_name = {each.name: self.held(named[each.name]) for each in declared if each.kwarg_only}
        return self.graph.call_method(name, tuple(positional), by_name)

    def module(self, kind: str, part: "nn.Module", argument: Any) -> "Node":
        """Return the node of a module's call, the module registered."""
        name = f"{kind}_{len(self.parts)}"
        self.parts[name] = part
        return self.graph.call_module(name, (argument,))

    def padded(self, padded: _Padded) -> "Node":
        """Return the node of a padded, or cut, picture; the node itself where nothing is to do."""
        from torch.nn import functional

        if not any(padded.sides):
            return padded.node
        return self.call(functional.pad, padded.node, list(padded.sides), "constant", 0.0)

    def held(self, value: Any) -> Any:
        """Return an argument as a graph takes it: tensors are held by the module."""
        import torch

        if isinstance(value, list):
            return [self.held(each) for each in value]
        if not isinstance(value, torch.Tensor):
            return value
        name = f"tensor_{len(self.parts)}"
        self.parts[name] = value
        return self.graph.get_attr(name)


Named = Mapping[str, Any]
Special = Callable[[_Translation, Named], Any]


def _are_tensors(*values: Any) -> bool:
    import torch

    return all(isinstance(value, torch.Tensor) for value in values)


def _convolution(into: _Translation, named: Named) -> Any:
    from torch import nn

    weight, bias = named["weight"], named["bias"]
    if not _are_tensors(weight) or weight.ndim != 4 or named.get("transposed"):
        return None
    groups = named["groups"]
    pictures, padding, cut = _padding(named, tuple(weight.shape[2:]))
    conv = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        tuple(named["stride"]),
        padding if isinstance(padding, str) else tuple(padding),
        tuple(named["dilation"]),
        groups,
        bias is not None,
    )
    node = into.module("conv", _with(conv, weight, bias), into.padded(pictures))
    return into.padded(_Padded(node, cut)) if any(cut) else node


def _padding(named: Named, kernel: tuple[int, int]) -> "tuple[_Padded, Any, Sides]":
    """Return what a convolution reads, how it pads, and what is cut off its output.

    Padding before it becomes its own where both sides are alike. Where they are not, FBGEMM's
    depthwise kernels still need half the kernel on each side: without, they are 400 times slower.
    One step more is then computed at the start, and cut off.
    """
    node, own = named["input"], named["padding"]
    nothing = (0, 0, 0, 0)
    sides = _padded_sides(node)
    if sides is None or isinstance(own, str) or any(own):
        return _Padded(node, nothing), own, nothing
    left, right, top, bottom = sides
    source = node.args[0]
    if (left, top) == (right, bottom):
        return _Padded(source, nothing), [top, left], nothing
    half = kernel[0] // 2, kernel[1] // 2
    odd = kernel[0] % 2 == kernel[1] % 2 == 1 and set(named["dilation"]) == {1}
    if named["groups"] == 1 or not odd or bottom < half[0] or right < half[1]:
        return _Padded(node, nothing), own, nothing
    rows, cut_rows = _shift(half[0], top, named["stride"][0])
    columns, cut_columns = _shift(half[1], left, named["stride"][1])
    before = columns, right - half[1], rows, bottom - half[0]
    return _Padded(source, before), list(half), (-cut_columns, 0, -cut_rows, 0)


def _shift(half: int, front: int, stride: int) -> tuple[int, int]:
    """Return how much more is padded in front, and how many outputs that adds there."""
    more = (front - half) % stride
    return more, (half + more - front) // stride


def _padded_sides(node: "Node") -> "Sides | None":
    """Return how wide zeros stand around a node's picture; None where it is not such padding."""
    from torch.nn import functional

    if node.target is not functional.pad:
        return None
    arguments: Any = node.args
    _, given, mode, value = arguments
    sides: Any = tuple((*given, 0, 0, 0, 0)[: max(4, len(given))])
    if (mode, value) != ("constant", 0.0) or any(sides[4:]) or min(sides) < 0:
        return None
    return sides[:4]  # type: ignore[no-any-return]


def _normalised(into: _Translation, named: Named) -> Any:
    from torch import nn

    mean, variance = named["running_mean"], named["running_var"]
    if not _are_tensors(named["weight"], named["bias"], mean, variance) or named["training"]:
        return None
    norm = nn.BatchNorm2d(len(mean), eps=named["eps"])
    norm.running_mean, norm.running_var = mean.clone(), variance.clone()
    return into.module("norm", _with(norm, named["weight"], named["bias"]), named["input"])


def _linear(into: _Translation, named: Named) -> Any:
    from torch import nn

    weight, bias = named["weight"], named["bias"]
    if not _are_tensors(weight):
        return None
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    return into.module("linear", _with(linear, weight, bias), named["input"])


def _with(layer: Any, weight: "Tensor", bias: "Tensor | None") -> "nn.Module":
    from torch import nn

    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer  # type: ignore[no-any-return]


def _clamp(into: _Translation, named: Named) -> Any:
    from torch import nn

    low, high = named.get("min_val", 0), named.get("max_val", 6)
    part = nn.ReLU6() if (low, high) == (0, 6) else nn.Hardtanh(low, high)
    return _pointwise(into, part, named["self"])


def _activation(kind: str, into: _Translation, named: Named) -> Any:
    from torch import nn

    return _pointwise(into, getattr(nn, kind)(), named["self"])


def _pointwise(into: _Translation, part: "nn.Module", node: "Node") -> "Node":
    """Return the node of an activation function: before its picture is cut, so that it is fused."""
    from torch.nn import functional

    arguments: Any = node.args
    if node.target is not functional.pad or max(arguments[1]) > 0:
        return into.module("activation", part, node)
    activated = into.module("activation", part, arguments[0])
    return into.padded(_Padded(activated, tuple(arguments[1])))


def _arithmetic(function: Callable[..., Any], into: _Translation, named: Named) -> Any:
    if named.get("alpha", 1) != 1:
        return None
    return into.call(function, into.held(named["self"]), into.held(named["other"]))


def _pooled(into: _Translation, named: Named) -> Any:
    from torch import nn

    return into.module("pool", nn.AdaptiveAvgPool2d(named["output_size"]), named["self"])


def _max_pooled(into: _Translation, named: Named) -> Any:
    from torch import nn

    part = nn.MaxPool2d(
        named["kernel_size"],
        named["stride"] or None,
        named["padding"],
        named["dilation"],
        ceil_mode=named["ceil_mode"],
    )
    return into.module("pool", part, named["self"])


def _average_pooled(into: _Translation, named: Named) -> Any:
    from torch import nn

    part = nn.AvgPool2d(
        named["kernel_size"],
        named["stride"] or None,
        named["padding"],
        named["ceil_mode"],
        named["count_include_pad"],
        named["divisor_override"],
    )
    return into.module("pool", part, named["self"])


def _dropped_out(into: _Translation, named: Named) -> Any:
    return None if named["train"] else named["input"]


def _padded(into: _Translation, named: Named) -> Any:
    from torch.nn import functional

    mode = named.get("mode", "constant")
    return into.call(functional.pad, named["self"], named["pad"], mode, named["value"] or 0.0)


def _joined(into: _Translation, named: Named) -> Any:
    import torch

    tensors = into.held(named["tensors"])
    return into.call(torch.cat, tensors, named["dim"])


def _flattened(into: _Translation, named: Named) -> Any:
    import torch

    return into.call(torch.flatten, named["self"], named["start_dim"], named["end_dim"])


def _same(into: _Translation, named: Named) -> Any:
    """A size as a tensor, or back: a graph of modules holds it as it is."""
    return named["a"]


SPECIAL: Mapping[str, Special] = {
    "NumToTensor": _same,
    "Int": _same,
    "conv2d": _convolution,
    "_convolution": _convolution,
    "batch_norm": _normalised,
    "linear": _linear,
    "hardtanh": _clamp,
    "relu6": _clamp,
    "relu": partial(_activation, "ReLU"),
    "hardswish": partial(_activation, "Hardswish"),
    "hardsigmoid": partial(_activation, "Hardsigmoid"),
    "sigmoid": partial(_activation, "Sigmoid"),
    "silu": partial(_activation, "SiLU"),
    "add": partial(_arithmetic, operator.add),
    "mul": partial(_arithmetic, operator.mul),
    "adaptive_avg_pool2d": _pooled,
    "max_pool2d": _max_pooled,
    "avg_pool2d": _average_pooled,
    "dropout": _dropped_out,
    "pad": _padded,
    "constant_pad_nd": _padded,
    "cat": _joined,
    "flatten": _flattened,
}
