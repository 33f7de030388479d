"""What a workflow is: a frozen dataclass whose fields are its settings, with two verbs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from quantcore.backends import Backend
from quantcore.models import ModelInfo
from quantcore.schema import Environment, ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from quantcore.images import ImageData

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Support:
    """Whether a variant can exist; where it cannot, why, and what to do instead."""

    ok: bool
    reason: str = ""
    remedy: str = ""


YES = Support(True)


@dataclass(frozen=True)
class Subject:
    """What a workflow is asked about: a model, whether its pictures carry labels, and where."""

    spec: ModelSpec
    model: ModelInfo
    labelled: bool
    environment: Environment


@dataclass(frozen=True)
class ConversionInput:
    """What a conversion works on: the model, its pictures, and their side in px."""

    spec: ModelSpec
    model: ModelInfo
    images: "ImageData"
    image_size: int


class Workflow(Protocol):
    """How numbers become 8-bit.

    `uses` names the image splits a conversion reads, which therefore are part of its key.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    uses: ClassVar[tuple[str, ...]]
    weight: ClassVar[float]

    def supports(self, subject: Subject, backend: Backend) -> Support:
        """Return whether this model can go this way on this backend here, or why not."""

    def qconfig(self, backend: Backend) -> str:
        """Return what decides the converted weights: equal names give equal conversions."""

    def convert(self, inputs: ConversionInput, backend: Backend, report: Report) -> "nn.Module":
        """Return the converted module in evaluation mode, on the CPU.

        `report(stage, share)` is called at every step, and may raise to stop the work.
        """

    def empty_converted(self, inputs: ConversionInput, backend: Backend) -> "nn.Module":
        """Return a converted module of the same layers, for a state dict to bring the numbers.

        It is made in no time, since it looks at no picture.
        """


def runs_here(backend: Backend, environment: Environment) -> Support:
    """Return whether this machine's torch carries the backend's engine."""
    if backend.engine in environment.engines:
        return YES
    return Support(
        False,
        f"torch on this {environment.machine} machine has no {backend.title} kernels.",
        f"Choose {' or '.join(environment.engines)}.",
    )
