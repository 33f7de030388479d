"""torch.ao.quantization: eager, FX and JIT graph mode, one step for each workflow."""

from quantcore.backends.torch_ao.steps import TORCH

__all__ = ["TORCH"]
