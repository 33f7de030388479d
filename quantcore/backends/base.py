"""What a backend is: kernels, the way torch is set up for them, and how a file is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Predictor = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class Backend:
    """The kernels that run 8-bit models, through one of torch's quantized engines.

    Attributes:
        name: as it stands in requests, keys and files.
        title: for people.
        summary: one plain sentence on what it is for.
        engine: torch's quantized engine; None leaves torch as it is (float32 needs none).
        qconfig: name of torch's default configuration. Backends that share it convert a model
            to the same weights, scales and zero points, so the work is done once for both.
        reduce_range: activations use 7 of their 8 bits, so that sums of products cannot overflow.
        per_channel: weights have one scale per output channel unless a workflow says otherwise.
        made_for: the processors its kernels are written for, as `platform.machine()` names them.
    """

    name: str
    title: str
    summary: str
    engine: str | None
    qconfig: str
    reduce_range: bool
    per_channel: bool
    made_for: tuple[str, ...]

    def activate(self) -> None:
        """Set torch's engine in this process. It is global: call it in a child, before any load."""
        import torch

        if self.engine is not None:
            torch.backends.quantized.engine = self.engine

    def load(self, path: Path) -> Predictor:
        """Return the TorchScript file as a function from `[N, 3, H, W]` pictures to logits.

        Weights are packed for whichever engine is set while the file loads, so it is set first.
        """
        import torch

        self.activate()
        module = torch.jit.load(path, map_location="cpu")
        if holds_float_compute(module):
            # Saved after this pass a file silently loses weights, so it runs after every load.
            module = torch.jit.optimize_for_inference(module)

        def predict(images: "Tensor") -> "Tensor":
            with torch.inference_mode():
                logits: Tensor = module(images)
            return logits

        return predict


def holds_float_compute(module: "object") -> bool:
    """Return whether the TorchScript module has float convolutions left to optimize."""
    graph = module.inlined_graph  # type: ignore[attr-defined]
    return any(graph.findNode(kind) is not None for kind in ("aten::_convolution", "aten::conv2d"))
