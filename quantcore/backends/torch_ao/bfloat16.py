"""A module between two casts. Imports torch: only for functions that run in children."""

import torch
from torch import Tensor, nn


class BFloat16(nn.Module):
    """Takes float32 pictures and gives float32 logits, whatever is computed between.

    oneDNN's kernels are fastest with the channels innermost.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits `[N, classes]` of pictures `[N, 3, H, W]`."""
        pictures = pictures.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.module(pictures)
        return logits.float()
