"""Count multiply-adds as a model runs, so that what stayed float is seen and not assumed."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Predictor = Callable[["Tensor"], Any]


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


# Float operators that multiply and add, as they appear when a TorchScript file runs: the operator
# without its overload -> multiply-adds from its result and its arguments.
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
}


def float_multiply_adds(predict: Predictor, images: "Tensor") -> int:
    """Return the multiply-adds that run in float while `predict` looks at `[1, 3, H, W]`.

    What a quantized model lacks of its float twin's count has moved to 8-bit operators.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    total = 0

    class Count(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal total
            result = func(*args, **(kwargs or {}))
            count = FLOAT_OPERATORS.get(func._schema.name)
            if count is not None:
                out = result[0] if isinstance(result, tuple) else result
                total += count(out, *args)
            return result

    with torch.inference_mode(), Count():  # type: ignore[no-untyped-call]
        predict(images)
    return total
