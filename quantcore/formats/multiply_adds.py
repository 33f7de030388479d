"""Count multiply-adds as a model runs, so that what stayed float is seen and not assumed."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quantcore.formats.observed import Predictor, run_observed

if TYPE_CHECKING:
    from torch import Tensor


def _convolution(out: Any, _: Any, weight: Any, *__: Any) -> int:
    return int(out.numel() * weight[0].numel())


def _linear(out: Any, _: Any, weight: Any, *__: Any) -> int:
    return int(out.numel() * weight.shape[-1])


def _matmul(out: Any, left: Any, *_: Any) -> int:
    return int(out.numel() * left.shape[-1])


def _addmm(out: Any, _: Any, left: Any, *__: Any) -> int:
    return int(out.numel() * left.shape[-1])


def _attention(out: Any, query: Any, key: Any, *_: Any) -> int:
    # Scores and the weighted sum of values each take one product of these sizes.
    return int(2 * math.prod(query.shape[:-1]) * key.shape[-2] * query.shape[-1])


def _recurrent(_: Any, inputs: Any, __: Any, weights: Any, *___: Any) -> int:
    steps = math.prod(inputs.shape[:-1])
    return int(steps * sum(each.numel() for each in weights if each.dim() == 2))


def _half_linear(out: Any, inputs: Any, *_: Any) -> int:
    return int(out.numel() * inputs.shape[-1])


def _packed_recurrent(gates: int) -> Callable[..., int]:
    """Return the count of a layer with packed weights, which computes in float if they are half."""

    def count(out: Any, inputs: Any, _: Any, packed: Any, __: Any, layers: int, *rest: Any) -> int:
        if packed[0].__getstate__()[0][0] != "quantized_fp16":
            return 0
        directions = 2 if rest[2] else 1
        size = out.shape[-1] // directions
        width = inputs.shape[-1] + size + (layers - 1) * (directions + 1) * size
        return int(math.prod(inputs.shape[:-1]) * directions * gates * size * width)

    return count


# Operators that multiply and add in float, as they appear when a TorchScript file runs: the
# operator without its overload -> multiply-adds from its result and its arguments. Weights in half
# precision are widened before they are multiplied.
FLOAT_OPERATORS: dict[str, Callable[..., int]] = {
    "aten::_convolution": _convolution,
    "aten::convolution": _convolution,
    "aten::conv2d": _convolution,
    "aten::linear": _linear,
    "aten::matmul": _matmul,
    "aten::mm": _matmul,
    "aten::bmm": _matmul,
    "aten::addmm": _addmm,
    "aten::baddbmm": _addmm,
    "aten::scaled_dot_product_attention": _attention,
    "aten::lstm": _recurrent,
    "aten::gru": _recurrent,
    "aten::quantized_lstm": _packed_recurrent(gates=4),
    "aten::quantized_gru": _packed_recurrent(gates=3),
    "quantized::linear_dynamic_fp16": _half_linear,
}
CONVERSIONS = (
    "aten::quantize_per_tensor",
    "aten::quantize_per_channel",
    "aten::quantize_per_tensor_dynamic",
    "aten::dequantize",
)


def float_multiply_adds(predict: Predictor, images: "Tensor") -> int:
    """Return the multiply-adds that run in float while `predict` looks at `[1, 3, H, W]`.

    What a quantized model lacks of its float twin's count has moved to 8-bit operators.
    """
    total = 0

    def add(mode: Any, func: Any, args: Any, kwargs: Any) -> Any:
        nonlocal total
        count = FLOAT_OPERATORS.get(func._schema.name)
        if count is None:
            return _decomposed(mode, func, args, kwargs)
        result = func(*args, **kwargs)
        total += count(result[0] if isinstance(result, tuple) else result, *args)
        return result

    run_observed(predict, images, add)
    return total


def _decomposed(mode: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator under the mode as those it is made of (`einsum`, say), if it is of any."""
    with mode:
        result = func.decompose(*args, **kwargs)
    return func(*args, **kwargs) if result is NotImplemented else result
