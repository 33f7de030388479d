"""The workflow that converts nothing: the float model, as the reference of every comparison."""

from dataclasses import dataclass
from typing import ClassVar

from quantcore.workflows.base import Workflow


@dataclass(frozen=True)
class Float32(Workflow):
    """Keep 32-bit floats; only the graph is frozen, so that constants fold."""

    name: ClassVar[str] = "float32"
    aliases: ClassVar[tuple[str, ...]] = ("float", "fp32")
    title: ClassVar[str] = "Float32"
    summary: ClassVar[str] = (
        "The model as it is. Other rows are compared with the float32 of their own runtime."
    )
    color: ClassVar[str] = "#7d8590"

    @property
    def bits(self) -> int:
        """Return 32."""
        return 32
