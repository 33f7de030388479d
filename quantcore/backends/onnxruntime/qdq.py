"""8-bit graphs from a float graph: where 8 bits go, with which numbers, and what stays float.

ONNX Runtime's quantizer says once where QuantizeLinear and DequantizeLinear go. Other ranges, other
biases and layers left in float are then put into that layout, which takes milliseconds, where the
quantizer takes seconds.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantcore.backends.onnxruntime import graphs
from quantcore.backends.onnxruntime.ranges import LEVELS, Span

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Layers that multiply and add, with the axis of their weights' output channels; None where all
# channels share one scale.
CHANNEL_AXES = {"Conv": 0, "ConvTranspose": None, "Gemm": 1, "MatMul": 1}
# Their 8-bit kernels give float numbers as well, so that logits need not be rounded.
GIVE_FLOAT = ("Gemm", "MatMul")
FLOAT = "_float"
# Weights are symmetric, so that the lowest of 256 numbers is not used.
WHOLE, REDUCED = 127, 64
# A bit less than 32 bits hold, since scales are rounded too.
MAX_BIAS = 0.9999 * 2**31

Array = NDArray[Any]


@dataclass(frozen=True)
class Weights:
    """How weights become 8 bits: one scale per output channel or one in all, 8 bits or 7."""

    per_channel: bool
    reduce_range: bool


@dataclass(frozen=True)
class Stored:
    """Names of a constant in 8 or 32 bits: its whole numbers, their scale and their zero point."""

    numbers: str
    scale: str
    zero_point: str


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer whose weights are in 8 bits.

    Attributes:
        node: its name.
        operator: its type.
        reads: name of the tensor that it reads, in the float graph.
        reads_scale: name of that tensor's scale.
        axis: of the output channels among the axes of the weights; None for one scale in all.
        groups: into how many its channels are parted.
        values: the float weights.
        bias: the float biases; None where it has none.
        weight_names: of its weights in 8 bits.
        bias_names: of its biases in 32 bits.
    """

    node: str
    operator: str
    reads: str
    reads_scale: str
    axis: int | None
    groups: int
    values: Array
    bias: Array | None
    weight_names: Stored
    bias_names: Stored | None

    def rounded(self, weights: Weights) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Return the weights as whole numbers, and their scale: `[C]` or `[]`."""
        axis = self.axis if weights.per_channel else None
        others = tuple(each for each in range(self.values.ndim) if axis is None or each != axis)
        scale = np.abs(self.values).max(axis=others) / (REDUCED if weights.reduce_range else WHOLE)
        return self.rounded_by(np.where(scale > 0, scale, 1.0))

    def rounded_by(self, scale: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Return the weights as whole numbers of a scale, and the scale."""
        scale = np.asarray(scale, np.float32)
        return np.round(self.values / self.spread(scale)).astype(np.int8), scale

    def spread(self, scale: Array) -> Array:
        """Return a scale in the shape in which it multiplies the weights."""
        if not scale.ndim:
            return scale
        shape = [1] * self.values.ndim
        assert self.axis is not None
        shape[self.axis] = -1
        return scale.reshape(shape)

    def numbers(
        self, rounded: tuple[Array, Array], reads_scale: float, bias: Array | None = None
    ) -> dict[str, Array]:
        """Return the initializers by name; biases are whole numbers of the products' scale.

        Args:
            rounded: the weights in 8 bits and their scale, which grows where a bias would not fit
                into 32 bits.
            reads_scale: of what it reads.
            bias: instead of the float graph's.
        """
        whole, scale = rounded
        bias = self.bias if bias is None else bias
        found: dict[str, Array] = {}
        if bias is not None and self.bias_names is not None:
            needed = np.abs(bias.astype(np.float64)) / (reads_scale * MAX_BIAS)
            needed = needed if scale.ndim else needed.max()
            if (needed > scale).any():
                whole, scale = self.rounded_by(np.maximum(scale, needed))
            step = np.asarray(scale * np.float32(reads_scale), np.float32)
            names = self.bias_names
            found[names.numbers] = np.round(bias / step.astype(np.float64)).astype(np.int32)
            found[names.scale], found[names.zero_point] = step, np.zeros(step.shape, np.int32)
        names = self.weight_names
        found[names.numbers] = whole
        found[names.scale], found[names.zero_point] = scale, np.zeros(scale.shape, np.int8)
        return found


class Layout:
    """A float graph, and where 8 bits go in it.

    Attributes:
        source: the float graph; its nodes have names.
        weights: how weights become 8 bits.
        layers: those in 8 bits by the name of their node, in order.
        ranged: by the name of each activation's scale the tensor whose range it is of.
    """

    def __init__(self, source: "ModelProto", placed: "ModelProto", weights: Weights) -> None:
        self.source, self.weights, self._placed = source, weights, placed
        self._nodes = {node.name: node for node in source.graph.node}
        self._floats = {each.name: each for each in source.graph.initializer}
        _drop_rounding_of_results(placed)
        quantizing = [node for node in placed.graph.node if node.op_type == QUANTIZE]
        self.ranged = {node.input[1]: node.input[1].removesuffix("_scale") for node in quantizing}
        self._zero_points = {node.input[1]: node.input[2] for node in quantizing}
        self.layers = {layer.node: layer for layer in map(self._layer, placed.graph.node) if layer}
        self._mark_axes()

    def _layer(self, node: "NodeProto") -> Layer | None:
        """Return the layer that a node of the layout is; None of any other node."""
        from onnx import numpy_helper

        reads, *stored = (self._dequantizing.get(name) for name in node.input[:3])
        if not (reads and stored and stored[0] and reads.input[1] in self.ranged):
            return None
        names = [Stored(*each.input) if each else None for each in stored]
        if names[0] is None or names[0].numbers not in self._constants:
            return None
        original = self._nodes[node.name]
        attributes = {each.name: each.i for each in original.attribute}
        turned = node.op_type == "Gemm" and attributes.get("transB", 0)
        values = [numpy_helper.to_array(self._floats[name]) for name in original.input[1:3]]
        return Layer(
            node=node.name,
            operator=node.op_type,
            reads=original.input[0],
            reads_scale=reads.input[1],
            axis=0 if turned else CHANNEL_AXES.get(node.op_type),
            groups=attributes.get("group", 1),
            values=values[0],
            bias=values[1] if len(values) > 1 else None,
            weight_names=names[0],
            bias_names=names[1] if len(names) > 1 else None,
        )

    @cached_property
    def _dequantizing(self) -> dict[str, "NodeProto"]:
        nodes = self._placed.graph.node
        return {node.output[0]: node for node in nodes if node.op_type == DEQUANTIZE}

    @cached_property
    def _constants(self) -> set[str]:
        return {each.name for each in self._placed.graph.initializer}

    def _mark_axes(self) -> None:
        """Say of each constant that has a scale per channel which axis that is."""
        from onnx import helper

        if not self.weights.per_channel:
            return
        axes: dict[str, int] = {}
        for layer in self.layers.values():
            if layer.axis is not None:
                axes[layer.weight_names.numbers] = layer.axis
                if layer.bias_names is not None:
                    axes[layer.bias_names.numbers] = 0
        for node in self._placed.graph.node:
            if node.op_type == DEQUANTIZE and node.input[0] in axes:
                del node.attribute[:]
                node.attribute.append(helper.make_attribute("axis", axes[node.input[0]]))

    @cached_property
    def tensors(self) -> list[str]:
        """Return the names of the tensors whose ranges it asks for."""
        return list(dict.fromkeys(self.ranged.values()))

    @cached_property
    def rounded(self) -> dict[str, tuple[Array, Array]]:
        """Return the layers' weights in 8 bits, and their scale."""
        return {name: layer.rounded(self.weights) for name, layer in self.layers.items()}

    @cached_property
    def multiplying(self) -> list[str]:
        """Return the names of the layers that may stay in float."""
        return [name for name, layer in self.layers.items() if layer.operator in CHANNEL_AXES]

    @cached_property
    def layer_of(self) -> dict[str, str | None]:
        """Return by each node of the float graph the layer that it belongs to.

        What computes behind a layer up to the next one belongs to it; what stands before the first
        one belongs to whoever reads it.
        """
        makers = {name: node.name for node in self.source.graph.node for name in node.output}
        found: dict[str, str | None] = {}
        for node in self.source.graph.node:
            before = (found.get(makers[name]) for name in node.input if name in makers)
            first = next((each for each in before if each is not None), None)
            found[node.name] = node.name if node.name in self.multiplying else first
        for node in reversed(self.source.graph.node):
            for name in node.input:
                if name in makers and found[makers[name]] is None:
                    found[makers[name]] = found[node.name]
        return found

    def graph(
        self,
        ranges: Mapping[str, Span],
        biases: Mapping[str, Array] | None = None,
        kept: Collection[str] = (),
    ) -> "ModelProto":
        """Return the 8-bit graph.

        Args:
            ranges: of each of `tensors`.
            biases: of layers by their names, instead of the float graph's.
            kept: names of layers that stay in float.
        """
        import onnx
        from onnx import numpy_helper

        numbers: dict[str, Array] = {}
        for scale, tensor in self.ranged.items():
            step, zero_point = step_of(ranges[tensor])
            numbers[scale] = np.array(step, np.float32)
            numbers[self._zero_points[scale]] = np.array(zero_point, np.uint8)
        for name, layer in self.layers.items():
            read = float(numbers[layer.reads_scale])
            numbers |= layer.numbers(self.rounded[name], read, (biases or {}).get(name))
        model = onnx.ModelProto()
        model.CopyFrom(self._placed)
        rest = [each for each in model.graph.initializer if each.name not in numbers]
        del model.graph.initializer[:]
        model.graph.initializer.extend(rest)
        model.graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in numbers.items()
        )
        members = {name for name, layer in self.layer_of.items() if layer in kept}
        if members:
            self._leave_float(model, members)
        return model

    def _leave_float(self, model: "ModelProto", members: Collection[str]) -> None:
        """Take the named nodes of an 8-bit graph, and what lies between them, back to float."""
        present = {node.name for node in model.graph.node}
        used: set[str] = set()
        for node in model.graph.node:
            if node.name not in members:
                continue
            for index, name in enumerate(node.input):
                stored = self._dequantizing.get(name)
                if stored is not None and stored.input[0] in self._constants:
                    original = self._nodes[node.name].input[index]
                    # A dequantized bias has the name of the float one.
                    node.input[index] = f"{original}{FLOAT}"
                    used.add(original)
        for name in sorted(used):
            model.graph.initializer.add().CopyFrom(self._floats[name])
            model.graph.initializer[-1].name = f"{name}{FLOAT}"
        _drop_pairs(model, members)
        for node in reversed(self.source.graph.node):
            if node.name in members and node.name not in present:
                _put_back(model, node)
                bounds = [self._floats[name] for name in node.input if name in self._floats]
                held = {each.name for each in model.graph.initializer}
                model.graph.initializer.extend(each for each in bounds if each.name not in held)
        _drop_unused(model)


def step_of(span: Span) -> tuple[float, int]:
    """Return the scale and zero point of 256 levels over a range that holds 0."""
    low, high = span
    step = np.float32((high - low) / (LEVELS - 1))
    if step < np.finfo(np.float32).tiny:
        return 1.0, 0
    return float(step), int(np.clip(np.round(-low / step), 0, LEVELS - 1))


def layout_of(prepared: Path, scratch: Path, weights: Weights) -> Layout:
    """Return where ONNX Runtime's quantizer puts 8 bits in a preprocessed float graph."""
    import onnx
    from onnx import TensorProto
    from onnxruntime import quantization
    from onnxruntime.quantization import calibrate

    source = onnx.load(prepared)
    for index, node in enumerate(source.graph.node):
        # Names tell nodes apart in both graphs.
        node.name = f"{index}:{node.name or node.op_type}"
    named, cache, path = (scratch / name for name in ("named.onnx", "ranges.json", "placed.onnx"))
    onnx.save(source, named)
    values = (*source.graph.value_info, *source.graph.input, *source.graph.output)
    # Any range will do: all numbers are set later.
    anything = (np.float32(-1), np.float32(1))
    tensors = [each.name for each in values if each.type.tensor_type.elem_type == TensorProto.FLOAT]
    method = quantization.CalibrationMethod.MinMax
    data = calibrate.TensorsData(method, dict.fromkeys(tensors, anything))
    calibrate.save_tensors_data(data, cache)
    quantization.quantize_static(
        named,
        path,
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=method,
        calibration_cache_path=cache,
    )
    return Layout(source, graphs.without_metadata(path), weights)


def _drop_rounding_of_results(model: "ModelProto") -> None:
    """Leave results float where their layer's 8-bit kernel gives float numbers."""
    results = {each.name for each in model.graph.output}
    makers = {name: node for node in model.graph.node for name in node.output}
    for result in results:
        dequantize = makers[result]
        quantize = makers.get(dequantize.input[0])
        if quantize is None or dequantize.op_type != DEQUANTIZE:
            continue
        maker = makers.get(quantize.input[0])
        readers = [node for node in model.graph.node if quantize.input[0] in node.input]
        if maker is not None and maker.op_type in GIVE_FLOAT and len(readers) == 1:
            maker.output[0] = result
            _remove(model, [quantize, dequantize])
    _drop_unused(model)


def _drop_pairs(model: "ModelProto", members: Collection[str]) -> None:
    """Drop each rounding of a tensor that only the named nodes make and read."""
    nodes = list(model.graph.node)
    results = {each.name for each in model.graph.output}
    makers = {name: node for node in nodes for name in node.output}
    readers = _readers(nodes)
    for quantize in [node for node in nodes if node.op_type == QUANTIZE]:
        pairs = readers.get(quantize.output[0], [])
        given = {pair.output[0] for pair in pairs}
        maker = makers.get(quantize.input[0])
        touching = [node for name in given for node in readers.get(name, [])]
        touching += [maker] if maker is not None else []
        if not all(node.name in members for node in touching):
            continue
        for name in given & results:
            # The result keeps its name.
            assert maker is not None
            _rename(nodes, {quantize.input[0]: name})
        _rename(touching, dict.fromkeys(given - results, quantize.input[0]))
        _remove(model, [quantize, *pairs])


def _readers(nodes: Collection["NodeProto"]) -> dict[str, list["NodeProto"]]:
    readers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _put_back(model: "ModelProto", node: "NodeProto") -> None:
    """Put back an activation that the quantizer left to the rounding behind it."""
    given = node.output[0]
    names = (given, f"{given}_{QUANTIZE}_Input")
    for index, maker in enumerate(model.graph.node):
        found = next((name for name in names if name in maker.output), None)
        if found is not None:
            maker.output[list(maker.output).index(found)] = node.input[0]
            model.graph.node.insert(index + 1, node)
            model.graph.node[index + 1].output[0] = found
            return


def _rename(nodes: Collection["NodeProto"], names: Mapping[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        if node.op_type != DEQUANTIZE:
            node.output[:] = [names.get(name, name) for name in node.output]


def _remove(model: "ModelProto", nodes: Collection["NodeProto"]) -> None:
    for node in nodes:
        model.graph.node.remove(node)


def _drop_unused(model: "ModelProto") -> None:
    """Drop constants that nothing reads."""
    read = {name for node in model.graph.node for name in node.input}
    read |= {each.name for each in model.graph.output}
    idle = [
        node
        for node in model.graph.node
        if node.op_type == DEQUANTIZE and not read.intersection(node.output)
    ]
    _remove(model, idle)
    read = {name for node in model.graph.node for name in node.input}
    kept: list[TensorProto] = [each for each in model.graph.initializer if each.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
