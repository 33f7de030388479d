"""The app's full grid against the recipe's, both cold, both timed from outside as processes."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.app import absence, cold_folder
from benchmarks.lines import Figure, at_most, note, shown
from quantcore.schema import Comparison

MODEL = "bundled/mobilenet_v2"
CELLS = 17
REPEATS = 3
# What the recipe knows: torch's engines, and four ways to 8 bits.
OPTIONS = (
    "--backends=x86,fbgemm,onednn,qnnpack",
    "--workflows=pretrained,dynamic,static,qat",
)


def lines(
    options: Sequence[str] = OPTIONS, recipe_options: Sequence[str] = (), repeats: int = REPEATS
) -> Iterator[Figure | str]:
    """Yield both wall times, their ratio, and the time of the same command all cached.

    Args:
        options: of the app's command line.
        recipe_options: of the recipe's.
        repeats: how often what is cached is timed.
    """
    missing = absence(MODEL)
    if missing:
        yield note(missing)
        return
    with cold_folder() as folder:
        answer, by_hand = folder / "app.json", folder / "recipe.json"
        command = ["-m", "quantcore", "compare", MODEL, "--json", str(answer), *options]
        environment = os.environ | {"QUANTCORE_DATA": str(folder / "data")}
        # The libraries' files are read once before, so that whoever is first does not pay for both.
        _seconds(["-c", "import quantcore.engine.preload"])
        app_s = _seconds(command, environment)
        recipe_s = _seconds(["-m", "benchmarks.recipe", "--json", str(by_hand), *recipe_options])
        comparison = Comparison.from_json(answer.read_bytes())
        yield from _cells(comparison)
        yield from _side_by_side(comparison, json.loads(by_hand.read_text()))
        yield shown("the app, cold cache", app_s, "s")
        yield shown("the recipe by hand", recipe_s, "s")
        yield at_most(
            "wall time of the app over the recipe's",
            app_s / recipe_s,
            "x",
            0.5,
            "benchmarks/recipe.py on the same machine in the same run",
        )
        yield from _cached(command, environment, repeats)


def _cells(comparison: Comparison) -> Iterator[Figure | str]:
    refused = [row for row in comparison.failures if row.refused]
    broken = [row for row in comparison.failures if not row.refused]
    measured = len(comparison.results)
    yield note(f"{measured} cells measured, {len(refused)} refused, {len(broken)} failed.")
    unanswered = CELLS - measured - len(refused)
    yield at_most("cells neither measured nor refused", unanswered, "of 17", 0, digits=0)
    for row in comparison.failures:
        yield note(f"{row.workflow} on {row.backend}: {row.reason}")


def _side_by_side(comparison: Comparison, by_hand: list[dict[str, Any]]) -> Iterator[str]:
    """Yield each row's accuracy and latency in both, so that neither is seen to cut corners."""
    rows = {(row["workflow"], row["engine"]): row for row in by_hand}
    for mine in comparison.results:
        text = _row(mine.accuracy.top1 if mine.accuracy else 0.0, mine.latency_ms.p50)
        other = rows.get((mine.workflow, mine.backend))
        theirs = _row(other["top1"], other["latency_ms"]) if other else "none"
        label = f"{mine.workflow} {mine.backend or ''}"
        yield note(f"{label:<20} app {text}   recipe {theirs}")


def _row(top1: float, latency_ms: float) -> str:
    return f"{top1:.4f} {latency_ms:7.2f} ms"


def _cached(
    command: Sequence[str], environment: dict[str, str], repeats: int
) -> Iterator[Figure | str]:
    libraries = ["-c", "import typer, rich, pydantic"]
    whole_s, interpreter_s, libraries_s = (
        statistics.median(_seconds(each, environment) for _ in range(repeats))
        for each in (command, ["-c", "pass"], libraries)
    )
    yield shown("the same command, all cached", whole_s, "s")
    yield shown("of that, starting the interpreter", interpreter_s, "s", "python -c pass")
    yield shown(
        "the interpreter with the command line's libraries",
        libraries_s,
        "s",
        "python -c 'import typer, rich, pydantic'",
    )
    yield at_most(
        "all cached, after the interpreter's start", whole_s - interpreter_s, "s", 1.0, "the aim"
    )


def _seconds(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """Run Python with these arguments from the project's folder; return the wall time.

    Raises:
        RuntimeError: it failed; the message ends with what it wrote.
    """
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    elapsed_s = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2_000:]}")
    return elapsed_s
