"""Exports and their verification reports: plain frozen data, to and from JSON.

A `VerificationReport` is true of one file, by its digest, as freshly loaded on the machine it
names.
"""

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from quantcore.errors import RequestError
from quantcore.schema.environment import Environment
from quantcore.schema.request import CompareRequest, Options, Variant
from quantcore.schema.result import Accuracy, Artifact, ColdStart, Latency, Speedup


@dataclass(frozen=True)
class ExportSpec:
    """A requested file: one variant of a model, in one format.

    Attributes:
        request: the model, its pictures and how it is timed; of its variants only float32 matters.
        variant: to export.
        format: a name in `FORMATS`.
        options: the format's own settings, by name, sorted: `(("bytecode", 8),)`.
        images: how many evaluation pictures it is verified on, at most.
    """

    request: CompareRequest
    variant: Variant
    format: str
    options: Options = ()
    images: int = 2_000


@dataclass(frozen=True)
class Pass:
    """One step on the way to the file: applied, or left out and why."""

    name: str
    applied: bool
    reason: str = ""


@dataclass(frozen=True)
class Exported:
    """A file as it was made.

    Attributes:
        artifact: its digest, size and format.
        suffix: how its name ends, with the dot.
        passes: what was done to the graph, in order.
        operators: every operator the file needs, sorted, for a selective build.
        engines: quantized engines that can run it; empty where it needs none.
        runs_on: the oldest runtime that loads it, in words.
        int8_operators: how many of its operators run in 8 bits.
        total_operators: of how many.
    """

    artifact: Artifact
    suffix: str
    passes: tuple[Pass, ...]
    operators: tuple[str, ...]
    engines: tuple[str, ...]
    runs_on: str
    int8_operators: int
    total_operators: int


@dataclass(frozen=True)
class RuntimeLatency:
    """Milliseconds per call in one runtime, or why it was not measured there.

    `speedup` is over the variant's own file, in rounds in which the two took turns.
    """

    runtime: str
    latency_ms: Latency | None
    reason: str = ""
    speedup: Speedup | None = None


@dataclass(frozen=True)
class Check:
    """One check of a file: whether it passed, and the finding in a sentence."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Guess:
    """A class that the file names: its index, its label, and the probability, 0 to 1."""

    index: int
    label: str
    share: float


@dataclass(frozen=True)
class Sample:
    """A picture to try the file with, and the file's answer to it on this machine.

    Attributes:
        artifact: the picture in the store, a PNG as large as the model sees it.
        guesses: the five surest classes, surest first.
    """

    artifact: Artifact
    guesses: tuple[Guess, ...]


@dataclass(frozen=True)
class VerificationReport:
    """The facts of an exported file, measured in a fresh process.

    Attributes:
        zipped_bytes: by how much an app's download grows.
        accuracy: top-1 of the file; None without labels.
        agreement: share of pictures on which it names the class its variant names; None for random
            weights.
        largest_logit_difference: between the file and its variant, over all pictures.
        latency: in each runtime that could run it here.
        peak_memory_bytes: most resident memory above the runtime's own while it answers.
        checks: of the file; the report passes if all do.
        not_verified: sentences on what was not checked, such as a phone's latency.
        notes: sentences about this file for its reader.
        provenance: as the file carries it: labels, preparation of pictures, source.
        sample: a picture to try the file with; None where the file does not load.
        runtime_version: of what ran the file.
        cold_start: until its first answer in a new process; None where it does not load.
    """

    spec: ExportSpec
    exported: Exported
    environment: Environment
    created: str
    zipped_bytes: int
    images: int
    accuracy: Accuracy | None
    agreement: float | None
    largest_logit_difference: float | None
    latency: tuple[RuntimeLatency, ...]
    peak_memory_bytes: int
    checks: tuple[Check, ...]
    not_verified: tuple[str, ...]
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    sample: Sample | None = None
    runtime_version: str = ""
    cold_start: ColdStart | None = None

    @property
    def passed(self) -> bool:
        """Return whether every check passed."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> str:
        """Return the report as JSON, indented."""
        return _REPORT.dump_json(self, indent=2).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "VerificationReport":
        """Return the report that `to_json` wrote.

        Raises:
            RequestError: the text is not such a report.
        """
        try:
            return _REPORT.validate_json(text)
        except ValueError as error:
            raise RequestError("This file is not a verification report.", str(error)) from error


_REPORT = TypeAdapter(VerificationReport)
