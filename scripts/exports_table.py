"""Write docs/exports.md: every bundled model, workflow and backend in every format.

`python -m scripts.exports_table [--models a,b] [--rows N] [--images N]`. What was exported before
is taken from the data folder, so that it goes on where it was stopped. `--rows` makes only so many
rows more, and leaves the file alone unless all are there.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quantcore import wording
from quantcore.backends import BACKENDS
from quantcore.cache import Store
from quantcore.engine import CellContext, plan
from quantcore.errors import QuantcoreError, UnsupportedError
from quantcore.exports import exports
from quantcore.formats import FORMATS
from quantcore.models import offered
from quantcore.sandbox import ProcessPool, never_stop
from quantcore.schema import (
    MeasureSpec,
    ModelSpec,
    Variant,
    VerificationReport,
    current_environment,
)
from quantcore.settings import Settings
from quantcore.workflows import WORKFLOWS

TABLE = Path(__file__).parents[1] / "docs" / "exports.md"


@dataclass(frozen=True)
class Row:
    """One variant: what became of it in each format, a card or the sentences of why not."""

    model: str
    variant: Variant
    cells: dict[str, VerificationReport | str]

    @property
    def is_clean(self) -> bool:
        """Return whether every format either passed every check or was refused with a reason."""
        return all(isinstance(cell, str) or cell.passed for cell in self.cells.values())


def main() -> int:
    """Export what is asked for, and write the table if it is whole; 1 where a card is red."""
    parser = argparse.ArgumentParser(prog="python -m scripts.exports_table", description=__doc__)
    bundled = [name for name in offered() if name.startswith("bundled/")]
    parser.add_argument("--models", default=",".join(bundled), help="comma-separated")
    parser.add_argument(
        "--images", type=int, default=2_000, help="how many each file is evaluated on"
    )
    parser.add_argument("--rows", type=int, help="how many rows to make; all unless given")
    options = parser.parse_args()
    models = options.models.split(",")
    cells = [
        (model, variant)
        for model in models
        for variant in plan(ModelSpec(model), list(WORKFLOWS), list(BACKENDS)).variants
    ]
    rows = []
    for row in _rows(cells[: options.rows], Settings.from_env(), options.images):
        print(_line(row, {}), flush=True)
        rows.append(row)
    if len(rows) == len(cells):
        TABLE.write_text(text(rows, options.images))
    return 0 if all(row.is_clean for row in rows) else 1


def _rows(cells: list[tuple[str, Variant]], settings: Settings, images: int) -> Iterator[Row]:
    with Store.open(settings) as store, ProcessPool(exports.PRELOADED_MODULES) as pool:
        for model, variant in cells:
            cell_by_format = {
                name: _cell(store, pool, settings, ModelSpec(model), variant, name, images)
                for name in FORMATS
            }
            yield Row(model, variant, cell_by_format)


def _cell(
    store: Store,
    pool: ProcessPool,
    settings: Settings,
    model: ModelSpec,
    variant: Variant,
    name: str,
    images: int,
) -> VerificationReport | str:
    # How fast a file is stands on its card; here one turn does.
    measure = MeasureSpec(threads=settings.threads, starts=1, rounds=1)
    spec = exports.planned(model, variant, name, measure=measure, count=images)
    job = CellContext(spec.request, settings, store, pool, lambda _stage, _share: None, never_stop)
    try:
        return exports.make(job, spec)
    except UnsupportedError as error:
        return f"{error.reason} {error.remedy}"
    except QuantcoreError as error:
        raise QuantcoreError(f"{model.name}, {variant.label}, {name}: {error.reason}") from error


def text(rows: list[Row], images: int) -> str:
    """Return the document."""
    reasons: dict[str, int] = {}
    titles = [FORMATS[name].title for name in FORMATS]
    blocks = [
        "# What can be exported",
        "Each model below, in every workflow and backend and in every format: the size of the "
        f"file, and on which share of {images:,} images it names its variant's class. Every check "
        "of its verification report held unless it says which did not; where there is no file, it "
        "says why. "
        "`python -m scripts.exports_table` writes this page.",
        f"{datetime.now(UTC):%Y-%m-%d}. {current_environment().sentence()}.",
    ]
    for model in dict.fromkeys(row.model for row in rows):
        lines = [f"| variant | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
        lines += [_line(row, reasons) for row in rows if row.model == model]
        blocks += [f"## {model}", "\n".join(lines)]
    blocks += ["## Why not", "\n".join(f"{number}. {why}" for why, number in reasons.items())]
    return "\n\n".join(blocks) + "\n"


def _line(row: Row, reasons: dict[str, int]) -> str:
    cells = [_written(row.cells[name], reasons) for name in FORMATS]
    return f"| {row.variant.label} | {' | '.join(cells)} |"


def _written(cell: VerificationReport | str, reasons: dict[str, int]) -> str:
    if isinstance(cell, str):
        return f"no ({reasons.setdefault(cell, len(reasons) + 1)})"
    figures = [wording.figure(cell.exported.artifact.size_bytes / 1e6, "MB")]
    figures += [wording.percent(cell.agreement, 2)] if cell.agreement is not None else []
    failed = [
        f"**fails** ({reasons.setdefault(check.found, len(reasons) + 1)})"
        for check in cell.checks
        if not check.passed
    ]
    return ", ".join([*figures, *failed])


if __name__ == "__main__":
    sys.exit(main())
