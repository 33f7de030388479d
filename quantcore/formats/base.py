"""What a file format is: a frozen dataclass whose fields are its options, with a few verbs.

Only `supports` and the names are for every process. All else loads the format's libraries, and runs
in child processes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from quantcore.formats.programs import PythonCode
from quantcore.images import ConversionInput
from quantcore.models import ModelInfo, Subject
from quantcore.schema import Check, Exported, Pass, Report, Setting, Support, Target, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

# From pictures `[N, 3, H, W]`, normalised, to logits `[N, classes]`.
Predictor = Callable[["Tensor"], "Tensor"]
# The name under which every file carries what it was made from.
METADATA = "quantcore.json"
# What the layers of a converted model compute with: `float`, those of the float model as it is;
# `weights`, float numbers with other weights; `half`, weights in half precision; `static`, 8 bits
# in ranges that are fixed; `dynamic`, 8-bit weights and the range of each input as it comes.
LayerKind = Literal["float", "weights", "half", "static", "dynamic"]


class Kernels(Protocol):
    """What a format needs to know of the backend that its file is for.

    Attributes:
        name: of the backend.
        engine: torch's quantized engine that its numbers are packed for; None where it needs none.
        saturates: its numbers take all 8 bits, whose sums overflow in kernels that add products in
            16 bits.
        rounds_biases: its 8-bit layers add biases as whole numbers of their products' scale.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def engine(self) -> str | None: ...  # noqa: D102

    @property
    def saturates(self) -> bool: ...  # noqa: D102

    @property
    def rounds_biases(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Planned:
    """A variant that is to be exported, as far as it is known before anything is made.

    Attributes:
        subject: the model, and where it is asked for.
        variant: what is exported.
        settings: all of the variant's, defaults included.
        kernels: of the variant's backend.
        layer_kind: what it computes with.
    """

    subject: Subject
    variant: Variant
    settings: Mapping[str, Setting]
    kernels: Kernels
    layer_kind: LayerKind


@dataclass(frozen=True)
class Source:
    """What an export works on, in a child process.

    Attributes:
        variant: what is exported.
        kernels: of the variant's backend.
        layer_kind: what the variant computes with.
        inputs: the float model and its pictures.
        file: the variant's own file.
        file_format: the format of that file, which is the one its backend runs.
        module: makes the converted module as it was before it was traced, its engine set.
        example: pictures `[2, 3, S, S]` to trace with.
        provenance: goes into the file, for whoever finds it later.
    """

    variant: Variant
    kernels: Kernels
    layer_kind: LayerKind
    inputs: ConversionInput
    file: Path
    file_format: str
    module: Callable[[], "nn.Module"]
    example: "Tensor"
    provenance: Mapping[str, object]

    @property
    def info(self) -> ModelInfo:
        """Return the model's facts."""
        return self.inputs.model


@dataclass(frozen=True)
class Written:
    """What is known of a file from having written it; the fields are those of `schema.Exported`."""

    passes: tuple[Pass, ...]
    operators: tuple[str, ...]
    engines: tuple[str, ...]
    runs_on: str
    int8_operators: int
    total_operators: int


class Format(Protocol):
    """A file format.

    Attributes:
        name: as it stands in requests and on the command line.
        aliases: what else people call it.
        title: for people.
        summary: one plain sentence on who takes it.
        suffix: how its files end, with the dot.
        runtime: what runs it, for people.
        package: the distribution that is its runtime in Python.
        modules: what its runtime imports beside torch, which is not counted as the file's memory.
        is_exact: the file answers exactly as its variant; else its kernels round elsewhere.
        targets: where its runtime is shipped.
        phone_engine: torch's quantized engine whose kernels the runtime has on phones, if it has
            only those.
        needs_source: it is written from the model's Python, which programs come without.
        max_overhead: how much larger than its variant's state dict a file may be, as a share;
            None where nobody counts.
        templates: folder of the programs that run it: `kotlin.txt`, `swift.txt`, `cpp.txt`, any of
            them.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    title: ClassVar[str]
    summary: ClassVar[str]
    suffix: ClassVar[str]
    runtime: ClassVar[str]
    package: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    is_exact: ClassVar[bool]
    targets: ClassVar[tuple[Target, ...]]
    phone_engine: ClassVar[str | None]
    needs_source: ClassVar[bool]
    max_overhead: ClassVar[float | None]
    templates: ClassVar[Path]

    def supports(self, planned: Planned) -> Support:
        """Return whether the format can carry this variant, or why not. Needs no torch."""

    def versions(self) -> dict[str, str]:
        """Return the versions of what else than torch decides the file. Needs no torch."""

    def write(self, source: Source, path: Path, report: Report) -> Written:
        """Write the variant to `path`.

        Raises:
            UnsupportedError: it turned out that the format cannot carry the model.
        """

    def load(self, path: Path, kernels: Kernels, threads: int) -> Predictor:
        """Return the file as a function from `[N, 3, H, W]` pictures to logits, in its runtime."""

    def read_metadata(self, path: Path) -> dict[str, object]:
        """Return the provenance that the file carries; empty where it carries none."""

    def checks(self, path: Path) -> tuple[Check, ...]:
        """Return the checks by the format's own tools."""

    def python(self, kernels: Kernels) -> PythonCode:
        """Return the code that runs a file for these kernels as `load` does. Needs no torch."""

    def phone_facts(self, exported: Exported, version: str) -> dict[str, str]:
        """Return what the format's own templates ask for beside what all are given.

        `version` is that of the runtime in which the file was verified; empty where unknown.
        """


class MeasuredFormat(Format, Protocol):
    """A format that a backend runs, so that files of it are measured."""

    def float_multiply_adds(
        self, path: Path, kernels: Kernels, image_size: int, scratch: Path
    ) -> int:
        """Return the multiply-adds that the file runs in float for one picture of that side, in px.

        `scratch` is a folder for temporary files.
        """

    def module(self, path: Path, kernels: Kernels) -> "nn.Module | None":
        """Return the torch module that the file holds, its engine set; None where it holds none."""

    def relabel(
        self, source: Path, kernels: Kernels, metadata: Mapping[str, object], path: Path
    ) -> None:
        """Write the file again, with other metadata, for a backend that shares its numbers."""
