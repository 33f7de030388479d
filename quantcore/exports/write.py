"""Write a variant's file in another format, in a child process."""

import json
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from quantcore.backends import example, runtime
from quantcore.engine import (
    Conversion,
    conversion_input,
    module_again,
    provenance,
)
from quantcore.formats import Source, Written, file_format
from quantcore.sandbox import Outbox, progress_sender
from quantcore.schema import Artifact, Exported, ExportSpec, Report
from quantcore.settings import physical_cores
from quantcore.workflows import workflow


@dataclass(frozen=True)
class Export:
    """A file as it was made.

    Attributes:
        exported: the file and what was done on the way to it.
        provenance: what it must carry.
    """

    exported: Exported
    provenance: dict[str, object]


def run_export_child(
    connection: Connection,
    spec: ExportSpec,
    conversion: Conversion,
    files: tuple[Path, Path | None],
    folder: Path,
) -> Export:
    """Write the file and put it in the outbox.

    Args:
        connection: to the process that asked, for progress.
        spec: which file.
        conversion: the variant's own.
        files: the variant's TorchScript file, and its state dict if that was kept.
        folder: the outbox.
    """
    import torch

    torch.set_num_threads(physical_cores())
    tell = progress_sender(connection)
    chosen = file_format(spec.format, dict(spec.options))
    written: list[Written] = []
    outbox = Outbox(folder)
    with TemporaryDirectory(dir=folder) as scratch:
        source = _source(spec, conversion, *files, tell, Path(scratch))
        artifact = outbox.add(
            lambda path: written.append(chosen.write(source, path, tell)), spec.format
        )
    exported = _exported(artifact, chosen.suffix, written[0])
    # As it comes back from a file: lists, no tuples.
    return Export(exported, json.loads(json.dumps(source.provenance)))


def _source(
    spec: ExportSpec,
    conversion: Conversion,
    file: Path,
    state: Path | None,
    report: Report,
    scratch: Path,
) -> Source:
    request, variant, backend = spec.request, spec.variant, runtime(spec.variant.backend)
    inputs = conversion_input(request, scratch)
    return Source(
        variant=variant,
        kernels=backend,
        layer_kind=workflow(variant.workflow, dict(variant.settings)).layer_kind(backend),
        inputs=inputs,
        file=file,
        file_format=conversion.artifact.format,
        module=lambda: module_again(inputs, variant, conversion, file, state, report),
        example=example(inputs.image_size),
        provenance={**provenance(request, variant), "format": spec.format},
    )


def _exported(artifact: Artifact, suffix: str, written: Written) -> Exported:
    return Exported(
        artifact=artifact,
        suffix=suffix,
        passes=written.passes,
        operators=written.operators,
        engines=written.engines,
        runs_on=written.runs_on,
        int8_operators=written.int8_operators,
        total_operators=written.total_operators,
    )
