"""`python -m quantcore`: the same comparisons as the page, without a browser."""

import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

from quantcore import wording
from quantcore.api import model_file
from quantcore.backends import BACKENDS, MADE_FOR, default_backends
from quantcore.cache import Store
from quantcore.cli import arguments, outputs
from quantcore.cli.export import export
from quantcore.cli.running import OWNER, measured, tell
from quantcore.decide import Budgets
from quantcore.engine import default_workflows, misfits, plan, require_used
from quantcore.errors import QuantcoreError, RequestError
from quantcore.jobs import sweep as sweeps
from quantcore.models import ModelInfo, offered
from quantcore.schema import (
    CompareRequest,
    Comparison,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Target,
    current_environment,
    target_of,
    untried_torch,
)
from quantcore.service import Service
from quantcore.settings import Settings
from quantcore.workflows import WORKFLOWS


def _names(registry: Iterable[str]) -> str:
    return ", ".join(registry)


app = typer.Typer(
    help="Turn one vision model into smaller variants, and measure what each costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(help="The converted files and measured figures kept on this machine.")
app.add_typer(cache_app, name="cache")

MODEL_HELP = (
    "bundled/NAME, torchvision/NAME, torchvision/NAME@random, or a file: weights (state dict, "
    "safetensors), TorchScript, .pt2 or .onnx."
)
EXIT_NOTHING_MEASURED = 1
EXIT_BAD_REQUEST = 2
# A model with its facts stands on one line, which a narrow terminal breaks.
WIDTH = 200


@app.command()
def models(
    contains: Annotated[str, typer.Argument(help="Only names with this in them.")] = "",
    target: arguments.TargetName = None,
) -> None:
    """List the models: bundled ones, and all of torchvision's classifiers.

    For a target, each with the workflows that a first comparison is of.
    """
    place = target_of(target)
    table = Table(box=None, pad_edge=False)
    table.add_column("model")
    for heading in ("parameters", "GMACs", "px"):
        table.add_column(heading, justify="right")
    for heading in ("size", "accuracy", "static and QAT through"):
        table.add_column(heading)
    if place:
        table.add_column("first comparison")
    for name, info in offered().items():
        if contains.lower() in name:
            first = [", ".join(default_workflows(info))] if place else []
            table.add_row(name, *_facts(info), *first)
    _console().print(table)
    if place and (names := default_backends(place, current_environment())):
        typer.echo(f"A first comparison for {MADE_FOR[place]} is on {wording.joined(names)}.")


def _facts(info: ModelInfo) -> tuple[str, ...]:
    """Return a model's parameters, work, side, size, accuracy and way to 8 bits."""
    return (
        f"{info.parameters / 1e6:.1f} M",
        f"{info.gflops:.2f}" if info.gflops is not None else "–",
        str(info.image_size),
        info.figures.size if info.figures else "–",
        info.figures.accuracy if info.figures else "–",
        {"eager": "quantizable twin", "fx": "FX graph mode"}.get(info.static_mode or "", "–"),
    )


@app.command()
def environment() -> None:
    """Print what figures measured here are true of, as JSON."""
    typer.echo(to_json(current_environment(), indent=2).decode())
    # Beside the JSON, not in it.
    if warning := untried_torch():
        typer.echo(warning, err=True)


@app.command()
def compare(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    target: arguments.TargetName = None,
    workflows: Annotated[
        str | None,
        typer.Option(
            help=f"Comma-separated; those of the target unless named: {_names(WORKFLOWS)}."
        ),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            help=f"Comma-separated; those of the target unless named: {_names(BACKENDS)}."
        ),
    ] = None,
    evaluation_images: Annotated[
        int, typer.Option(help="Pictures each file is evaluated on.")
    ] = ImageSpec.evaluation_images,
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
    labels: Annotated[
        Path | None, typer.Option(help="For a file: class names, one a line or a JSON list.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures per timed call.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads per timed call.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="WORKFLOW.SETTING=VALUE, repeatable.")
    ] = None,
    budget: outputs.BudgetTexts = None,
    json: outputs.JsonFile = None,
    csv: outputs.CsvFile = None,
    html: outputs.HtmlFile = None,
    markdown: outputs.MarkdownFile = None,
    svg: outputs.SvgFile = None,
) -> None:
    """Compare the workflows of one model on the backends, all measured on this machine."""
    settings = Settings.from_env()
    files = outputs.Files(json, csv, html, markdown, svg)
    budgets = outputs.budgets(budget or [], settings)
    files.require_folders()
    place = target_of(target)
    named = arguments.names_or_none(backends, "--backends")
    _say_misfits(named or (), place)
    chosen = arguments.workflow_settings(
        set_ or [], {"static.calibration_images": calibration_images, "qat.steps": qat_steps}
    )

    def ask(spec: ModelSpec) -> list[CompareRequest]:
        request = plan(
            spec,
            arguments.names_or_none(workflows, "--workflows"),
            named,
            chosen,
            ImageSpec(str(images.resolve()) if images else None, evaluation_images, image_size),
            MeasureSpec.of(settings, threads, batch),
            place,
        )
        require_used(arguments.workflow_settings(set_ or []), request.workflows)
        return [request]

    if model_file.is_file(model):
        _answer(_measured_file(settings, model, labels, ask), files, budgets)
    if labels is not None:
        raise RequestError(f"{model} has its own class names.", "Leave --labels out.")
    _answer(measured(settings, ask(ModelSpec(model))), files, budgets)


@app.command()
def sweep(
    request: Annotated[
        Path, typer.Argument(help="TOML: models, workflows, backends and lists of settings.")
    ],
    target: arguments.TargetName = None,
    budget: outputs.BudgetTexts = None,
    json: outputs.JsonFile = None,
    csv: outputs.CsvFile = None,
    html: outputs.HtmlFile = None,
    markdown: outputs.MarkdownFile = None,
    svg: outputs.SvgFile = None,
) -> None:
    """Compare several models and settings in one go, as a file asks for; examples/sweep.toml."""
    settings = Settings.from_env()
    files = outputs.Files(json, csv, html, markdown, svg)
    budgets = outputs.budgets(budget or [], settings)
    files.require_folders()
    request_file = sweeps.read_sweep(
        _text(request), settings.threads, request.absolute().parent, str(request)
    )
    if target is not None:
        request_file = replace(request_file, target=target_of(target))
    _say_misfits(request_file.backends or (), request_file.target)
    name = request_file.name or request.stem
    _answer(
        measured(settings, request_file.requests(settings.time_budget_s), name),
        files,
        budgets,
        name,
    )


app.command()(export)


@app.command()
def scheduler(
    host: Annotated[
        str, typer.Option(help="Where it listens; any other than this runs what others send.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Its port.")] = 8786,
) -> None:
    """Hand out cells to workers on several machines, until Ctrl-C."""
    from quantcore.jobs import cluster

    cluster.serve_scheduler(host, port, typer.echo)


@app.command()
def worker(
    address: Annotated[str, typer.Argument(help="Of the scheduler: tcp://HOST:8786.")],
) -> None:
    """Measure on this machine what a scheduler hands out, until Ctrl-C."""
    from quantcore.jobs import cluster

    # A setting that cannot be read is said now, not in every cell.
    Settings.from_env()
    cluster.serve_worker(address, typer.echo)


@cache_app.command("list")
def cache_list() -> None:
    """List what is kept, the latest used first."""
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "kind", "size", "last used"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    total = 0
    for entry in _store().maintenance.entries():
        total += entry.size_bytes
        table.add_row(entry.what, entry.kind, _megabytes(entry.size_bytes), entry.last_used)
    _console().print(table)
    typer.echo(f"{table.row_count} entries, {_megabytes(total)}")


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove everything that no running comparison uses."""
    freed = _store().maintenance.clear()
    typer.echo(f"Removed {freed.artifacts} files, {_megabytes(freed.bytes)}.")


@cache_app.command("verify")
def cache_verify() -> None:
    """Read every file again and set aside those whose bytes have changed."""
    verification = _store().maintenance.verify()
    typer.echo(verification.sentence())
    raise typer.Exit(0 if verification.is_clean else 1)


def main() -> None:
    """Run the command line; every error is one sentence, and its exit code says whose it was."""
    # Who ends the command politely gets what Ctrl-C gets: its processes ended, and one sentence.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except RequestError as error:
        _fail(error, EXIT_BAD_REQUEST)
    except QuantcoreError as error:
        _fail(error, EXIT_NOTHING_MEASURED)


def _fail(error: QuantcoreError, code: int) -> None:
    typer.echo(f"{error.reason}\n{error.remedy}".strip(), err=True)
    sys.exit(code)


def _say_misfits(backends: Sequence[str], target: Target | None) -> None:
    """Say which of the named backends are not made for the target; they are measured anyway."""
    for sentence in misfits(backends, target):
        typer.echo(sentence, err=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RequestError(f"{path} cannot be read: {why}.", "Name a TOML file.") from error


def _answer(
    comparison: Comparison, files: outputs.Files, budgets: Budgets, name: str = ""
) -> NoReturn:
    files.write(comparison, budgets, name)
    raise typer.Exit(0 if comparison.results else EXIT_NOTHING_MEASURED)


def _measured_file(
    settings: Settings,
    file: str,
    labels: Path | None,
    ask: Callable[[ModelSpec], list[CompareRequest]],
) -> Comparison:
    """Return the comparison of a model file, which is looked at first."""

    def requests(service: Service) -> list[CompareRequest]:
        return ask(model_file.model(service, file, OWNER, labels, tell))

    return measured(settings, requests)


def _store() -> Store:
    return Store.open(Settings.from_env())


def _console() -> Console:
    return Console(width=WIDTH, highlight=False, soft_wrap=True)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.2f} MB"
