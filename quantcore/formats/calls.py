"""Count the operators of a TorchScript module as they run, and which of them work in 8 bits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantcore.formats.multiply_adds import CONVERSIONS
from quantcore.formats.observed import Predictor, run_observed

if TYPE_CHECKING:
    from torch import Tensor

RECURRENT = ("aten::quantized_lstm", "aten::quantized_gru")
# Where a recurrent layer's packed weights stand among its arguments.
WEIGHTS = 2


@dataclass(frozen=True)
class OperatorCalls:
    """How many operators one picture goes through, and how many of them work on 8-bit numbers."""

    int8: int
    total: int


def operator_calls(predict: Predictor, images: "Tensor") -> OperatorCalls:
    """Return the operators called while `predict` looks at `[1, 3, H, W]`, counted as they run.

    Those that only turn float into 8-bit numbers or back are in neither count.
    """
    int8 = total = 0

    def count(_: Any, func: Any, args: Any, kwargs: Any) -> Any:
        nonlocal int8, total
        result = func(*args, **kwargs)
        name = func._schema.name
        if name not in CONVERSIONS:
            total += 1
            int8 += _is_int8(name, args, result)
        return result

    run_observed(predict, images, count)
    return OperatorCalls(int8, total)


def _is_int8(name: str, arguments: Any, result: Any) -> bool:
    if name in RECURRENT:
        # Halved weights are packed alike, and computed with in float.
        return bool(arguments[WEIGHTS][0].__getstate__()[0][0] != "quantized_fp16")
    if name.startswith("quantized::"):
        return not name.endswith("_fp16")
    return any(getattr(value, "is_quantized", False) for value in _flat([*arguments, result]))


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flat(value)
        else:
            yield value
