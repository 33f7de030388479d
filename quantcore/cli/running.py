"""A comparison run from the command line: its progress, and what Ctrl-C does."""

from collections.abc import Callable, Sequence
from contextlib import closing

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from quantcore.jobs import sweep as sweeps
from quantcore.schema import CompareRequest, Comparison, JobView
from quantcore.service import Service
from quantcore.settings import Settings

EXIT_INTERRUPTED = 130
OWNER = "command line"
ASKED_BY = "the command line"


def tell(stage: str) -> None:
    """Write a line about what is done at the moment to standard error."""
    typer.echo(stage, err=True)


def measured(
    settings: Settings,
    requests: Sequence[CompareRequest] | Callable[[Service], list[CompareRequest]],
    name: str = "",
) -> Comparison:
    """Return the comparison that these requests ask for, showing its progress.

    Args:
        settings: of this process.
        requests: what is compared, or a function that finds out with the service.
        name: of the comparison.

    Raises:
        typer.Exit: it was interrupted.
    """
    try:
        with closing(Service(settings)) as service:
            listed = requests(service) if callable(requests) else requests
            job_id = service.start(listed, owner=OWNER, asked_by=ASKED_BY, name=name)
            try:
                return _run(service, job_id).comparison
            except KeyboardInterrupt:
                # Else a server on the same data folder would go on with it.
                service.cancel(job_id)
                raise
    except KeyboardInterrupt:
        typer.echo(
            "Stopped. What was measured is kept; the same command goes on from there.", err=True
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _run(service: Service, job_id: str) -> JobView:
    console = Console(stderr=True)
    if console.is_terminal:
        return _run_with_bar(service, job_id, console)
    return _run_with_lines(service, job_id)


def _run_with_bar(service: Service, job_id: str, console: Console) -> JobView:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        view = service.view(job_id)
        names = _cell_names(view)
        bar = progress.add_task("starting", total=1.0)
        while view.is_open:
            progress.update(bar, completed=view.share, description=_stage(view, names))
            view = service.wait(job_id, timeout_s=0.25)
    return view


def _run_with_lines(service: Service, job_id: str) -> JobView:
    view, shown = service.view(job_id), ""
    names = _cell_names(view)
    while view.is_open:
        stage = _stage(view, names)
        if stage != shown:
            left = f", about {view.seconds_left:.0f} s left" if view.seconds_left else ""
            typer.echo(f"{view.share:4.0%}  {stage}{left}", err=True)
            shown = stage
        view = service.wait(job_id, timeout_s=1.0)
    return view


def _cell_names(view: JobView) -> list[str]:
    comparison = view.comparison
    return sweeps.labels_of((comparison.request, *comparison.also))


def _stage(view: JobView, names: Sequence[str]) -> str:
    for cell, name in zip(view.cells, names, strict=True):
        if cell.state == "running":
            return f"{name}: {cell.stage}"
    return "waiting"
