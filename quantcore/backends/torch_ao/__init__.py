"""torch.ao.quantization: eager, FX and JIT graph mode, one step for each workflow."""

from quantcore.backends.torch_ao.steps import TORCH, TORCH_BFLOAT16

__all__ = ["TORCH", "TORCH_BFLOAT16"]
