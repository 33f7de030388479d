"""Sixteen bits instead of thirty-two: half the size, and nothing to calibrate."""

from dataclasses import dataclass
from typing import ClassVar

from quantcore.workflows.base import Workflow


@dataclass(frozen=True)
class Half(Workflow):
    """Round the weights to 16 bits, and compute in 16 bits where backend and processor can.

    Whether that is bfloat16 or float16 is the backend's choice.
    """

    name: ClassVar[str] = "half"
    aliases: ClassVar[tuple[str, ...]] = ("fp16", "bf16", "float16", "bfloat16")
    title: ClassVar[str] = "Half"
    summary: ClassVar[str] = "Rounds to 16 bits: half the size, no pictures needed, hardly a loss."
    color: ClassVar[str] = "#8478fc"
    absence: ClassVar[str] = "{backend} computes in 32 or 8 bits only."

    @property
    def bits(self) -> int:
        """Return 16."""
        return 16
