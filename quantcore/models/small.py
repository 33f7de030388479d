"""Two small models that are not convolutional: an LSTM and a transformer.

Dynamic quantization converts all of the LSTM, and of the transformer its perceptrons: the stem and
attention stay float.
"""

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
    """Return torchvision's `VisionTransformer`, small: 4 layers of width 128 on 16 px patches.

    The patches come from four strided convolutions rather than one wide one, since a transformer
    trained from scratch learns far faster so (Xiao et al. 2021, arXiv:2106.14881).
    """
    stem = torchvision().models.vision_transformer.ConvStemConfig
    model: nn.Module = torchvision().models.VisionTransformer(
        image_size=image_size,
        patch_size=16,
        num_layers=4,
        num_heads=4,
        hidden_dim=128,
        mlp_dim=512,
        num_classes=num_classes,
        conv_stem_configs=[stem(channels, 3, 2) for channels in (24, 48, 96, 128)],
    )
    # torchvision starts the head at zero; a small random head trains faster from scratch.
    head: nn.Linear = model.heads.head  # type: ignore[union-attr, assignment]
    torch.nn.init.normal_(head.weight, std=0.02)
    return model
