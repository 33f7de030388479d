"""The workflow that does nothing: the float model, as the reference of every comparison."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from quantcore import models
from quantcore.backends import Backend
from quantcore.workflows.base import YES, ConversionInput, Report, Subject, Support

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Float32:
    """Keep 32-bit floats; only the graph is frozen, so that constants fold."""

    name: ClassVar[str] = "float32"
    title: ClassVar[str] = "Float32"
    summary: ClassVar[str] = "The model as it is. Every other row is compared with this one."
    uses: ClassVar[tuple[str, ...]] = ()
    weight: ClassVar[float] = 1.0

    def supports(self, subject: Subject, backend: Backend) -> Support:
        """Return yes: every model runs in float."""
        return YES

    def qconfig(self, backend: Backend) -> str:
        """Return one name for all, since no backend changes a float model."""
        return "float32"

    def convert(self, inputs: ConversionInput, backend: Backend, report: Report) -> "nn.Module":
        """Return the float module."""
        report("loading the model", 0.0)
        return models.build(inputs.spec)

    def empty_converted(self, inputs: ConversionInput, backend: Backend) -> "nn.Module":
        """Return the float module."""
        return models.build(inputs.spec)
