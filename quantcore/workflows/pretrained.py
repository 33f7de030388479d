"""Take a checkpoint that somebody has quantized already."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from quantcore import models
from quantcore.backends import Backend
from quantcore.workflows.base import ConversionInput, Report, Subject, Support, runs_here

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Pretrained:
    """Load a ready-quantized checkpoint; nothing is quantized again."""

    name: ClassVar[str] = "pretrained"
    title: ClassVar[str] = "Ready-quantized"
    summary: ClassVar[str] = (
        "Download or ship a checkpoint that was quantized before. No work here."
    )
    uses: ClassVar[tuple[str, ...]] = ()
    weight: ClassVar[float] = 1.0

    def supports(self, subject: Subject, backend: Backend) -> Support:
        """Return yes where a checkpoint for this backend's kernels exists."""
        if subject.spec.is_random:
            return Support(
                False,
                "A ready-quantized checkpoint holds trained weights, and these are random.",
                f"Choose {subject.model.name} without @random, or static.",
            )
        engines = subject.model.pretrained_engines
        if backend.engine in engines:
            return runs_here(backend, subject.environment)
        if engines:
            return Support(
                False,
                f"No ready-quantized {subject.model.title} was made for {backend.title}.",
                f"Use static or QAT instead, or choose {' or '.join(engines)}.",
            )
        return Support(
            False,
            f"Nobody has published a ready-quantized {subject.model.title}.",
            "Use static or QAT; for models of linear layers or LSTMs, dynamic.",
        )

    def qconfig(self, backend: Backend) -> str:
        """Return the configuration the checkpoint was made for."""
        return backend.qconfig

    def convert(self, inputs: ConversionInput, backend: Backend, report: Report) -> "nn.Module":
        """Return the checkpoint in its quantized empty_converted."""
        report("loading the ready-quantized checkpoint", 0.0)
        return models.ready_quantized(inputs.spec, backend.qconfig)

    def empty_converted(self, inputs: ConversionInput, backend: Backend) -> "nn.Module":
        """Return the checkpoint in its quantized empty_converted."""
        return models.ready_quantized(inputs.spec, backend.qconfig)
