"""What a workflow is: a frozen dataclass whose fields are its settings.

How a model is converted belongs to the backend's toolchain: a workflow asks it for its own step.
"""

from pathlib import Path
from typing import ClassVar, Protocol, Self

from quantcore import wording
from quantcore.backends import Backend, ConvertedModel, Recipe, Step
from quantcore.formats import LayerKind
from quantcore.images import ConversionInput
from quantcore.models import Subject
from quantcore.schema import FLOAT_WORKFLOW, YES, Environment, Report, Support

IN_8_BITS = Support(
    False,
    "The model came in 8 bits already, and is not converted again.",
    "Its ready-quantized row shows it as it is; for others, upload the float model it was made "
    "from.",
)


class Workflow(Protocol):
    """How numbers become 8-bit, or 16-bit.

    Attributes:
        name: as it stands in requests, keys and files.
        aliases: what else people call it.
        title: for people.
        summary: one plain sentence on what it does.
        color: of its mark in the plot: of Okabe and Ito's palette, which colour-blind readers tell
            apart (https://jfly.uni-koeln.de/color/), or as far from it, with a contrast of at least
            3:1 on the light and on the dark background.
        needs_source: whether a model that came as a program or a graph cannot go this way.
        reads_pictures: whether a conversion looks at pictures, which then are part of its key.
        weight: how long it takes, next to other workflows.
        absence: why a backend without a step for it has none.
        takes_8_bits: it starts from what is quantized already, and not from the float model.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str]
    summary: ClassVar[str]
    color: ClassVar[str]
    needs_source: ClassVar[bool] = False
    reads_pictures: ClassVar[bool] = False
    weight: ClassVar[float] = 1.0
    absence: ClassVar[str] = "{backend} has no such way to quantize."
    takes_8_bits: ClassVar[bool] = False

    @property
    def bits(self) -> int:
        """Return of how many bits its numbers are."""
        return 8

    def resolved(self, backend: Backend) -> Self:
        """Return the workflow with what it leaves to a backend filled in."""
        return self

    def step(self, backend: Backend) -> Step | None:
        """Return how the backend's toolchain does it; None where it does not."""
        return backend.toolchain.steps.get(self.name)

    def refusal(self, subject: Subject) -> Support:
        """Return whether this model can go this way on any backend, or why not."""
        return YES

    def supports(self, subject: Subject, backend: Backend) -> Support:
        """Return whether this model can go this way on this backend here, or why not."""
        if subject.model.in_8_bits and not self.takes_8_bits:
            return IN_8_BITS
        readable = _readable(subject, backend)
        if not readable.ok:
            return readable
        step = self.step(backend)
        if step is None:
            reason = self.absence.format(backend=backend.title)
            return Support(False, reason, self._instead(subject, backend))
        answers = (
            self.refusal(subject),
            step.supports(self, subject, backend),
            backend.available(subject.environment),
        )
        return next((answer for answer in answers if not answer.ok), YES)

    def _instead(self, subject: Subject, backend: Backend) -> str:
        """Return which ways a model can go that has none of this name on a backend."""
        if subject.model.in_8_bits:
            return "Choose ONNX Runtime, which runs it as it is, or upload the float model."
        ways = [name for name in backend.toolchain.steps if name != FLOAT_WORKFLOW]
        if not ways or subject.model.is_program or subject.model.is_graph:
            return "Use another workflow, or another backend."
        return f"Use {wording.choice(ways)}, or another backend."

    def recipe(self, backend: Backend, environment: Environment) -> Recipe:
        """Return the recipe of the converted numbers: equal recipes give equal conversions."""
        step = self.step(backend)
        return step.recipe(self, backend, environment) if step else Recipe("")

    def layer_kind(self, backend: Backend) -> LayerKind:
        """Return what the converted model computes with."""
        return self._own_step(backend).layer_kind(self)

    def checkpoint(self, backend: Backend) -> str | None:
        """Return the ready-quantized checkpoint it starts from; None for the float weights."""
        step = self.step(backend)
        return step.checkpoint(backend) if step else None

    def note(self, backend: Backend) -> str:
        """Return what its files are that one does not expect, in a sentence; or nothing."""
        return self._own_step(backend).note

    def convert(
        self,
        inputs: ConversionInput,
        backend: Backend,
        report: Report,
        state: Path | None = None,
    ) -> ConvertedModel:
        """Return the converted model, on the CPU. Runs in a child process.

        `report(stage, share)` is called at every part of the work, and may raise to stop it.
        `state` is what an equal conversion left, which spares the work.
        """
        chosen = self.resolved(backend)
        return chosen._own_step(backend).convert(chosen, inputs, backend, report, state)

    def _own_step(self, backend: Backend) -> Step:
        step = self.step(backend)
        assert step is not None, f"{self.name} was not asked whether {backend.name} supports it"
        return step


def _readable(subject: Subject, backend: Backend) -> Support:
    """Return whether a backend's toolchain can read the model as it came."""
    if not subject.model.is_graph or backend.toolchain.reads_graphs:
        return YES
    return Support(
        False,
        f"{subject.model.title} came as ONNX, which torch cannot read, and {backend.title} takes "
        "its models from torch.",
        "Choose ONNX Runtime or OpenVINO, or upload the PyTorch weights or TorchScript that it was "
        "exported from.",
    )
