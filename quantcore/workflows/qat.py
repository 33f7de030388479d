"""Quantization-aware training: fine-tune with the rounding in the loop, then convert."""

from dataclasses import dataclass
from typing import ClassVar

from quantcore.errors import RequestError
from quantcore.models import Subject
from quantcore.schema import YES, Support
from quantcore.workflows.base import Workflow


@dataclass(frozen=True)
class Qat(Workflow):
    """Fine-tune the float weights with fake quantization, keep the best step, convert.

    Attributes:
        steps: training steps at most; fewer are taken once held-out accuracy stops rising.
        learning_rate: at its peak; it falls to zero along a cosine.
        batch: pictures per step.
        seed: of the order of pictures.
        per_channel: one weight scale per output channel; None takes the backend's default.
        equalize: balance neighbouring layers' weights first; None does it where a layer has one
            weight scale, which is where it helps.
    """

    steps: int = 40
    learning_rate: float = 2e-3
    batch: int = 32
    seed: int = 0
    per_channel: bool | None = None
    equalize: bool | None = None

    name: ClassVar[str] = "qat"
    title: ClassVar[str] = "QAT"
    aliases: ClassVar[tuple[str, ...]] = ("quantization-aware training",)
    summary: ClassVar[str] = (
        "Fine-tunes on labelled pictures with 8-bit rounding in the loop. Minutes, best accuracy."
    )
    color: ClassVar[str] = "#d55e00"
    needs_source: ClassVar[bool] = True
    reads_pictures: ClassVar[bool] = True
    weight: ClassVar[float] = 10.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.learning_rate <= 0:
            raise RequestError(
                f"QAT cannot train {self.steps} steps of {self.batch} images at a learning rate "
                f"of {self.learning_rate}.",
                "Take at least 1 step, batches of at least 2, and a positive rate.",
            )
        if self.seed < 0:
            raise RequestError(f"{self.seed} cannot be a seed.", "Take 0 or more.")

    def refusal(self, subject: Subject) -> Support:
        """Return why there is nothing to tune, or nothing to tune on."""
        if subject.spec.is_random:
            return Support(
                False,
                "Random weights have learned nothing that fine-tuning could keep.",
                f"Choose {subject.model.name} without @random, or static for size and latency.",
            )
        if not subject.labelled and not subject.model.is_program:
            return Support(
                False,
                "QAT trains on labelled pictures, and this model has none here.",
                "Upload class folders (--images), or use static.",
            )
        return YES
