"""`python -m quantcore export`: one file or one of each format, with its verification report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from quantcore import report, uploads
from quantcore.api import Destination, Exporting
from quantcore.cli import arguments
from quantcore.cli.running import EXIT_INTERRUPTED
from quantcore.errors import RequestError, UnsupportedError
from quantcore.exports import exports
from quantcore.formats import FORMATS
from quantcore.schema import (
    ExportSpec,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Target,
    Variant,
    canonical,
    target_of,
)
from quantcore.settings import Settings
from quantcore.workflows import WORKFLOWS

EXIT_NOTHING_WRITTEN = 1
Tell = Callable[[str, float], None]


def export(
    model: Annotated[
        str, typer.Argument(help="bundled/NAME, torchvision/NAME or torchvision/NAME@random.")
    ],
    workflow: Annotated[str, typer.Option(help="How the numbers become 8 or 16 bits.")] = "float32",
    backend: Annotated[
        str | None, typer.Option(help="The kernels it is made for; float32 needs none.")
    ] = None,
    target: arguments.TargetName = None,
    format: Annotated[str | None, typer.Option(help=", ".join(FORMATS))] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every format, or every one for the target.")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the format: opset=18, bytecode=7.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="WORKFLOW.SETTING=VALUE, repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files; made if need be.")] = Path(),
    evaluation_images: Annotated[
        int, typer.Option(help="Pictures the file is verified on.")
    ] = 2_000,
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip of class folders or loose pictures.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side in px; the model's own if left out.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads per timed call.")] = None,
    bundle: Annotated[
        bool,
        typer.Option("--bundle", help="A zip as well: the file, code that runs it, its report."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Write the file though a check failed.")
    ] = False,
) -> None:
    """Export a variant as a file for another runtime, with a report that verifies it."""
    settings = Settings.from_env()
    uploads.use(settings.data)
    name_of_workflow = canonical(WORKFLOWS, workflow, "workflow")
    chosen, place = arguments.settings_of_one(set_ or [], name_of_workflow), target_of(target)
    measure = MeasureSpec.of(settings, threads)
    pictures = ImageSpec(str(images.resolve()) if images else None, evaluation_images, image_size)
    specs = [
        exports.planned(
            ModelSpec(model),
            Variant(workflow, backend, tuple(chosen.items())),
            name,
            arguments.options(option or []),
            pictures,
            measure,
            evaluation_images,
        )
        for name in _formats(format, all_, option, place)
    ]
    for spec in specs:
        fitting = exports.fits(spec, place)
        if not fitting.ok:
            typer.echo(f"{fitting.reason} {fitting.remedy}", err=True)
    destination = Destination(out, bundle, force, anyway)
    destination.require_free(*specs)
    written = _written(settings, specs, destination, is_all=all_)
    raise typer.Exit(0 if written else EXIT_NOTHING_WRITTEN)


def _formats(
    format: str | None, all_: bool, option: list[str] | None, target: Target | None
) -> list[str]:
    if all_ and option:
        raise RequestError(
            "Options belong to one format.", "Name it: --format onnx, without --all."
        )
    if all_ and format is not None:
        raise RequestError(
            f"--all is every format, and --format {format} is one.", "Take one of the two."
        )
    if all_:
        return [name for name in FORMATS if name in exports.formats_for(target)]
    if format is None:
        raise RequestError(
            "No format was asked for.", f"Take --format {', '.join(FORMATS)}, or --all."
        )
    return [format]


def _written(
    settings: Settings, specs: Sequence[ExportSpec], destination: Destination, *, is_all: bool
) -> int:
    """Return how many files were written; with `is_all`, what cannot be is passed over."""
    try:
        with Exporting(settings) as exporting:
            return sum(_is_written(exporting, spec, destination, is_all) for spec in specs)
    except KeyboardInterrupt:
        typer.echo("Stopped. What was made is kept; the same command goes on from there.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _is_written(
    exporting: Exporting, spec: ExportSpec, destination: Destination, is_all: bool
) -> bool:
    try:
        with _progress(spec) as tell:
            card = exporting.make(spec, tell)
    except UnsupportedError as error:
        if not is_all:
            raise
        typer.echo(f"{spec.format}: {error.reason} {error.remedy}\n")
        return False
    typer.echo(report.verification_report_to_text(card))
    paths = destination.deliver(exporting.store, card).paths
    if not paths:
        typer.echo("\nThe file was not written. To have it all the same, add --anyway.\n")
        return False
    typer.echo("".join(f"\nWritten: {path}" for path in paths) + "\n")
    return True


@contextmanager
def _progress(spec: ExportSpec) -> Iterator[Tell]:
    """Yield what tells how far an export is: a bar at a terminal, else a line for each stage."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(spec.format)
        return
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(spec.format, total=1.0)

        def tell(stage: str, share: float) -> None:
            progress.update(bar, completed=share, description=f"{spec.format}: {stage}")

        yield tell


class _Lines:
    """Prints every new stage of an export."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = ""

    def __call__(self, stage: str, share: float) -> None:
        if stage != self._shown:
            typer.echo(f"{share:4.0%}  {self._name}: {stage}", err=True)
            self._shown = stage
