"""TorchScript's graph mode, for models that come without source: the graph itself is rewritten.

Source: `torch.ao.quantization.quantize_jit`. Batch norms must be folded before; freezing does that.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantcore import models
from quantcore.errors import UnsupportedError
from quantcore.images import ConversionInput

if TYPE_CHECKING:
    from torch import nn
    from torch.ao.quantization import QConfig

MODE = "jit"
NO_SOURCE = "It came without its source, so nothing can be trained in it."


def observed(inputs: ConversionInput, qconfig: "QConfig") -> "nn.Module":
    """Return the frozen graph with an observer at every activation.

    Raises:
        UnsupportedError: torch cannot rewrite this graph.
    """
    return _rewritten("prepare_jit", models.build(inputs.spec), {"": qconfig})


def converted(module: "nn.Module") -> "nn.Module":
    """Return the observed graph with its layers replaced by 8-bit ones.

    Raises:
        UnsupportedError: torch cannot rewrite this graph, or found nothing in it to convert.
    """
    rewritten = _rewritten("convert_jit", module)
    graph: Any = rewritten.inlined_graph
    if "quantized::" not in str(graph):
        raise UnsupportedError(
            "torch found no layer in this program that it can run in 8 bits.",
            "Upload the weights as a state dict, if it is a torchvision model.",
        )
    return rewritten


def dynamic(inputs: ConversionInput, dtype: str) -> "nn.Module":
    """Return the frozen graph with the weights of its linear layers in 8 bits or half precision.

    Raises:
        UnsupportedError: torch cannot rewrite this graph.
    """
    from torch.ao import quantization

    chosen = {
        "qint8": quantization.default_dynamic_qconfig,
        "float16": quantization.float16_dynamic_qconfig,
    }
    return _rewritten("quantize_dynamic_jit", models.build(inputs.spec), {"": chosen[dtype]})


def _rewritten(function: str, module: "nn.Module", *arguments: Any) -> "nn.Module":
    # torch.ao.quantization has a function of this name, which hides the module.
    graph_mode = import_module("torch.ao.quantization.quantize_jit")
    try:
        rewritten: nn.Module = getattr(graph_mode, function)(module, *arguments)
    # A graph that the passes were not made for: one of several errors that derive from this one.
    except RuntimeError as error:
        raise UnsupportedError(
            "torch cannot rewrite this program's graph in 8 bits.",
            "Upload the weights as a state dict, if it is a torchvision model.",
        ) from error
    return rewritten
