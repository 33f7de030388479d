"""Count the operators of a TorchScript module as they run, and which of them work in 8 bits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantcore.formats.multiply_adds import CONVERSIONS, Predictor

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
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    counts = {"int8": 0, "total": 0}

    class Count(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            name = func._schema.name
            if name not in CONVERSIONS:
                counts["total"] += 1
                counts["int8"] += _is_int8(name, args, result)
            return result

    # Optimizing the graph on its first run would run operators of its own under the counter.
    plainly = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    with torch.inference_mode(), plainly, Count():  # type: ignore[no-untyped-call]
        predict(images)
    return OperatorCalls(**counts)


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
