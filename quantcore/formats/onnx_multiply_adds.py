"""Multiply-adds of an ONNX file, counted in the graph that ONNX Runtime makes of it.

Pairs of QuantizeLinear and DequantizeLinear are fused into 8-bit operators there; where they could
not be, a float operator is left, so what is counted is what runs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

Shape = tuple[int, ...]
# From the shapes of a node's result and of what it reads.
Count = Callable[[Shape, Sequence[Shape]], int]
ERRORS = 3


def _convolution(out: Shape, reads: Sequence[Shape]) -> int:
    return math.prod(out) * math.prod(reads[1][1:])


def _product(out: Shape, reads: Sequence[Shape]) -> int:
    # The left side is [.., m, k], perhaps turned, and the result [.., m, n].
    return math.prod(out) * math.prod(reads[0][-2:]) // out[-2]


def _recurrent(_: Shape, reads: Sequence[Shape]) -> int:
    steps, batch, _width = reads[0]
    return steps * batch * (math.prod(reads[1]) + math.prod(reads[2]))


# Operators that multiply and add in float; each 8-bit operator has another name.
FLOAT_OPERATORS: dict[str, Count] = {
    "Conv": _convolution,
    "FusedConv": _convolution,
    "ConvTranspose": lambda _, reads: math.prod(reads[0]) * math.prod(reads[1][1:]),
    "Gemm": _product,
    "FusedGemm": _product,
    "MatMul": _product,
    "FusedMatMul": _product,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
# The same on whole numbers, in files that hold such operators as they are.
INTEGER_OPERATORS: dict[str, Count] = {
    "ConvInteger": _convolution,
    "QLinearConv": lambda out, reads: math.prod(out) * math.prod(reads[3][1:]),
    "MatMulInteger": _product,
    "MatMulIntegerToFloat": _product,
    "DynamicQuantizeMatMul": _product,
    "QLinearMatMul": _product,
    "QGemm": _product,
    "DynamicQuantizeLSTM": _recurrent,
}


def float_multiply_adds(path: Path, image_size: int, scratch: Path) -> int:
    """Return the multiply-adds that run in float for one picture of `image_size` px.

    The optimized graph is written into the folder `scratch` and run once with the counted nodes'
    values as outputs: fused nodes have no inferred shapes, but every value has a real one.
    """
    levels = onnxruntime.GraphOptimizationLevel
    path_optimized = scratch / "optimized.onnx"
    # One level more only moves channels about, and pads weights to whole blocks.
    _session(path, levels.ORT_ENABLE_EXTENDED, path_optimized)
    total = _counted(onnx.load(path_optimized), FLOAT_OPERATORS, image_size, path_optimized)
    path_optimized.unlink()
    return total


def multiply_adds(path: Path, image_size: int, scratch: Path) -> int:
    """Return the multiply-adds for one picture, in float or in 8 bits, as the graph is written."""
    again = scratch / "again.onnx"
    total = _counted(onnx.load(path), FLOAT_OPERATORS | INTEGER_OPERATORS, image_size, again)
    again.unlink(missing_ok=True)
    return total


def _counted(
    model: onnx.ModelProto, counts: Mapping[str, Count], image_size: int, scratch: Path
) -> int:
    """Return the multiply-adds of the operators that are counted; `scratch` is overwritten."""
    nodes = [node for node in model.graph.node if node.op_type in counts]
    shapes = _shapes(model, nodes, image_size, scratch)
    return sum(
        counts[node.op_type](shapes[node.output[0]], [shapes.get(name, ()) for name in node.input])
        for node in nodes
    )


def _shapes(
    model: onnx.ModelProto, nodes: Sequence[Any], image_size: int, path: Path
) -> dict[str, Shape]:
    """Return the shapes of all that the nodes read and give for one picture."""
    shapes: dict[str, Shape] = {each.name: tuple(each.dims) for each in model.graph.initializer}
    (pictures,) = (each.name for each in model.graph.input if each.name not in shapes)
    images = np.zeros((1, 3, image_size, image_size), np.float32)
    shapes[pictures] = images.shape
    wanted = {name for node in nodes for name in (*node.input, node.output[0])} - {"", *shapes}
    if not wanted:
        return shapes
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted))
    path.write_bytes(model.SerializeToString())
    session = _session(path, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    values = session.run(None, {pictures: images})
    named = zip(session.get_outputs(), values, strict=True)
    return shapes | {output.name: value.shape for output, value in named}


def _session(path: Path, level: Any, save: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, ERRORS
    options.intra_op_num_threads = 1
    if save is not None:
        options.optimized_model_filepath = str(save)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
