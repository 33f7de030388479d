"""Write a variant's file in another format, in a child process."""

import json
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from quantcore.backends import runtime
from quantcore.engine import (
    Conversion,
    evaluation_logits,
    example,
    image_size,
    module_again,
    provenance,
    store_logits,
)
from quantcore.formats import Source, Written, exporter
from quantcore.images import is_grey, load_images, shorter_side
from quantcore.models import ModelInfo, find
from quantcore.sandbox import Outbox, progress_sender
from quantcore.schema import Artifact, Exported, ExportSpec
from quantcore.settings import physical_cores
from quantcore.workflows import ConversionInput


@dataclass(frozen=True)
class Export:
    """A file as it was made.

    Attributes:
        exported: the file and what was done on the way to it.
        provenance: what it must carry.
        reference: digest of the logits it is held against, where those are not its variant's.
    """

    exported: Exported
    provenance: dict[str, object]
    reference: str | None = None


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
    source = _source(spec, conversion, *files, connection)
    chosen = exporter(spec.format, dict(spec.options))
    written: list[Written] = []
    outbox = Outbox(folder)
    artifact = outbox.add(
        lambda path: written.append(chosen.export(source, path, tell)), spec.format
    )
    reference = None
    if written[0].reference is not None:
        logits = evaluation_logits(written[0].reference, spec.request, tell)
        reference = store_logits(outbox, logits)
    made = _exported(artifact, chosen.suffix, written[0])
    # As it comes back from a file: lists, no tuples.
    return Export(made, json.loads(json.dumps(source.provenance)), reference)


def _source(
    spec: ExportSpec,
    conversion: Conversion,
    file: Path,
    state: Path | None,
    connection: Connection,
) -> Source:
    import torch

    request, variant, backend = spec.request, spec.variant, runtime(spec.variant.backend)
    info = find(request.model)
    side = image_size(request, info)
    inputs = ConversionInput(request.model, info, load_images(request.images, info), side)
    backend.activate()
    return Source(
        variant=variant,
        backend=backend,
        inputs=inputs,
        file=file,
        module=lambda: (
            torch.jit.load(file, map_location="cpu")
            if info.is_program
            else module_again(inputs, variant, conversion, state, progress_sender(connection))
        ),
        example=example(side),
        provenance={
            **provenance(request, variant),
            **preparation(info, side),
            "format": spec.format,
        },
    )


def preparation(info: ModelInfo, side: int) -> dict[str, object]:
    """Return how `images.files.prepare` comes to the square that the model sees."""
    return {
        "resize_size": shorter_side(info, side),
        "interpolation": info.interpolation,
        "greyscale": is_grey(info),
    }


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
