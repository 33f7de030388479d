"""Run a TorchScript module on a picture with every operator observed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Predictor = Callable[["Tensor"], Any]
# Runs one operator: from the mode, the operator, and its arguments by position and by name.
Observer = Callable[[Any, Any, Any, Any], Any]


def run_observed(predict: Predictor, images: "Tensor", observer: Observer) -> None:
    """Let `predict` look at `[1, 3, H, W]`, with `observer` in place of every operator it calls."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Observed(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return observer(self, func, args, kwargs or {})

    # Optimizing the graph on its first run would run operators of its own under the observer.
    plainly = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    with torch.inference_mode(), plainly, Observed():  # type: ignore[no-untyped-call]
        predict(images)
