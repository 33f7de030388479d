"""`python -m quantcore`: the same comparisons as the page, without a browser."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import to_json
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from quantcore import report
from quantcore.backends import BACKENDS
from quantcore.compare import Comparisons, plan
from quantcore.environment import current_environment
from quantcore.errors import QuantcoreError, RequestError
from quantcore.models.catalogue import offered
from quantcore.results import Comparison, JobView
from quantcore.settings import Settings
from quantcore.specs import CompareRequest, ImageSpec, MeasureSpec, ModelSpec, Setting
from quantcore.store import Store
from quantcore.workflows import WORKFLOWS

app = typer.Typer(
    help="Turn one vision model into its 8-bit variants, and measure what each costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(help="The converted files and measured figures kept on this machine.")
app.add_typer(cache_app, name="cache")

EXIT_NOTHING_MEASURED = 1
EXIT_BAD_REQUEST = 2
EXIT_INTERRUPTED = 130
WIDTH = 100


@app.command()
def models(
    contains: Annotated[str, typer.Argument(help="Only names with this in them.")] = "",
) -> None:
    """List the models: bundled ones, and all of torchvision's classifiers."""
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "parameters", "GMACs", "px", "top-1", "static and QAT through"):
        table.add_column(
            heading, justify="left" if heading in ("model", "static and QAT through") else "right"
        )
    for name, info in offered().items():
        if contains.lower() in name:
            table.add_row(
                name,
                f"{info.parameters / 1e6:.1f} M",
                f"{info.gflops:.2f}" if info.gflops is not None else "–",
                str(info.image_size),
                f"{info.published_top1:.1%}" if info.published_top1 is not None else "–",
                {"eager": "quantizable twin", "fx": "FX graph mode"}.get(
                    info.static_mode or "", "–"
                ),
            )
    _console().print(table)


@app.command()
def environment() -> None:
    """Print what figures measured here are true of, as JSON."""
    typer.echo(to_json(current_environment(), indent=2).decode())


@app.command()
def compare(
    model: Annotated[
        str, typer.Argument(help="bundled/NAME, torchvision/NAME or torchvision/NAME@random.")
    ],
    workflows: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(WORKFLOWS),
    backends: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(BACKENDS),
    evaluation_images: Annotated[int, typer.Option(help="Pictures that judge each file.")] = 2_000,
    calibration_images: Annotated[
        int | None, typer.Option(help="Pictures static calibrates on.")
    ] = None,
    qat_steps: Annotated[int | None, typer.Option(help="Training steps of QAT, at most.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side in px; the model's own if left out.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip of class folders or loose pictures.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures per timed call.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads per timed call.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="WORKFLOW.SETTING=VALUE, repeatable.")
    ] = None,
    json: Annotated[
        str | None, typer.Option(help="Write JSON (schema 1) here; - for standard output.")
    ] = None,
    csv: Annotated[str | None, typer.Option(help="Write CSV here; - for standard output.")] = None,
) -> None:
    """Compare the workflows of one model on the backends, all measured on this machine."""
    settings = Settings.from_env()
    _require_folders(json, csv)
    chosen = _workflow_settings(set_ or [])
    if calibration_images is not None:
        chosen.setdefault("static", {})["calibration_images"] = calibration_images
    if qat_steps is not None:
        chosen.setdefault("qat", {})["steps"] = qat_steps
    request = plan(
        ModelSpec(model),
        _names(workflows),
        _names(backends),
        chosen,
        ImageSpec(str(images.resolve()) if images else None, evaluation_images, image_size),
        MeasureSpec(threads=settings.threads if threads is None else threads, batch=batch),
    )
    comparison = _measured(settings, request)
    _write(comparison, json, csv)
    raise typer.Exit(0 if comparison.results else EXIT_NOTHING_MEASURED)


@cache_app.command("list")
def cache_list() -> None:
    """List what is kept, the latest used first."""
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "kind", "size", "last used"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    total = 0
    for entry in _store().list():
        total += entry.size_bytes
        table.add_row(entry.what, entry.kind, _megabytes(entry.size_bytes), entry.last_used)
    _console().print(table)
    typer.echo(f"{table.row_count} entries, {_megabytes(total)}")


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove everything that no running comparison uses."""
    freed = _store().clear()
    typer.echo(f"Removed {freed.artifacts} files, {_megabytes(freed.bytes)}.")


@cache_app.command("verify")
def cache_verify() -> None:
    """Read every file again and set aside those whose bytes have changed."""
    found = _store().verify()
    typer.echo(found.sentence())
    raise typer.Exit(0 if found.is_clean else 1)


def main() -> None:
    """Run the command line; every error is one sentence, and its exit code says whose it was."""
    try:
        app()
    except RequestError as error:
        _fail(error, EXIT_BAD_REQUEST)
    except QuantcoreError as error:
        _fail(error, EXIT_NOTHING_MEASURED)


def _fail(error: QuantcoreError, code: int) -> None:
    typer.echo(f"{error.reason}\n{error.remedy}".strip(), err=True)
    sys.exit(code)


def _measured(settings: Settings, request: CompareRequest) -> Comparison:
    try:
        with _comparisons(settings) as comparisons:
            return _run(comparisons, comparisons.start(request)).comparison
    except KeyboardInterrupt:
        typer.echo(
            "Stopped. What was measured is kept; the same command goes on from there.", err=True
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None


@contextmanager
def _comparisons(settings: Settings) -> Iterator[Comparisons]:
    comparisons = Comparisons(settings)
    try:
        yield comparisons
    finally:
        comparisons.close()


def _run(comparisons: Comparisons, job_id: str) -> JobView:
    console = Console(stderr=True)
    if console.is_terminal:
        return _run_with_bar(comparisons, job_id, console)
    return _run_with_lines(comparisons, job_id)


def _run_with_bar(comparisons: Comparisons, job_id: str, console: Console) -> JobView:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        view = comparisons.view(job_id)
        bar = progress.add_task("starting", total=1.0)
        while view.state == "running":
            progress.update(bar, completed=view.share, description=_stage(view))
            view = comparisons.wait(job_id, timeout_s=0.25)
    return view


def _run_with_lines(comparisons: Comparisons, job_id: str) -> JobView:
    view, told = comparisons.view(job_id), ""
    while view.state == "running":
        stage = _stage(view)
        if stage != told:
            left = f", about {view.seconds_left:.0f} s left" if view.seconds_left else ""
            typer.echo(f"{view.share:4.0%}  {stage}{left}", err=True)
            told = stage
        view = comparisons.wait(job_id, timeout_s=1.0)
    return view


def _stage(view: JobView) -> str:
    for cell in view.cells:
        if cell.state == "running":
            where = f" on {cell.backend}" if cell.backend else ""
            return f"{cell.workflow}{where}: {cell.stage}"
    return "waiting"


def _write(comparison: Comparison, json: str | None, csv: str | None) -> None:
    written_to_stdout = "-" in (json, csv)
    if json:
        _save(json, report.to_json(comparison))
    if csv:
        _save(csv, report.to_csv(comparison))
    if not written_to_stdout:
        typer.echo(report.to_text(comparison))


def _require_folders(*targets: str | None) -> None:
    """Refuse a file that could not be written in the end, before anything is measured."""
    for target in targets:
        if target and target != "-" and not Path(target).absolute().parent.is_dir():
            raise RequestError(
                f"{target} cannot be written: its folder is not there.",
                "Name a file in a folder that is there.",
            )


def _save(target: str, text: str) -> None:
    if target == "-":
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        Path(target).write_text(text)
    except OSError as error:
        raise RequestError(
            f"{target} cannot be written: {error.strerror}.",
            "Name a file in a folder that is there.",
        ) from error


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _workflow_settings(assignments: list[str]) -> dict[str, dict[str, Setting]]:
    chosen: dict[str, dict[str, Setting]] = {}
    for text in assignments:
        target, equals, value = text.partition("=")
        name, dot, setting = target.partition(".")
        if not (equals and dot and setting):
            raise RequestError(
                f"{text!r} is not a setting.",
                "Write WORKFLOW.SETTING=VALUE: static.observer=minmax.",
            )
        chosen.setdefault(name, {})[setting] = _value(value)
    return chosen


def _value(text: str) -> Setting:
    """Return the value as text, None or names; the setting itself reads numbers and truth."""
    if text.lower() in ("none", "default"):
        return None
    return tuple(_names(text)) if "," in text else text


def _store() -> Store:
    return Store.open(Settings.from_env())


def _console() -> Console:
    return Console(width=WIDTH, highlight=False, soft_wrap=True)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.2f} MB"
