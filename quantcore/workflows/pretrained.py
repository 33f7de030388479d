"""Take a checkpoint that somebody has quantized already."""

from dataclasses import dataclass
from typing import ClassVar

from quantcore.models import Subject
from quantcore.schema import YES, Support
from quantcore.workflows.base import Workflow


@dataclass(frozen=True)
class Pretrained(Workflow):
    """Load a ready-quantized checkpoint; nothing is quantized again."""

    name: ClassVar[str] = "pretrained"
    aliases: ClassVar[tuple[str, ...]] = ("ready-quantized",)
    title: ClassVar[str] = "Ready-quantized"
    summary: ClassVar[str] = (
        "Download or ship a checkpoint that was quantized before. No work here."
    )
    color: ClassVar[str] = "#009e73"
    takes_8_bits: ClassVar[bool] = True
    absence: ClassVar[str] = "Nobody publishes ready-quantized models for {backend}."

    def refusal(self, subject: Subject) -> Support:
        """Return why random weights cannot have such a checkpoint."""
        if not subject.spec.is_random:
            return YES
        return Support(
            False,
            "A ready-quantized checkpoint holds trained weights, and these are random.",
            f"Choose {subject.model.name} without @random, or static.",
        )
