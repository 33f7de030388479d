"""What the command line writes: files in the forms that its options name, and a text."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from quantcore import report
from quantcore.decide import Budgets
from quantcore.errors import RequestError
from quantcore.schema import Comparison, picked
from quantcore.settings import Settings

STDOUT = "-"
# What `--budget` takes: the name of the limit, and the unit its number is in.
BUDGETS = {
    "size": ("size_bytes", 1e6),
    "latency": ("latency_ms", 1.0),
    "accuracy": ("accuracy_lost_points", 1.0),
    "memory": ("peak_memory_bytes", 1e6),
}

JsonFile = Annotated[
    str | None, typer.Option("--json", help="Write JSON (schema 3) here; - for standard output.")
]
CsvFile = Annotated[
    str | None, typer.Option("--csv", help="Write CSV here; - for standard output.")
]
HtmlFile = Annotated[
    str | None, typer.Option("--html", help="Write the report, one HTML file that works offline.")
]
MarkdownFile = Annotated[
    str | None, typer.Option("--markdown", help="Write a summary for a ticket here; - likewise.")
]
SvgFile = Annotated[str | None, typer.Option("--svg", help="Write the plot as a picture here.")]
BudgetTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        help="size=MB, latency=MS, accuracy=POINTS lost or memory=MB at most; repeatable.",
    ),
]


@dataclass(frozen=True)
class Files:
    """Where each form goes: a path, `-` for standard output, None for nowhere."""

    json: str | None = None
    csv: str | None = None
    html: str | None = None
    markdown: str | None = None
    svg: str | None = None

    def require_folders(self) -> None:
        """Refuse a file that could not be written in the end, before anything is measured.

        Raises:
            RequestError: its folder is not there, it is a folder itself, or two forms would go to
                standard output.
        """
        targets = (self.json, self.csv, self.html, self.markdown, self.svg)
        if targets.count(STDOUT) > 1:
            raise RequestError(
                "Two forms on standard output could not be told apart.",
                "Write one to `-`, and name files for the others.",
            )
        for target in targets:
            if not target or target == STDOUT:
                continue
            path, remedy = Path(target).absolute(), "Name a file in a folder that is there."
            if not path.parent.is_dir():
                raise RequestError(f"{target} cannot be written: its folder is not there.", remedy)
            if path.is_dir():
                raise RequestError(f"{target} cannot be written: it is a folder.", remedy)

    def write(self, comparison: Comparison, budgets: Budgets, name: str = "") -> None:
        """Write every form that has a target; else a text to standard output.

        Args:
            comparison: what was measured.
            budgets: the limits that the verdict keeps.
            name: of the comparison; its models where left out.

        Raises:
            RequestError: a file cannot be written.
        """
        forms: tuple[tuple[str | None, Callable[[], str]], ...] = (
            (self.json, lambda: report.to_json(comparison)),
            (self.csv, lambda: report.to_csv(comparison)),
            (self.html, lambda: report.to_html(comparison, budgets, name=name)),
            (self.markdown, lambda: report.to_summary(comparison, budgets, name=name)),
            (self.svg, lambda: report.to_svg(comparison, budgets, name=name)),
        )
        for target, text in forms:
            if target:
                _save(target, text())
        if STDOUT not in {target for target, _ in forms}:
            typer.echo(report.to_text(comparison, budgets=budgets))


def budgets(texts: Sequence[str], settings: Settings) -> Budgets:
    """Return the limits that `NAME=NUMBER` texts set: size and memory in MB, latency in ms.

    Raises:
        RequestError: a name that is none, or no number.
    """
    limits: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        field, unit = picked(BUDGETS, name.strip(), "budget")
        if field in limits:
            raise RequestError(f"{name.strip()} has two budgets.", "Give one.")
        limits[field] = unit * _number(text, number)
    return Budgets.of(limits, settings)


def _number(text: str, number: str) -> float:
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise RequestError(f"{text!r} is not a budget.", "Write NAME=NUMBER: size=5, latency=2.5.")
    return limit


def _save(target: str, text: str) -> None:
    if target == STDOUT:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"{target} cannot be written: {error.strerror}.",
            "Name a file in a folder that is there.",
        ) from error
