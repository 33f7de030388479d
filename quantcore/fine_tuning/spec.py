"""The request of a fine-tuning run, and the curve of its progress."""

import re
from dataclasses import dataclass

from quantcore.errors import RequestError
from quantcore.models import ModelInfo, catalogue, find, offered
from quantcore.schema import ModelSpec
from quantcore.wording import percent

MAX_EPOCHS = 100
USUAL_EPOCHS = 16
CHOOSE = "Choose MobileNet v2 or ResNet-18."
_POINT = re.compile(r"epoch (\d+) of \d+: loss ([\d.]+), ([\d.]+) % right")


@dataclass(frozen=True)
class FineTuningSpec:
    """Which model is fine-tuned on which pictures.

    Attributes:
        backbone: a bundled or torchvision model with trained weights.
        images: `upload/TOKEN` of pictures with classes.
        epochs: how often every training picture is seen while all weights are tuned.
        seed: of the new layer, the order of pictures and how they are moved.
    """

    backbone: ModelSpec
    images: str
    epochs: int = USUAL_EPOCHS
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.epochs <= MAX_EPOCHS:
            raise RequestError(
                f"{self.epochs} epochs cannot be trained.",
                f"Take 1 to {MAX_EPOCHS}; {USUAL_EPOCHS} will do.",
            )


@dataclass(frozen=True)
class Point:
    """How good the model is after an epoch; epoch 0 is the new last layer alone.

    Attributes:
        loss: on what was trained on, while it was.
        accuracy: share of held-out pictures that are named right.
    """

    epoch: int
    loss: float
    accuracy: float


def tunable() -> dict[str, ModelInfo]:
    """Return the models that can be fine-tuned, by name, the bundled ones first."""
    return {
        name: info
        for name, info in offered().items()
        if f"torchvision/{info.architecture}" in catalogue()
    }


def check_backbone(spec: ModelSpec) -> ModelInfo:
    """Return the facts of a model that can be fine-tuned.

    Raises:
        RequestError: it is not such a model; the sentence says why.
    """
    info = find(spec)
    if spec.is_random:
        raise RequestError(
            f"{info.title} has learned nothing that new classes could build on.",
            f"Choose {spec.listed}, whose weights are trained.",
        )
    if spec.source == "upload" or f"torchvision/{info.architecture}" not in catalogue():
        raise RequestError(
            f"{info.title} has layers of its own that cannot be built for other classes here.",
            CHOOSE,
        )
    return info


def stage(point: Point, epochs: int) -> str:
    """Return the stage text after an epoch, from which `point_in` reads the point again."""
    return (
        f"epoch {point.epoch} of {epochs}: loss {point.loss:.3f}, {percent(point.accuracy)} right"
    )


def point_in(text: str) -> Point | None:
    """Return the point that a stage carries, if any."""
    match = _POINT.fullmatch(text)
    return Point(int(match[1]), float(match[2]), float(match[3]) / 100) if match else None
