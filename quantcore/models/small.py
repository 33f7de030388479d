"""Two small models whose natural 8-bit form is dynamic quantization: an LSTM and a transformer."""

import torch
from torch import Tensor, nn

from quantcore.models.torchvision_import import torchvision


class RowLSTM(nn.Module):
    """Reads a picture row by row, top to bottom, and classifies from the last hidden state.

    The channels are averaged first, so a `[N, 3, H, W]` batch becomes `H` steps of `W` features.
    Nearly all its weights sit in the LSTM, which is what post-training dynamic quantization is for.
    """

    def __init__(self, num_classes: int = 10, image_size: int = 64, hidden_size: int = 128) -> None:
        super().__init__()
        self.lstm = nn.LSTM(image_size, hidden_size, num_layers=2, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[N, num_classes]` for images `[N, 3, image_size, image_size]`."""
        rows = images.mean(dim=1)
        outputs, _ = self.lstm(rows)
        logits: Tensor = self.fc(outputs[:, -1])
        return logits


def row_lstm(num_classes: int = 10, image_size: int = 64) -> nn.Module:
    """Return a `RowLSTM` with fresh weights."""
    return RowLSTM(num_classes=num_classes, image_size=image_size)


def vit_tiny(num_classes: int = 10, image_size: int = 64) -> nn.Module:
    """Return torchvision's `VisionTransformer`, small: 16 px patches, 4 layers of width 128."""
    model: nn.Module = torchvision().models.VisionTransformer(
        image_size=image_size,
        patch_size=16,
        num_layers=4,
        num_heads=4,
        hidden_dim=128,
        mlp_dim=512,
        num_classes=num_classes,
    )
    # torchvision starts the head at zero; a small random head trains faster from scratch.
    head: nn.Linear = model.heads.head  # type: ignore[union-attr, assignment]
    torch.nn.init.normal_(head.weight, std=0.02)
    return model
