"""`python -m quantcore export`: one file or one of each format, each with its proof card."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from quantcore import report, uploads
from quantcore.cache import Store
from quantcore.cli import arguments
from quantcore.engine import Job, origins
from quantcore.errors import RequestError, UnsupportedError
from quantcore.export import PROOF_SUFFIX, deliver, exports, pack, pack_name, require_free
from quantcore.formats import EXPORTERS
from quantcore.sandbox import ProcessPool, never_stop
from quantcore.schema import (
    ExportSpec,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Variant,
    VerificationReport,
    canonical,
)
from quantcore.settings import Settings
from quantcore.workflows import WORKFLOWS

EXIT_NOTHING_WRITTEN = 1
EXIT_INTERRUPTED = 130
Tell = Callable[[str, float], None]


def export(
    model: Annotated[
        str, typer.Argument(help="bundled/NAME, torchvision/NAME or torchvision/NAME@random.")
    ],
    workflow: Annotated[str, typer.Option(help="How the numbers become 8-bit.")] = "float32",
    backend: Annotated[
        str | None, typer.Option(help="The kernels it is made for; float32 needs none.")
    ] = None,
    format: Annotated[str | None, typer.Option(help=", ".join(EXPORTERS))] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every format, one after the other.")] = False,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the format: opset=18, bytecode=7.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="WORKFLOW.SETTING=VALUE, repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files; made if need be.")] = Path(),
    evaluation_images: Annotated[int, typer.Option(help="Pictures the proof is over.")] = 2_000,
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip of class folders or loose pictures.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side in px; the model's own if left out.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads per timed call.")] = None,
    bundle: Annotated[
        bool,
        typer.Option("--bundle", help="A zip as well: the file, code that runs it, its proof."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Write the file though a check failed.")
    ] = False,
) -> None:
    """Export a variant as a file for another runtime, with proof that the file works."""
    settings = Settings.from_env()
    uploads.use(settings.data)
    name_of_workflow = canonical(WORKFLOWS, workflow, "workflow")
    chosen = arguments.workflow_settings(set_ or []).get(name_of_workflow, {})
    measure = MeasureSpec(threads=settings.threads if threads is None else threads)
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
        for name in _formats(format, all_, option)
    ]
    desk = _Desk(settings, out, bundle, force, anyway)
    require_free(out, [name for spec in specs for name in desk.names(spec)], force=force)
    written = desk.serve(specs, is_all=all_)
    raise typer.Exit(0 if written else EXIT_NOTHING_WRITTEN)


def _formats(format: str | None, all_: bool, option: list[str] | None) -> list[str]:
    if all_ and option:
        raise RequestError(
            "Options belong to one format.", "Name it: --format onnx, without --all."
        )
    if all_:
        return list(EXPORTERS)
    if format is None:
        raise RequestError(
            "No format was asked for.", f"Take --format {', '.join(EXPORTERS)}, or --all."
        )
    return [format]


@dataclass(frozen=True)
class _Desk:
    """Makes files and hands them out, one after the other."""

    settings: Settings
    out: Path
    bundle: bool
    force: bool
    anyway: bool

    def names(self, spec: ExportSpec) -> list[str]:
        """Return what would be written of a spec: the file, its proof, and the zip if wanted."""
        name = exports.file_name(spec)
        return [name, f"{name}{PROOF_SUFFIX}", *([pack_name(name)] if self.bundle else [])]

    def serve(self, specs: list[ExportSpec], *, is_all: bool) -> int:
        """Return how many files were written; with `is_all`, what cannot be is passed over."""
        limits = self.settings.memory_limit_bytes, self.settings.timeout_s
        calls = [uploads.use_call(self.settings.data)]
        try:
            with (
                Store.open(self.settings) as store,
                ProcessPool(exports.PRELOADED_MODULES, *limits, calls=calls) as pool,
            ):
                return sum(self._served(store, pool, spec, is_all) for spec in specs)
        except KeyboardInterrupt:
            typer.echo(
                "Stopped. What was made is kept; the same command goes on from there.", err=True
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None

    def _served(self, store: Store, pool: ProcessPool, spec: ExportSpec, is_all: bool) -> bool:
        try:
            with _progress(spec) as tell:
                made = store.made_from(*origins(spec.request))
                job = Job(spec.request, self.settings, made, pool, tell, never_stop)
                card = exports.make(job, spec)
        except UnsupportedError as error:
            if not is_all:
                raise
            typer.echo(f"{spec.format}: {error.reason} {error.remedy}\n")
            return False
        typer.echo(report.card_to_text(card))
        return self._handed_out(store, card)

    def _handed_out(self, store: Store, card: VerificationReport) -> bool:
        if not (card.passed or self.anyway):
            typer.echo("\nThe file was not written. To have it all the same, add --anyway.\n")
            return False
        name, proof, *packed = self.names(card.spec)
        with store.using(*exports.stored(card)) as (path, *sample):
            contents: dict[str, Path | bytes] = {name: path, proof: card.to_json().encode()}
            if packed:
                contents[packed[0]] = pack(card, name, path, sample[0] if sample else None)
            paths = deliver(self.out, contents, force=self.force)
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
        self._told = ""

    def __call__(self, stage: str, share: float) -> None:
        if stage != self._told:
            typer.echo(f"{share:4.0%}  {self._name}: {stage}", err=True)
            self._told = stage
