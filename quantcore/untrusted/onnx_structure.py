"""The structure of an untrusted ONNX file, checked before anything in it is run.

Only in a locked child process: the file is parsed by onnx's own reader. Every size that it claims
is held against the bytes that are there, no file that it names is opened, and no operator of a
library of somebody's is loaded.

Importing this module imports no onnx; its functions do.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcore.errors import RequestError
from quantcore.formats import onnx as onnx_format
from quantcore.untrusted.text import last_line, listed, shown

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, TensorProto, ValueInfoProto

# ONNX's own operators, and those that ONNX Runtime brings itself.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
MIN_OPSET = 7
# Nodes of a graph with all its functions written out: large classifiers have some thousands.
MAX_NODES = 100_000
# How deep graphs may lie in each other (bodies of If and Loop), and functions may call each other.
MAX_DEPTH = 16
# A protobuf message may not be larger.
MAX_BYTES = 2**31 - 1
MAX_SIDES = 32
# Bits of a number of each type, by its number in TensorProto.DataType; text and complex left out.
BITS = {
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((7, 11, 13), 64),
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
}
# Domain, name and overload of a function.
_Function = tuple[str, str, str]
AGAIN = "Export it again with torch.onnx.export, and check it with onnx.checker.check_model."


def read(path: Path) -> "ModelProto":
    """Return the graph in a file, checked, its functions written out, without anything else in it.

    Raises:
        RequestError: it is damaged, names files or operators of others, is too large or too deep,
            or of a version that is not read.
    """
    model = _parsed(path)
    if not model.graph.node:
        raise RequestError("The ONNX file holds no graph.", AGAIN)
    for tensor in _tensors(model):
        _check_tensor(tensor)
    _check_size(model)
    _check_versions(model)
    _check_operators(model)
    return _alone(_inlined(model))


def metadata(path: Path) -> dict[str, str]:
    """Return the texts by name that stand beside the graph."""
    return {each.key: each.value for each in _parsed(path).metadata_props}


def bodies(graph: "GraphProto") -> Iterator["GraphProto"]:
    """Yield a graph and those within it, the bodies of If and Loop."""
    return (body for body, _ in _bodies(graph))


def _parsed(path: Path) -> "ModelProto":
    import onnx

    if path.stat().st_size > MAX_BYTES:
        raise RequestError(
            "The ONNX file is larger than 2 GB, the most that one file can be.",
            "Upload a smaller model, its weights inside the file.",
        )
    try:
        return onnx.load_model_from_string(path.read_bytes())
    # protobuf's DecodeError, and whatever else its readers raise over bytes that are no message.
    except Exception as error:
        raise RequestError(
            "The ONNX file is damaged, or cut off: it cannot be read to its end.",
            "Download or export it again, and upload it as it is.",
        ) from error


def _bodies(body: Any, depth: int = 0) -> Iterator[tuple[Any, int]]:
    """Yield a body (of a graph or function) and those within it, each with its depth."""
    waiting = [(body, depth)]
    while waiting:
        each, deep = waiting.pop()
        if deep > MAX_DEPTH:
            raise RequestError(
                f"Graphs lie more than {MAX_DEPTH} deep in each other in this ONNX file.",
                "Export the model without nested If and Loop.",
            )
        yield each, deep
        for node in each.node:
            for attribute in node.attribute:
                inner = [attribute.g] if attribute.HasField("g") else []
                waiting.extend((graph, deep + 1) for graph in (*inner, *attribute.graphs))


def _all_bodies(model: "ModelProto") -> Iterator[Any]:
    for outer in (model.graph, *model.functions):
        yield from (body for body, _ in _bodies(outer))


def _tensors(model: "ModelProto") -> Iterator["TensorProto"]:
    """Yield every tensor: weights, constants, defaults of functions."""
    for body in _all_bodies(model):
        # A function has no weights, a graph no defaults.
        yield from getattr(body, "initializer", ())
        if getattr(body, "sparse_initializer", ()):
            raise _sparse()
        attributes = [*getattr(body, "attribute_proto", ())]
        attributes += [attribute for node in body.node for attribute in node.attribute]
        for attribute in attributes:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise _sparse()
            yield from [attribute.t] if attribute.HasField("t") else []
            yield from attribute.tensors


def _sparse() -> RequestError:
    return RequestError(
        "The ONNX file holds sparse tensors, which are not read.", "Export dense weights."
    )


def _check_tensor(tensor: "TensorProto") -> None:
    """Refuse a tensor that lies in another file, or claims more numbers than it holds."""
    name = shown(tensor.name) or "a constant"
    if tensor.external_data or tensor.data_location:
        raise RequestError(
            f"The ONNX file keeps weights in another file ({name}), and no file that an upload "
            "names is opened.",
            "Save it as one file, in Python:\nimport onnx\n"
            'onnx.save(onnx.load("model.onnx"), "whole.onnx", save_as_external_data=False)',
        )
    if tensor.data_type == tensor.STRING:
        held, expected = len(tensor.string_data), math.prod(tensor.dims)
    elif tensor.data_type in BITS:
        held, expected = _held(tensor), math.prod(tensor.dims) * BITS[tensor.data_type]
    else:
        raise RequestError(
            f"The numbers of {name} in the ONNX file are of a kind that is not read.",
            "Export the model in float32.",
        )
    sides_fit = len(tensor.dims) <= MAX_SIDES and all(side >= 0 for side in tensor.dims)
    if not sides_fit or tensor.HasField("segment") or held != expected:
        raise RequestError(
            f"The ONNX file is damaged: {name} claims another number of values than it holds.",
            AGAIN,
        )


def _held(tensor: "TensorProto") -> int:
    """Return how many bits of numbers a tensor holds."""
    bits = BITS[tensor.data_type]
    if tensor.HasField("raw_data"):
        stored = 8 * len(tensor.raw_data)
    else:
        fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
        stored = max(bits, 8) * sum(len(getattr(tensor, field)) for field in fields)
    # Numbers of less than a byte fill up their last one.
    wanted = math.prod(tensor.dims) * bits
    return wanted if bits < 8 and 0 <= stored - wanted < 8 else stored


def _check_size(model: "ModelProto") -> None:
    """Refuse functions that call themselves, or are too many nodes when written out."""
    functions = {_function(each): each for each in model.functions}
    counts: dict[_Function, int] = {}

    def count(body: Any, callers: tuple[_Function, ...]) -> int:
        total = 0
        for each, _ in _bodies(body):
            for node in each.node:
                key = node.domain, node.op_type, node.overload
                total += count_function(key, callers) if key in functions else 1
        return total

    def count_function(key: _Function, callers: tuple[_Function, ...]) -> int:
        _check_call(key, callers)
        if key not in counts:
            counts[key] = count(functions[key], (*callers, key))
        return counts[key]

    for key in functions:
        count_function(key, ())
    if count(model.graph, ()) > MAX_NODES:
        raise RequestError(
            f"The ONNX graph has more than {MAX_NODES:,} operators once its functions are written "
            "out.",
            "Upload a smaller model.",
        )


def _function(function: "FunctionProto") -> _Function:
    return function.domain, function.name, function.overload


def _check_call(key: _Function, callers: tuple[_Function, ...]) -> None:
    if key in callers:
        raise RequestError(
            f"The function {shown(key[1])} in the ONNX file calls itself, so it never ends.", AGAIN
        )
    if len(callers) >= MAX_DEPTH:
        raise RequestError(
            f"Functions call each other more than {MAX_DEPTH} deep in this ONNX file.",
            "Export the model with its functions written out (onnx.inliner).",
        )


def _check_versions(model: "ModelProto") -> None:
    """Refuse operators or a file of a version that is not read here."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    # A function names versions of its own.
    versions = [
        each.version
        for body in (model, *model.functions)
        for each in body.opset_import
        if each.domain in ("", "ai.onnx")
    ]
    if max(versions, default=MIN_OPSET) > newest or model.ir_version > onnx.IR_VERSION:
        raise RequestError(
            f"The ONNX file is of opset {max(versions, default=0)} and version {model.ir_version} "
            f"of the file's form; the newest that are read here are {newest} and "
            f"{onnx.IR_VERSION}.",
            "Export it again with opset_version=17.",
        )
    if min(versions, default=0) < MIN_OPSET:
        raise RequestError(
            f"The ONNX file is of opset {min(versions, default=0)}, older than {MIN_OPSET}, the "
            "oldest that is read here.",
            "Export it again with opset_version=17.",
        )


def _check_operators(model: "ModelProto") -> None:
    import onnx

    functions = {_function(each) for each in model.functions}
    opset = onnx_format.opset_of(model)
    for body in _all_bodies(model):
        for node in body.node:
            if (node.domain, node.op_type, node.overload) in functions:
                continue
            if node.domain not in DOMAINS:
                raise RequestError(
                    f"The model uses the operator {shown(node.op_type)} of {shown(node.domain)}, "
                    "which is in a library of code, and no code of others is loaded here.",
                    "Export the model with ONNX's own operators alone.",
                )
            is_own = node.domain in ("", "ai.onnx")
            if is_own and not onnx.defs.has(node.op_type, max_inclusive_version=opset, domain=""):
                raise RequestError(
                    f"The model uses the operator {shown(node.op_type)}, which ONNX's opset "
                    f"{opset} does not have.",
                    AGAIN,
                )


def _inlined(model: "ModelProto") -> "ModelProto":
    """Return the model with its functions written out, which neither quantizer nor counts know."""
    if not model.functions:
        return model
    from onnx import inliner

    try:
        written_out = inliner.inline_local_functions(model)
    # onnx's own errors over functions whose inputs or versions do not fit.
    except Exception as error:
        raise RequestError(
            f"The functions in the ONNX file cannot be written out ({last_line(error)}).", AGAIN
        ) from error
    return written_out


def _alone(model: "ModelProto") -> "ModelProto":
    """Return the graph without metadata, training and names of its maker."""
    import onnx

    used = {node.domain for body in bodies(model.graph) for node in body.node} | {""}
    alone = onnx.ModelProto(ir_version=model.ir_version, graph=model.graph)
    alone.opset_import.extend(each for each in model.opset_import if each.domain in used)
    for body in bodies(alone.graph):
        body.ClearField("doc_string")
        body.ClearField("metadata_props")
        for node in body.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
    return alone


def one_of(values: "Sequence[ValueInfoProto]", what: str, remedy: str) -> "ValueInfoProto":
    """Return the graph's only input or output.

    Raises:
        RequestError: there are several, or none.
    """
    if len(values) == 1:
        return values[0]
    names = f" ({listed(each.name for each in values)})" if values else ""
    raise RequestError(f"The ONNX model {what.format(len(values))}{names}.", remedy)


def constants(graph: "GraphProto") -> "dict[str, TensorProto]":
    """Return the tensors that a graph's operators read and that never change, by name."""
    stored = {each.name: each for each in graph.initializer}
    held = (node for node in graph.node if node.op_type == "Constant")
    return stored | {
        node.output[0]: attribute.t
        for node in held
        for attribute in node.attribute
        if attribute.name == "value"
    }
