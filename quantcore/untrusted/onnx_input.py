"""An untrusted ONNX graph given the form that all graphs have here, as far as that changes nothing.

One input `images` `[pictures, 3, height, width]`, one output `logits`, any number of pictures.
Importing this module imports no onnx; its functions do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantcore.errors import RequestError
from quantcore.formats import onnx as onnx_format
from quantcore.untrusted.onnx_structure import bodies, constants, one_of
from quantcore.untrusted.text import shown

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

CHANNELS = (3, 1)
PICTURES = "pictures"
TYPES = {"FLOAT16": "float16", "DOUBLE": "float64", "UINT8": "uint8", "BFLOAT16": "bfloat16"}
ONE_INPUT = (
    "Export it with the pictures as its only input; what else it reads must be stored in it."
)
ONE_OUTPUT = (
    "Export it with the classes' numbers as its only output (onnx.utils.extract_model cuts out a "
    "part of a graph)."
)


@dataclass(frozen=True)
class Pictures:
    """What a graph's input says of its pictures; None where it leaves a side open.

    Attributes:
        batch: pictures a call.
        channels: of each.
        size: side of the square, px.
        channels_last: they come as `[pictures, height, width, channels]`.
    """

    batch: int | None
    channels: int | None
    size: int | None
    channels_last: bool


def normalised(model: "ModelProto") -> Pictures:
    """Rename a graph's input and output, move channels first; return what the input says.

    Raises:
        RequestError: it takes or gives something else than pictures and numbers.
    """
    graph = model.graph
    stored = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in stored]
    pictures = one_of(inputs, "takes {} inputs", ONE_INPUT)
    answer = one_of(graph.output, "gives {} outputs", ONE_OUTPUT)
    _check_type(pictures)
    seen = _pictures(pictures)
    _rename(graph, {pictures.name: onnx_format.INPUT, answer.name: onnx_format.OUTPUT})
    for body in bodies(graph):
        # They may hold the number of pictures that the graph was made with.
        del body.value_info[:]
    if seen.channels_last:
        _move_channels(graph)
        declare(model, seen.batch, seen.size, seen.channels or CHANNELS[0])
    return seen


def declare(model: "ModelProto", batch: int | None, size: int | None, channels: int) -> None:
    """Write down the shapes of a graph's input and output; a batch or size of None is any."""
    from onnx import TensorProto, helper

    pictures = PICTURES if batch is None else batch
    (answer,) = model.graph.output
    kind = answer.type.tensor_type.elem_type or TensorProto.FLOAT
    del model.graph.input[:], model.graph.output[:]
    shape = (pictures, channels, size or "height", size or "width")
    model.graph.input.append(
        helper.make_tensor_value_info(onnx_format.INPUT, TensorProto.FLOAT, shape)
    )
    model.graph.output.append(
        helper.make_tensor_value_info(onnx_format.OUTPUT, kind, (pictures, None))
    )


def free_reshapes(model: "ModelProto", batch: int) -> None:
    """Let Reshapes keep the number of pictures, where they name the one the graph was made with.

    Whether the graph then answers several pictures as it answers each has to be tried.
    """
    from onnx import numpy_helper

    graph = model.graph
    known, followed = constants(graph), {onnx_format.INPUT}
    for node in graph.node:
        if followed.isdisjoint(node.input):
            continue
        followed.update(node.output)
        shape = known.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or node.input[0] not in followed:
            continue
        sides = numpy_helper.to_array(shape).copy()
        if sides.ndim == 1 and sides.size > 1 and sides[0] == batch:
            # Zero is the side that the input has.
            sides[0] = 0
            node.input[1] = f"{node.output[0]}_shape"
            graph.initializer.append(numpy_helper.from_array(sides, node.input[1]))


def _check_type(pictures: "ValueInfoProto") -> None:
    from onnx import TensorProto

    kind = pictures.type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else ""
        raise RequestError(
            f"The ONNX model takes pictures in {TYPES.get(name, name.lower() or 'no tensor')}, and "
            "here they come in float32.",
            "Export it from the float32 model (in PyTorch: model.float()), or put a Cast in front.",
        )


def _pictures(value: "ValueInfoProto") -> Pictures:
    """Return what the input's shape says.

    Raises:
        RequestError: no picture has such a shape.
    """
    if not value.type.tensor_type.HasField("shape"):
        return Pictures(None, None, None, channels_last=False)
    dims = value.type.tensor_type.shape.dim
    sides = [each.dim_value if each.dim_value > 0 else None for each in dims]
    if len(sides) != 4:
        raise _no_pictures(value, sides)
    channels_last = sides[1] not in CHANNELS and sides[3] in CHANNELS
    batch, *rest = sides
    channels, height, width = [rest[2], *rest[:2]] if channels_last else rest
    if channels not in (None, *CHANNELS):
        raise _no_pictures(value, sides)
    if height != width and None not in (height, width):
        raise RequestError(
            f"The ONNX model takes pictures of {width:,} x {height:,} px, and here pictures are "
            "square.",
            "Export it for square pictures, or with a height and width left open.",
        )
    return Pictures(batch, channels, height or width, channels_last)


def _no_pictures(value: "ValueInfoProto", sides: list[int | None]) -> RequestError:
    shape = ", ".join("?" if side is None else f"{side}" for side in sides[:8])
    return RequestError(
        f"The ONNX model takes {shown(value.name)} of shape [{shape}], and pictures come as "
        "[pictures, 3, height, width].",
        "Export a model that takes one tensor of pictures with 3 channels.",
    )


def _rename(graph: "GraphProto", names: Mapping[str, str]) -> None:
    """Rename values wherever they are read; others that have a new name already make room."""
    every = {name for body in bodies(graph) for node in body.node for name in node.output}
    every |= {each.name for body in bodies(graph) for each in (*body.initializer, *body.input)}
    taken = {new for old, new in names.items() if new in every and old != new}
    apart = {name: _free(name, every) for name in taken if name not in names}
    renamed = {**names, **apart}
    for body in bodies(graph):
        for value in (*body.initializer, *body.input, *body.output):
            value.name = renamed.get(value.name, value.name)
        for node in body.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
    stored = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in stored]
    del graph.input[:]
    graph.input.extend(inputs)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _move_channels(graph: "GraphProto") -> None:
    """Put a Transpose in front, so that pictures come with their channels first."""
    from onnx import helper

    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    last = _free(f"{onnx_format.INPUT}_channels_last", taken)
    for body in bodies(graph):
        for node in body.node:
            node.input[:] = [last if name == onnx_format.INPUT else name for name in node.input]
    moved = helper.make_node("Transpose", [onnx_format.INPUT], [last], perm=(0, 2, 3, 1))
    graph.node.insert(0, moved)
