"""ONNX files as people upload them, and as they should not."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

CLASSES = 3
OPSET, IR_VERSION = 17, 8
Side = int | str


def tensor(name: str, *shape: int, seed: int = 0) -> TensorProto:
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(noise, name)


def nodes(pooled: str = "x") -> list[NodeProto]:
    """Return a convolution, pooling and a linear layer, from `pooled` to `y`."""
    return [
        helper.make_node("Conv", [pooled, "filters"], ["features"], name="conv"),
        helper.make_node("GlobalAveragePool", ["features"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["y"], name="head"),
    ]


def weights() -> list[TensorProto]:
    return [tensor("filters", 8, 3, 3, 3), tensor("weight", 8, CLASSES), tensor("bias", CLASSES)]


def model(
    shape: Sequence[Side] = ("n", 3, "h", "w"),
    *,
    kind: int = TensorProto.FLOAT,
    opset: int = OPSET,
    body: Sequence[NodeProto] | None = None,
    stored: Sequence[TensorProto] | None = None,
    functions: Sequence[FunctionProto] = (),
    domains: Sequence[str] = (),
) -> ModelProto:
    """Return a small classifier, or another body with the same input `x` and output `y`."""
    graph = helper.make_graph(
        list(nodes() if body is None else body),
        "classifier",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (shape[0], CLASSES))],
        list(weights() if stored is None else stored),
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(each, 1) for each in domains)]
    return helper.make_model(
        graph, opset_imports=imports, ir_version=IR_VERSION, functions=list(functions)
    )


def channels_last() -> ModelProto:
    first = helper.make_node("Transpose", ["x"], ["first"], perm=(0, 3, 1, 2))
    return model(("n", 32, 32, 3), body=[first, *nodes("first")])


def fixed_batch(shape: Sequence[int] = (1, 8)) -> ModelProto:
    """Return a graph of one picture, which its Reshape names, as torch's exporter writes it."""
    body = nodes()
    body[2] = helper.make_node("Reshape", ["pool", "shape"], ["flat"])
    sizes = numpy_helper.from_array(np.array(shape, np.int64), "shape")
    return model((1, 3, 32, 32), body=body, stored=[*weights(), sizes])


def one_picture_only() -> ModelProto:
    """Return a graph that adds up whatever pictures it is given."""
    body = nodes()
    body[-1] = helper.make_node("Gemm", ["flat", "weight", "bias"], ["each"])
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    body.append(helper.make_node("ReduceSum", ["each", "axes"], ["y"], keepdims=1))
    return model((1, 3, 32, 32), body=body, stored=[*weights(), axes])


def quantized() -> ModelProto:
    """Return the classifier with its convolution in 8 bits, between QuantizeLinear pairs."""
    scale = numpy_helper.from_array(np.float32(0.05), "scale")
    zero = numpy_helper.from_array(np.uint8(128), "zero")
    small = numpy_helper.from_array(np.float32(0.02), "filter_scale")
    none = numpy_helper.from_array(np.int8(0), "filter_zero")
    integers = np.random.default_rng(0).integers(-100, 100, (8, 3, 3, 3), np.int8)
    body = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x_near"]),
        helper.make_node("DequantizeLinear", ["w", "filter_scale", "filter_zero"], ["filters"]),
        *nodes("x_near"),
    ]
    body.insert(4, helper.make_node("QuantizeLinear", ["features", "scale", "zero"], ["fq"]))
    body.insert(5, helper.make_node("DequantizeLinear", ["fq", "scale", "zero"], ["near"]))
    body[6].input[0] = "near"
    filters = numpy_helper.from_array(integers, "w")
    stored = [scale, zero, small, none, filters, *weights()[1:]]
    return model(("n", 3, 32, 32), body=body, stored=stored)


def outside(location: str) -> ModelProto:
    """Return the classifier with a weight in another file."""
    made = model()
    weight = made.graph.initializer[1]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "96")):
        weight.external_data.add(key=key, value=value)
    return made


def outside_in_a_constant(location: str) -> ModelProto:
    """Return the classifier with a constant's number in another file, in the body of an If."""
    value = TensorProto(name="bias_again", data_type=TensorProto.FLOAT, dims=[CLASSES])
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value=location)
    constant = helper.make_node("Constant", [], ["then"], value=value)
    other = helper.make_node("Identity", ["bias"], ["other"])
    branches = {
        "then_branch": graph_of([constant], "then"),
        "else_branch": graph_of([other], "other"),
    }
    condition = numpy_helper.from_array(np.array(True), "condition")
    body = nodes()
    body[-1].input[2] = "chosen"
    body.insert(0, helper.make_node("If", ["condition"], ["chosen"], **branches))
    return model(body=body, stored=[*weights(), condition])


def graph_of(body: Sequence[NodeProto], output: str) -> GraphProto:
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(list(body), "inner", [], [answer])


def nested(depth: int) -> ModelProto:
    """Return the classifier behind an If in an If in an If."""
    condition = numpy_helper.from_array(np.array(True), "condition")
    inner = graph_of([helper.make_node("Identity", ["x"], ["deep0"])], "deep0")
    for level in range(1, depth + 1):
        other = graph_of([helper.make_node("Identity", ["x"], [f"else{level}"])], f"else{level}")
        node = helper.make_node(
            "If", ["condition"], [f"deep{level}"], then_branch=inner, else_branch=other
        )
        inner = graph_of([node], f"deep{level}")
    (outer,) = inner.node
    return model(body=[outer, *nodes(outer.output[0])], stored=[*weights(), condition])


def function(name: str, body: Sequence[NodeProto]) -> FunctionProto:
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], list(body), imports)


def call(name: str, read: str, given: str) -> NodeProto:
    return helper.make_node(name, [read], [given], domain="own")


def with_functions(*functions: FunctionProto, called: str = "f0") -> ModelProto:
    body = [call(called, "x", "through"), *nodes("through")]
    return model(body=body, functions=functions, domains=["own"])


def sound_function() -> ModelProto:
    return with_functions(function("f0", [helper.make_node("Relu", ["a"], ["b"])]))


def recursive_function() -> ModelProto:
    return with_functions(
        function("f0", [call("f1", "a", "b")]), function("f1", [call("f0", "a", "b")])
    )


def many_laughs(levels: int = 12, calls: int = 10) -> ModelProto:
    """Return functions that each call the next one ten times: 10^12 operators in 2 KB."""
    made = [
        function(
            f"f{level}",
            [
                call(f"f{level + 1}", "a" if number == 0 else f"v{number}", f"v{number + 1}")
                for number in range(calls - 1)
            ]
            + [call(f"f{level + 1}", f"v{calls - 1}", "b")],
        )
        for level in range(levels)
    ]
    return with_functions(*made, function(f"f{levels}", [helper.make_node("Relu", ["a"], ["b"])]))


def foreign_operator() -> ModelProto:
    body = [
        helper.make_node("Evil", ["x"], ["through"], domain="com.example"),
        *nodes("through"),
    ]
    return model(body=body, domains=["com.example"])


def claims_more(dims: Sequence[int]) -> ModelProto:
    """Return the classifier with a weight that claims another shape than it holds."""
    made = model()
    made.graph.initializer[1].dims[:] = dims
    return made


def changed(change: Callable[[ModelProto], Any]) -> ModelProto:
    made = model()
    change(made)
    return made


def two_inputs() -> ModelProto:
    info = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ("n",))
    return changed(lambda made: made.graph.input.append(info))


def two_outputs() -> ModelProto:
    info = helper.make_tensor_value_info("flat", TensorProto.FLOAT, None)
    return changed(lambda made: made.graph.output.append(info))


def half_weights() -> ModelProto:
    """Return the classifier with weights of 16 bits, cast as they are read."""
    halved = numpy_helper.to_array(weights()[1]).astype(np.float16)
    cast = helper.make_node("Cast", ["weight16"], ["weight"], to=TensorProto.FLOAT)
    stored = [numpy_helper.from_array(halved, "weight16"), *weights()[::2]]
    return model(body=[cast, *nodes()], stored=stored)


def of_opset(version: int) -> ModelProto:
    return changed(lambda made: setattr(made.opset_import[0], "version", version))


def sparse_weights() -> ModelProto:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    sparse = helper.make_sparse_tensor(values, indices, [4])
    return changed(lambda made: made.graph.sparse_initializer.append(sparse))


def undefined_weights() -> ModelProto:
    broken = np.full((8, CLASSES), np.nan, np.float32)
    return changed(
        lambda made: made.graph.initializer[1].CopyFrom(numpy_helper.from_array(broken, "weight"))
    )


def map_of_pictures() -> ModelProto:
    return model(body=[helper.make_node("Relu", ["x"], ["y"])], stored=[])


def hungry(numbers: int) -> ModelProto:
    """Return a graph that asks for so many numbers when it runs."""
    size = numpy_helper.from_array(np.array([numbers], np.int64), "size")
    body = [
        helper.make_node("ConstantOfShape", ["size"], ["many"]),
        helper.make_node("ReduceMax", ["many"], ["largest"], keepdims=0),
        helper.make_node("Add", ["x", "largest"], ["through"]),
        *nodes("through"),
    ]
    return model(body=body, stored=[*weights(), size])


def endless(rounds: int = 2**62) -> ModelProto:
    """Return a graph with a Loop that goes on and on."""
    count = numpy_helper.from_array(np.int64(rounds), "rounds")
    true = numpy_helper.from_array(np.array(True), "true")
    inner = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Neg", ["value"], ["next"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, ()),
            helper.make_tensor_value_info("on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["rounds", "true", "x"], ["through"], body=inner)
    return model(body=[loop, *nodes("through")], stored=[*weights(), count, true])


def attribute_of(node: NodeProto, name: str) -> AttributeProto:
    return next(each for each in node.attribute if each.name == name)


# Each with what its refusal must speak of.
REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "a file beside it": (lambda: outside("weights.bin"), "another file .weight"),
    "a file above it": (lambda: outside("../secret"), "another file .weight"),
    "a file anywhere": (lambda: outside("/etc/passwd"), "another file .weight"),
    "a file in a body": (lambda: outside_in_a_constant("../secret"), "another file .bias_again"),
    "a foreign operator": (foreign_operator, "operator Evil of com.example"),
    "an operator that is none": (
        lambda: changed(lambda made: setattr(made.graph.node[1], "op_type", "Nothing")),
        "operator Nothing",
    ),
    "functions in a circle": (recursive_function, "calls itself"),
    "a billion laughs": (many_laughs, "more than 100,000 operators"),
    "functions too deep": (lambda: many_laughs(20, 2), "call each other more than 16 deep"),
    "graphs too deep": (lambda: nested(20), "16 deep in each other"),
    "a weight of petabytes": (lambda: claims_more((2**40, 2**10)), "weight claims another number"),
    "a weight of less than nothing": (lambda: claims_more((-8, -3)), "weight claims another"),
    "a weight of fewer numbers": (lambda: claims_more((4, 3)), "weight claims another number"),
    "an opset too new": (lambda: of_opset(99), "opset 99 .* newest that are read"),
    "an opset too old": (lambda: of_opset(3), "opset 3, older than 7"),
    "two inputs": (two_inputs, "takes 2 inputs .x, mask"),
    "two outputs": (two_outputs, "gives 2 outputs .y, flat"),
    "pictures of float16": (lambda: model(kind=TensorProto.FLOAT16), "pictures in float16"),
    "pictures of float64": (lambda: model(kind=TensorProto.DOUBLE), "pictures in float64"),
    "pictures of bytes": (lambda: model(kind=TensorProto.UINT8), "pictures in uint8"),
    "pictures that are rows": (lambda: model(("n", 3, 32)), r"shape \[\?, 3, 32\]"),
    "pictures of five channels": (lambda: model(("n", 5, 32, 32)), r"shape \[\?, 5, 32, 32\]"),
    "pictures that are not square": (lambda: model(("n", 3, 32, 64)), "64 x 32 px"),
    "half precision": (half_weights, "half precision"),
    "sparse weights": (sparse_weights, "sparse"),
    "weights that are no numbers": (undefined_weights, "undefined"),
    "a map instead of classes": (map_of_pictures, "numbers of shape"),
    "no graph": (lambda: changed(lambda made: made.graph.ClearField("node")), "holds no graph"),
}
