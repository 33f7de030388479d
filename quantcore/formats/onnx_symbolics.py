"""What torch's ONNX exporter lacks for converted modules, written for opset 13 and newer.

torch's exporter carries a quantized value as the tuple of its numbers, scale and zero point, and
knows most quantized operators. It does not know how to split such a value, it cuts biases off
instead of rounding them, and it has no dynamic linear layer. All of that is mended here, for this
process, which is a child that does nothing else.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch._C._onnx import TensorProtoDataType
from torch.ao.nn.quantized import dynamic
from torch.onnx._internal.torchscript_exporter import symbolic_helper
from torch.onnx._internal.torchscript_exporter._globals import GLOBALS
from torch.onnx.utils import register_custom_op_symbolic

DOMAIN = "quantcore"
# The opset since which a split says into how many.
SPLITS_BY_NUMBER = 18
_LIBRARY = torch.library.Library(DOMAIN, "FRAGMENT")
_LIBRARY.define("dynamic_linear(Tensor x, Tensor weight, Tensor scale, Tensor bias) -> Tensor")


def _dynamic_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    # Only traced, for its shape; the file computes with whole numbers.
    return x @ (weight * scale) + bias


_LIBRARY.impl("dynamic_linear", _dynamic_linear, "CompositeExplicitAutograd")


class DynamicLinear(nn.Module):
    """A dynamic 8-bit linear layer that ONNX can carry: its weights as plain whole numbers.

    Activations take all 8 bits there, while torch leaves one out on x86, so rounding differs.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight, bias = layer.weight(), layer.bias()
        scale, zero_point = _per_tensor(weight)
        if zero_point:
            raise NotImplementedError("8-bit weights with a zero point")
        self.register_buffer("weight", weight.int_repr().t().contiguous())
        self.register_buffer("scale", torch.tensor(scale))
        empty = torch.zeros(weight.shape[0])
        self.register_buffer("bias", empty if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return `x @ weight + bias`, `[..., out]` for `[..., in]`."""
        result: Tensor = torch.ops.quantcore.dynamic_linear(x, self.weight, self.scale, self.bias)
        return result


def _per_tensor(weight: Tensor) -> tuple[float, int]:
    return weight.q_scale(), weight.q_zero_point()


def exportable(module: nn.Module, opset: int) -> nn.Module:
    """Return the module with dynamic layers replaced, having registered what the exporter lacks."""
    register_custom_op_symbolic("prim::ConstantChunk", _chunk, opset)
    register_custom_op_symbolic(f"{DOMAIN}::dynamic_linear", _symbolic_dynamic_linear, opset)
    # Looked up by name whenever a quantized layer is written.
    symbolic_helper.requantize_bias_helper = _rounded_bias  # type: ignore[assignment]
    # A slip in torch leaves this on, and it prints the whole graph of a model it cannot carry.
    torch._C._jit_onnx_log = _say_nothing
    # torch's fused attention is one opaque operator; the plain ones can be exported.
    torch.backends.mha.set_fastpath_enabled(False)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, dynamic.Linear):
                setattr(parent, name, DynamicLinear(child))
    return module


def _say_nothing(*_: Any) -> None:
    """Print nothing."""


def _chunk(g: Any, value: Any, chunks: int, dim: int) -> Any:
    """Split a value evenly; one of whole numbers is split as float between its scales."""
    scales = None
    if symbolic_helper._is_tuple_construct(value):
        value, *scales = symbolic_helper.dequantize_helper(g, value)[:3]
    number = (
        {"num_outputs_i": chunks} if GLOBALS.export_onnx_opset_version >= SPLITS_BY_NUMBER else {}
    )
    parts = g.op("Split", value, axis_i=dim, outputs=chunks, **number)
    if scales is None:
        return parts
    return [symbolic_helper.quantize_helper(g, part, *scales) for part in parts]


def _rounded_bias(g: Any, bias: Any, x_scale: Any, weight_scale: Any, axis: Any = None) -> Any:
    """Return a layer's bias as whole numbers of its products' scale.

    torch's own helper cuts the fraction off. Where a product is worth a good part of a step of the
    output, that shifts whole channels by one.
    """
    scale = g.op("Mul", weight_scale, x_scale)
    numbers = g.op("Cast", g.op("Round", g.op("Div", bias, scale)), to_i=TensorProtoDataType.INT32)
    zero = torch.tensor([0], dtype=torch.int)
    zero_point = g.op("ConstantOfShape", g.op("Shape", scale), value_t=zero)
    along = [] if axis is None or symbolic_helper._is_none(axis) else [axis]
    return g.op("prim::TupleConstruct", numbers, scale, zero_point, *along)


def _symbolic_dynamic_linear(g: Any, x: Any, weight: Any, scale: Any, bias: Any) -> Any:
    numbers, x_scale, x_zero_point = g.op("DynamicQuantizeLinear", x, outputs=3)
    product = g.op("MatMulInteger", numbers, weight, x_zero_point)
    scaled = g.op(
        "Mul", g.op("Cast", product, to_i=TensorProtoDataType.FLOAT), g.op("Mul", x_scale, scale)
    )
    result = g.op("Add", scaled, bias)
    result.setType(g.original_node.output().type())
    return result
