"""What a file format is: a frozen dataclass whose fields are its options, with a few verbs.

Only `supports` and the names are for every process. All else loads the format's libraries, and runs
in child processes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from quantcore.backends import Backend, Predictor
from quantcore.models import ModelInfo
from quantcore.schema import Check, Pass, Variant
from quantcore.workflows import ConversionInput, Report, Subject, Support

if TYPE_CHECKING:
    from torch import Tensor, nn

# The name under which every file carries what it was made from.
METADATA = "quantcore.json"


@dataclass(frozen=True)
class Source:
    """What an export works on, in a child whose quantized engine is set to the variant's.

    Attributes:
        variant: what is exported.
        backend: the variant's.
        inputs: the float model and its pictures.
        file: the variant's own TorchScript file.
        module: makes the converted module as it was before it was traced.
        example: pictures `[2, 3, S, S]` to trace with.
        provenance: goes into the file, for whoever finds it later.
    """

    variant: Variant
    backend: Backend
    inputs: ConversionInput
    file: Path
    module: Callable[[], "nn.Module"]
    example: "Tensor"
    provenance: Mapping[str, object]

    @property
    def info(self) -> ModelInfo:
        """Return the model's facts."""
        return self.inputs.model


@dataclass(frozen=True)
class Written:
    """What is known of a file from having written it; the fields are those of `cards.Exported`.

    `reference` answers `[N, 3, H, W]` as the file should, where that is not as its variant does: a
    format that converts the float model itself has numbers of its own.
    """

    passes: tuple[Pass, ...]
    operators: tuple[str, ...]
    engines: tuple[str, ...]
    runs_on: str
    int8_operators: int
    total_operators: int
    reference: Predictor | None = None


class Exporter(Protocol):
    """A file format.

    Attributes:
        name: as it stands in requests and on the command line.
        title: for people.
        summary: one plain sentence on who takes it.
        suffix: how its files end, with the dot.
        runtime: what runs it, for people.
        modules: what its runtime imports, which is not counted as the file's memory.
        is_exact: the file answers exactly as its variant; else its kernels round elsewhere.
        converts: it quantizes the float model itself, so an 8-bit file has numbers of its own.
        elsewhere: the backend whose kernels the runtime has on phones, if it has only those.
        needs_source: it is written from the model's Python, which programs come without.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    suffix: ClassVar[str]
    runtime: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    is_exact: ClassVar[bool]
    converts: ClassVar[bool]
    elsewhere: ClassVar[str | None]
    needs_source: ClassVar[bool]

    def supports(self, subject: Subject, variant: Variant) -> Support:
        """Return whether the format can carry this variant, or why not. Needs no torch."""

    def versions(self) -> dict[str, str]:
        """Return the versions of what else than torch decides the file. Needs no torch."""

    def export(self, source: Source, path: Path, report: Report) -> Written:
        """Write the file to `path`.

        Raises:
            UnsupportedError: it turned out that the format cannot carry the model.
        """

    def load(self, path: Path, backend: Backend, threads: int) -> Predictor:
        """Return the file as a function from `[N, 3, H, W]` pictures to logits, in its runtime."""

    def read_metadata(self, path: Path) -> dict[str, object]:
        """Return the provenance that the file carries; empty where it carries none."""

    def checks(self, path: Path) -> tuple[Check, ...]:
        """Return what the format's own tools find in the file."""
