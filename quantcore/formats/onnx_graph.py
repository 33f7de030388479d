"""Clean-up of an ONNX graph that torch has written, and counts of its operators."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    numpy_helper,
    shape_inference,
)
from onnx.reference import ReferenceEvaluator

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Operators on whole numbers.
INTEGER = ("MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul")
# What runtimes fuse into the 8-bit operator before it.
ACTIVATIONS = ("Relu", "Clip")
# Arithmetic of scales, zero points, biases and shapes.
FOLDED = (
    *("Constant", "ConstantOfShape", "Cast", "Shape", "Gather", "Slice", "Concat", "Reshape"),
    *("Squeeze", "Unsqueeze", "Expand", "Transpose", "Range", "Equal", "Where", "Not", "Identity"),
    *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Round", "Floor", "Sqrt", "Pow"),
)
UNCOUNTED = (QUANTIZE, DEQUANTIZE, "DynamicQuantizeLinear", "Constant", "Cast")

Array = NDArray[Any]


def tidied(model: ModelProto) -> tuple[ModelProto, int]:
    """Return the graph with every shape known, and without what need not be computed in it.

    That is arithmetic on constants (scales, zero points, biases, the sizes of pictures) and casts
    to the type a value has already. Runtimes for phones want plain initializers. Also returns how
    many nodes that took out.
    """
    before = len(model.graph.node)
    while True:
        model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        if not _fold_constants(model) + _drop_idle_casts(model):
            return model, before - len(model.graph.node)


def _fold_constants(model: ModelProto) -> int:
    graph = model.graph
    shapes = _static_shapes(graph)
    opsets = {each.domain: each.version for each in model.opset_import}
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    kept, folded = [], {}
    for node in graph.node:
        value = _constant(node, values, shapes, opsets)
        if value is None:
            kept.append(node)
        else:
            values[node.output[0]] = folded[node.output[0]] = value
    used = {name for node in kept for name in node.input} | {each.name for each in graph.output}
    initializers = [each for each in graph.initializer if each.name in used]
    initializers += [
        numpy_helper.from_array(value, name) for name, value in folded.items() if name in used
    ]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(initializers)
    return len(folded)


def _constant(
    node: NodeProto, values: dict[str, Array], shapes: dict[str, Array], opsets: dict[str, int]
) -> Array | None:
    """Return the node's value where it is one of those folded and all it reads is known."""
    if node.op_type == "Shape" and not node.attribute:
        return shapes.get(node.input[0])
    if node.op_type not in FOLDED or not all(name in values for name in node.input if name):
        return None
    feeds = {name: values[name] for name in node.input if name}
    (value,) = ReferenceEvaluator(node, opsets=opsets).run(None, feeds)
    array: Array = np.asarray(value)
    return array


def _static_shapes(graph: GraphProto) -> dict[str, Array]:
    """Return the shapes of the values whose every side is a number."""
    values = [*graph.input, *graph.value_info, *graph.output]
    ranked = [each for each in values if each.type.tensor_type.HasField("shape")]
    sides = {each.name: each.type.tensor_type.shape.dim for each in ranked}
    return {
        name: np.array([side.dim_value for side in dim], np.int64)
        for name, dim in sides.items()
        if all(side.HasField("dim_value") for side in dim)
    }


def _drop_idle_casts(model: ModelProto) -> int:
    """Drop casts to the type a value has: torch writes one behind every QuantizeLinear."""
    graph = model.graph
    types = {each.name: each.type.tensor_type.elem_type for each in graph.value_info}
    results = {each.name for each in graph.output}
    kept: list[NodeProto] = []
    instead: dict[str, str] = {}
    for node in graph.node:
        node.input[:] = [instead.get(name, name) for name in node.input]
        is_idle = node.op_type == "Cast" and types.get(node.input[0]) == node.attribute[0].i
        if is_idle and node.output[0] not in results:
            instead[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return len(instead)


def takes_all_bits(model: ModelProto) -> bool:
    """Return whether weights go beyond 7 of their 8 bits, so that sums in 16 bits may overflow."""
    whole = (each for each in model.graph.initializer if each.data_type == TensorProto.INT8)
    # Whoever leaves one bit free takes -64 to 64.
    return any(
        np.abs(numpy_helper.to_array(each).astype(int)).max(initial=0) > 64 for each in whole
    )


def operators(model: ModelProto) -> tuple[str, ...]:
    """Return the operators the graph is made of, sorted."""
    return tuple(sorted({node.op_type for node in model.graph.node}))


def int8_operators(model: ModelProto) -> tuple[int, int]:
    """Return how many operators run in 8 bits, and how many compute on pictures at all.

    One runs in 8 bits if it works on whole numbers, or if all it reads is dequantized and what it
    gives is quantized again, at once or behind an activation: runtimes fuse the three.
    """
    graph = _Graph(model)
    counted = [node for node in model.graph.node if graph.computes(node)]
    return sum(graph.is_int8(node) for node in counted), len(counted)


class _Graph:
    """Who makes and who reads each value."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        values = [*graph.value_info, *graph.output]
        self._types = {each.name: each.type.tensor_type.elem_type for each in values}

    def computes(self, node: NodeProto) -> bool:
        """Return whether the operator is more than bookkeeping of shapes and types."""
        if node.op_type in UNCOUNTED:
            return False
        is_float = any(self._types.get(name) == TensorProto.FLOAT for name in node.output)
        return is_float or node.op_type in INTEGER

    def is_int8(self, node: NodeProto) -> bool:
        """Return whether runtimes run it in 8 bits."""
        if node.op_type in INTEGER:
            return True
        return self._reads_int8(node) and all(
            reader.op_type == QUANTIZE
            or (reader.op_type in ACTIVATIONS and self._gives_int8(reader))
            for reader in self._read_by(node)
        )

    def _reads_int8(self, node: NodeProto) -> bool:
        makers = [self._makers[name] for name in node.input if name in self._makers]
        return bool(makers) and all(
            maker.op_type == DEQUANTIZE or (node.op_type in ACTIVATIONS and self._reads_int8(maker))
            for maker in makers
            if self.computes(maker) or maker.op_type == DEQUANTIZE
        )

    def _gives_int8(self, node: NodeProto) -> bool:
        return all(reader.op_type == QUANTIZE for reader in self._read_by(node))

    def _read_by(self, node: NodeProto) -> Iterator[NodeProto]:
        for name in node.output:
            yield from self._readers.get(name, ())
