"""PT2E: a float model as a graph, its ranges observed, its numbers rounded to XNNPACK's 8 bits.

XNNPACK's weights are symmetric and signed, its activations signed with a zero point; products are
added in 32 bits, so that nothing overflows and no bit has to be left free.
"""

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from quantcore import models
from quantcore.backends.torch_ao import module as torch_module
from quantcore.backends.torch_ao.equalize import equalize
from quantcore.backends.xnnpack import not_carried
from quantcore.images import ConversionInput, Split
from quantcore.schema import Report

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule, Node

BATCH = 32
# Ranges below it are taken for it, as XNNPACK's own configuration has it.
EPSILON = 2**-12
Ranges = Literal["minmax", "histogram", "trained", "dynamic"]


def exported(inputs: ConversionInput, *, equalized: bool = False) -> "GraphModule":
    """Return the float model as a graph for any number of pictures.

    Raises:
        UnsupportedError: `torch.export` cannot follow the model.
    """
    import torch

    # The compilers that are imported here make folders wherever temporary files go.
    tempfile.tempdir = str(inputs.scratch)
    # torch's fused attention is one opaque operator; the plain ones can be lowered.
    torch.backends.mha.set_fastpath_enabled(False)
    model = torch_module.evaluated(models.build(inputs.spec))
    if equalized:
        equalize(model)
    try:
        program = torch.export.export(
            model,
            (torch_module.example(inputs.image_size).contiguous(),),
            dynamic_shapes=({0: torch.export.Dim("pictures")},),
        )
    # Of the many that it raises over what it cannot follow, most derive from these.
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise not_carried(error) from error
    return program.module()


def prepared(
    graph: "GraphModule",
    ranges: Ranges,
    *,
    per_channel: bool = True,
    kept: Collection[str] = (),
    only: Callable[["Node"], bool] | None = None,
) -> "GraphModule":
    """Return a copy of the graph with batch norms folded, and all observed that becomes 8 bits.

    Args:
        graph: of the float model.
        ranges: how ranges of activations are found.
        per_channel: one weight scale per output channel; else one per layer.
        kept: names of layers that stay in float.
        only: which operators become 8 bits; None for all that XNNPACK has kernels for.
    """
    import copy

    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(_configuration(ranges, per_channel))
    quantizer.set_filter_function(
        lambda node: layer_of(node) not in kept and (only is None or only(node))
    )
    module: GraphModule = prepare_pt2e(copy.deepcopy(graph), quantizer)
    for name in ("train", "eval"):
        # Refusals to change its mode; it has none that could change.
        vars(module).pop(name, None)
    return module


def _configuration(ranges: Ranges, per_channel: bool) -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import MinMaxObserver

    config = get_symmetric_quantization_config(
        is_per_channel=per_channel, is_qat=ranges == "trained", is_dynamic=ranges == "dynamic"
    )
    # Batch norms are folded before training, so no pattern with one is looked for.
    config = replace(config, is_qat=False)
    if ranges != "minmax":
        return config
    activations = replace(
        config.input_activation,
        observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=EPSILON),
    )
    return replace(config, input_activation=activations, output_activation=activations)


def calibrate(module: "GraphModule", split: Split, count: int, report: Report) -> None:
    """Show the observers up to `count` pictures."""
    import torch

    total = min(count, len(split))
    with torch.no_grad():
        for part, (images, _) in enumerate(split.batches(BATCH, total)):
            report(f"calibrating on {total} images", part * BATCH / total)
            module(images.contiguous())


def converted(observed: "GraphModule") -> "GraphModule":
    """Return the observed graph with its numbers rounded; the observed one is used up."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    return convert_pt2e(observed)  # type: ignore[no-any-return]


def predictor(module: "nn.Module") -> Callable[[Any], Any]:
    """Return a graph as a function from pictures to logits."""
    import torch

    def predict(images: Any) -> Any:
        with torch.no_grad():
            return module(images.contiguous())

    return predict


def layer_of(node: "Node") -> str:
    """Return the name of the layer that an operator belongs to, as the model's Python has it."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next((path for path, _ in reversed(stack.values())), "")
    return str(path).removeprefix("L['self'].")


def layers(graph: "GraphModule") -> list["Node"]:
    """Return the convolutions and linear layers of a graph, in the order in which they run."""
    return [node for node in graph.graph.nodes if is_convolution(node) or is_linear(node)]


def is_linear(node: "Node") -> bool:
    """Return whether a node is a linear layer."""
    return "aten.linear" in str(node.target)


def is_convolution(node: "Node") -> bool:
    """Return whether a node is a convolution."""
    return "aten.conv" in str(node.target)


@contextmanager
def reverted(quantized: "GraphModule", names: Collection[str], weights: Any) -> Iterator[None]:
    """Let the named layers of a quantized graph read float numbers for a while.

    `weights` holds the layers' float weights by name, batch norms folded.
    """
    import torch

    nodes = [node for node in layers(quantized) if layer_of(node) in names]
    before = [node.args for node in nodes]
    for node in nodes:
        name = f"float_{node.name}"
        quantized.register_buffer(name, torch.as_tensor(weights[node.name]), persistent=False)
        with quantized.graph.inserting_before(node):
            exact = quantized.graph.get_attr(name)
        node.args = (_unrounded(node.args[0]), exact, *node.args[2:])
    quantized.recompile()
    try:
        yield
    finally:
        for node, arguments in zip(nodes, before, strict=True):
            weight: Any = node.args[1]
            node.args = arguments
            quantized.graph.erase_node(weight)
            delattr(quantized, f"float_{node.name}")
        quantized.recompile()


def _unrounded(node: Any) -> Any:
    """Return what stands before the rounding that a layer reads from."""
    if "dequantize" not in str(node.target):
        return node
    rounding = node.args[0]
    return rounding.args[0] if "quantize" in str(rounding.target) else node


def float_weights(observed: "GraphModule") -> dict[str, Any]:
    """Return the weights of an observed graph's layers, by the names of their nodes."""
    found = {}
    for node in layers(observed):
        source: Any = node.args[1]
        while source.op != "get_attr":
            source = source.args[0]
        found[node.name] = _attribute(observed, str(source.target)).detach().clone()
    return found


def _attribute(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module
