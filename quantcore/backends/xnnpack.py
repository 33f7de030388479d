"""From a graph to a program for ExecuTorch in which XNNPACK computes.

ExecuTorch's compiler retraces the whole graph after each of its passes, whether that changed it or
not, and copies every node's history each time: what is spared here is two thirds of its time.
"""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from quantcore.errors import UnsupportedError
from quantcore.formats import executorch_program

if TYPE_CHECKING:
    from torch import Tensor, nn

GRAPH, GRAPH_IDENTIFIER = "XNNGraph", b"XN01"
RETRACED = "quantcore.retraced"
# What a pass may do to a graph while it is retraced.
HOOKS = (
    *("call_operator", "call_sym", "call_cond", "call_while", "call_map", "call_scan"),
    *("call_getitem", "call_delegate", "call_submodule", "output", "placeholder", "on_attr"),
)


def lowered(module: "nn.Module", example: "Tensor") -> executorch_program.Program:
    """Return a graph, quantized or not, as a program that answers one picture, `[1, 3, S, S]`.

    Raises:
        UnsupportedError: a part of the model cannot be lowered, or has no kernel.
    """
    # Registers the kernels' forms for 8-bit numbers between XNNPACK's parts.
    import executorch.kernels.quantized  # noqa: F401
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    try:
        with _without_flatc(), _without_history(), _without_retracing(), _without_collecting():
            program = to_edge_transform_and_lower(
                torch.export.export(module, (example.contiguous(),)),
                partitioner=[XnnpackPartitioner()],
                constant_methods={executorch_program.PROVENANCE: "{}"},
            ).to_executorch()
    # The exporter and its partitioner raise errors of many kinds over what they do not know.
    except (RuntimeError, ValueError, KeyError, AssertionError, TypeError) as error:
        raise not_carried(error) from error
    made = executorch_program.Program(program.buffer)
    _require_kernels(made)
    return made


def not_carried(error: Exception) -> UnsupportedError:
    """Return the first sentence of what ExecuTorch says of a model that it cannot carry."""
    text = " ".join(str(error).split()).partition(". ")[0][:200].rstrip(".")
    return UnsupportedError(
        f"ExecuTorch cannot carry a part of this model: {text or type(error).__name__}.",
        "Choose another backend for phones: ONNX Runtime or QNNPACK.",
    )


def _require_kernels(program: executorch_program.Program) -> None:
    """Refuse a program that would not load.

    Raises:
        UnsupportedError: ExecuTorch's runtime has no kernel for an operator.
    """
    from executorch.extension.pybindings import _portable_lib

    known = {name.rpartition("::")[2] for name in _portable_lib._get_operator_names()}
    plans = program.tables["execution_plan"]
    called = [operator for plan in plans for operator in plan.get("operators", ())]
    for operator in called:
        name = operator["name"].rpartition("::")[2]
        full = f"{name}.{operator['overload']}" if operator.get("overload") else name
        if full not in known:
            raise UnsupportedError(
                f"ExecuTorch's runtime has no kernel for {operator['name']}, which XNNPACK left.",
                "Choose another backend for phones: ONNX Runtime or QNNPACK.",
            )


@contextmanager
def _without_flatc() -> Iterator[None]:
    """Write XNNPACK's graphs here: a sandboxed process may start no program."""
    from executorch.backends.xnnpack.serialization import xnnpack_graph_serialize

    def compiled(folder: str, schema_path: str, json_path: str) -> None:
        content = json.loads(Path(json_path).read_bytes())
        written = executorch_program.xnnpack_schema().write(GRAPH, content, GRAPH_IDENTIFIER)
        (Path(folder) / Path(json_path).with_suffix(".bin").name).write_bytes(written)

    with patch.object(xnnpack_graph_serialize, "_flatc_compile", compiled):
        yield


@contextmanager
def _without_history() -> Iterator[None]:
    """Let nodes forget which nodes of earlier graphs they come from."""
    from torch.fx import traceback

    class Rootless(traceback.NodeSource):
        def __init__(self, node: Any, pass_name: str = "", action: Any = None) -> None:
            super().__init__(None, pass_name, action)

    with patch.object(traceback, "NodeSource", Rootless):
        yield


@contextmanager
def _without_retracing() -> Iterator[None]:
    """Retrace no graph that was just retraced, and has not changed."""
    from executorch.exir.pass_base import ExportPass
    from torch.fx.passes.infra.pass_base import PassResult

    base = next(kind for kind in ExportPass.__mro__ if "call" in vars(kind))
    retrace = base.call

    def call(self: Any, graph_module: Any) -> Any:
        is_plain = all(
            getattr(type(self), hook, None) is getattr(ExportPass, hook, None) for hook in HOOKS
        )
        if is_plain and graph_module.meta.get(RETRACED) == str(graph_module.graph):
            return PassResult(graph_module, False)
        result = retrace(self, graph_module)
        result.graph_module.meta[RETRACED] = str(result.graph_module.graph)
        return result

    with patch.object(base, "call", call):
        yield


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Look for no garbage among millions of objects that are all in use."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
