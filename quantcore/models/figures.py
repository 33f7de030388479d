"""The size and the accuracy of a model before anything is quantized, each with what it is of."""

from dataclasses import dataclass

from quantcore import wording


@dataclass(frozen=True)
class Figures:
    """Size and accuracy of a model in float32: measured as a comparison measures, or published.

    Attributes:
        size_bytes: of the TorchScript file that is measured, or of the published weights.
        top1: share of pictures named right, 0 to 1.
        images: how many pictures `top1` was measured on; None where torchvision published both.
    """

    size_bytes: int
    top1: float
    images: int | None = None

    @property
    def size(self) -> str:
        """Return the size in words: `8.91 MB as TorchScript, float32`."""
        of = "as TorchScript, float32" if self.images else "of weights, published by torchvision"
        return f"{wording.figure(self.size_bytes / 1e6, 'MB')} {of}"

    @property
    def accuracy(self) -> str:
        """Return the accuracy in words: `91.1 % of 2,000 Fashion-MNIST pictures right`."""
        of = (
            f"of {wording.count(self.images, 'Fashion-MNIST picture')} right"
            if self.images
            else "right on ImageNet, published by torchvision"
        )
        return f"{wording.percent(self.top1)} {of}"
