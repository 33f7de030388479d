"""What a backend is, and the toolchain that makes its files.

A backend runs files of one format. Its toolchain has a step for each workflow that it can serve; a
workflow asks for its step by name, so neither knows the members of the other's dict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from quantcore import wording
from quantcore.backends.options import Observer
from quantcore.formats import Kernels, LayerKind, MeasuredFormat, Predictor
from quantcore.images import ConversionInput
from quantcore.models import Subject
from quantcore.schema import YES, Cause, Environment, Report, Setting, Support, Target, Tuning

if TYPE_CHECKING:
    from torch import nn

# Marks that the plot and the tables can draw; `draw/style.css` has the shape of each.
Symbol = Literal[
    "circle", "square", "diamond", "triangle-up", "cross",
    "hexagon", "star", "bowtie", "triangle-down", "pentagon",
]  # fmt: skip

PHONES = ("aarch64", "arm64")

NO_VNNI = Cause(
    "This processor has no VNNI, the instruction that makes 8-bit sums fast.",
    "Measure on one that has it: Intel’s servers since 2019, AMD’s since 2022.",
)
REDUCED_RANGE = Cause(
    "Its ranges take 128 of 256 steps, so that sums in 16 bits stay exact.",
    "Use QAT, which trains the model for it, or oneDNN, which takes all 256, where there is VNNI.",
)


def reduces_range(chosen: bool | None, environment: Environment) -> bool:
    """Return whether numbers leave one of their 8 bits free; a choice of None follows the machine.

    Without VNNI, PCs add pairs of products in 16 bits, which only then hold them.
    """
    return environment.lacks_vnni if chosen is None else chosen


class ConvertedModel(Protocol):
    """A converted model that is not written yet.

    Attributes:
        digest: SHA-256 of every number that decides its answers.
        state_bytes: size of its weights, scales and zero points by themselves.
        module: the torch module that other formats are written from; None where it is none.
        tuning: what the conversion chose by itself; None where there was nothing to choose.
    """

    @property
    def digest(self) -> str: ...  # noqa: D102

    @property
    def state_bytes(self) -> int: ...  # noqa: D102

    @property
    def module(self) -> "nn.Module | None": ...  # noqa: D102

    @property
    def tuning(self) -> Tuning | None: ...  # noqa: D102

    def state(self) -> bytes | None:
        """Return the state from which `Step.convert` makes the same model; None where it cannot."""

    def write(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write the file that would ship, `metadata` inside.

        Raises:
            UnsupportedError: the format cannot carry the model.
        """


@dataclass(frozen=True)
class Recipe:
    """What decides a conversion's numbers, beside the model, its pictures and the settings.

    Attributes:
        name: backends whose recipe is the same share one conversion.
        packages: distributions whose versions decide the numbers, beside torch's own.
    """

    name: str
    packages: tuple[str, ...] = ()


class Step(Protocol):
    """One workflow, as one toolchain does it, for the backends that have this toolchain.

    Attributes:
        note: what its files are that one does not expect of the workflow, in a sentence; or empty.
    """

    @property
    def note(self) -> str: ...  # noqa: D102

    def supports(self, options: Any, subject: Subject, backend: Any) -> Support:
        """Return whether it can convert this model with these options, or why not. No torch."""

    def layer_kind(self, options: Any) -> LayerKind:
        """Return what its converted models compute with; formats read it to know what they get."""

    def recipe(self, options: Any, backend: Any, environment: Environment) -> Recipe:
        """Return the recipe of the numbers: backends with one recipe share one conversion.

        It holds what is left to the machine that converts, such as the range of activations.
        """

    def checkpoint(self, backend: Any) -> str | None:
        """Return the ready-quantized checkpoint it starts from; None for the float weights."""

    def convert(
        self,
        options: Any,
        inputs: ConversionInput,
        backend: Any,
        report: Report,
        state: Path | None,
    ) -> ConvertedModel:
        """Return the converted model, on the CPU. Runs in a child process.

        Args:
            options: the workflow, whose fields are its settings.
            inputs: the float model and its pictures.
            backend: what will run it.
            report: called at every part of the work; may raise to stop it.
            state: what `ConvertedModel.state` gave of an equal conversion, which spares the work.

        Raises:
            UnsupportedError: it turned out that the model cannot be converted.
        """


class FromFloat:
    """What steps share that start from the float weights, with numbers of their toolchain's own.

    Attributes:
        toolchain: its name.
        packages: distributions whose versions decide the numbers, beside torch's own.
        name: of the workflow.
        computes: what the converted models compute with.
        note: as a step has it.
    """

    toolchain: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    name: ClassVar[str]
    computes: ClassVar[LayerKind] = "static"
    note: ClassVar[str] = ""

    def supports(self, options: Any, subject: Subject, backend: Any) -> Support:
        """Return yes."""
        return YES

    def layer_kind(self, options: object) -> LayerKind:
        """Return what its models compute with."""
        return self.computes

    def recipe(self, options: Any, backend: Any, environment: Environment) -> Recipe:
        """Return a name that no other toolchain's step has."""
        return Recipe(f"{self.toolchain} {self.name}", self.packages)

    def checkpoint(self, backend: Any) -> str | None:
        """Return None: it starts from the float weights."""
        return None


@dataclass(frozen=True)
class Toolchain:
    """How models become files of a backend.

    Attributes:
        name: for keys.
        packages: distributions whose versions decide the files, beside torch's own.
        steps: by the workflow's name.
        makes_modules: its converted models have a `module`, which other formats are written from.
        reads_graphs: it takes float models that come as ONNX graphs; others take torch's modules.
    """

    name: str
    steps: Mapping[str, Step]
    packages: tuple[str, ...] = ()
    makes_modules: bool = False
    reads_graphs: bool = False


class Backend(Protocol):
    """What runs a model.

    Attributes:
        name: as it stands in requests, keys and files.
        aliases: what else people call it.
        title: for people.
        summary: one plain sentence on what it is for.
        targets: where it is shipped.
        format: the files it runs.
        toolchain: what makes them.
        float_backend: name of the backend whose float32 row its speed-ups are against; None is
            torch's own float32.
        symbol: its mark in the plot.
        pace: how long it takes to be timed here, next to other backends.
        per_channel: weights have one scale per output channel unless a workflow says otherwise.
        observer: how ranges of activations are found unless a workflow says otherwise.
        engine: torch's quantized engine, set before its files are loaded; None for none.
        saturates: its numbers take all 8 bits, whose sums overflow in kernels that add products in
            16 bits.
        rounds_biases: its 8-bit layers add biases as whole numbers of their products' scale.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def aliases(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def summary(self) -> str: ...  # noqa: D102
    @property
    def targets(self) -> tuple[Target, ...]: ...  # noqa: D102
    @property
    def format(self) -> MeasuredFormat: ...  # noqa: D102
    @property
    def toolchain(self) -> Toolchain: ...  # noqa: D102
    @property
    def float_backend(self) -> str | None: ...  # noqa: D102
    @property
    def symbol(self) -> Symbol: ...  # noqa: D102
    @property
    def pace(self) -> float: ...  # noqa: D102
    @property
    def per_channel(self) -> bool: ...  # noqa: D102
    @property
    def observer(self) -> Observer: ...  # noqa: D102
    @property
    def engine(self) -> str | None: ...  # noqa: D102
    @property
    def saturates(self) -> bool: ...  # noqa: D102
    @property
    def rounds_biases(self) -> bool: ...  # noqa: D102

    def available(self, environment: Environment) -> Support:
        """Return whether that machine can run it, or what it lacks."""

    def load(self, path: Path, threads: int) -> Predictor:
        """Return a file of it as a function from `[N, 3, H, W]` pictures to logits."""

    def float_multiply_adds(self, path: Path, image_size: int, scratch: Path) -> int:
        """Return the multiply-adds that a file of it runs in float for one picture."""

    def multiply_adds(self, path: Path, image_size: int, scratch: Path) -> int:
        """Return the multiply-adds of a file that came in 8 bits, in float or not."""

    def delegated(self, path: Path) -> float:
        """Return the share of a file's multiply-adds that run in kernels made for speed."""

    def overflows(self, environment: Environment) -> bool:
        """Return whether its 8-bit sums can overflow on that machine."""

    def speed_causes(self, environment: Environment) -> tuple[Cause, ...]:
        """Return why its files may be slow on that machine, as far as that is this backend's."""

    def accuracy_causes(
        self, settings: Mapping[str, Setting], environment: Environment
    ) -> tuple[Cause, ...]:
        """Return why its files may answer differently, as far as that is this backend's."""


class _Parts(Kernels, Protocol):
    @property
    def title(self) -> str: ...
    @property
    def format(self) -> MeasuredFormat: ...
    @property
    def toolchain(self) -> Toolchain: ...


class RunsFormat:
    """The half of a backend that its format and its toolchain decide."""

    def available(self: _Parts, environment: Environment) -> Support:
        """Return whether the toolchain's packages are installed on that machine."""
        missing = [name for name in self.toolchain.packages if not environment.has(name)]
        if not missing:
            return YES
        return Support(
            False,
            f"{self.title} needs {wording.joined(missing)}, which that machine lacks.",
            "`make setup` installs what is in requirements.txt; or choose another backend.",
        )

    def overflows(self, environment: Environment) -> bool:
        """Return whether its 8-bit sums can overflow on that machine: not unless it says so."""
        return False

    def delegated(self, path: Path) -> float:
        """Return 1: its kernels are all made for speed unless it says otherwise."""
        return 1.0

    def load(self: _Parts, path: Path, threads: int) -> Predictor:
        """Return a file of it as a function from `[N, 3, H, W]` pictures to logits."""
        return self.format.load(path, self, threads)

    def float_multiply_adds(self: _Parts, path: Path, image_size: int, scratch: Path) -> int:
        """Return the multiply-adds that a file of it runs in float for one picture."""
        return self.format.float_multiply_adds(path, self, image_size, scratch)

    def multiply_adds(self: _Parts, path: Path, image_size: int, scratch: Path) -> int:
        """Return those in float: it takes no files that came in 8 bits, unless it says more."""
        return self.format.float_multiply_adds(path, self, image_size, scratch)
