"""Run benchmarks one after the other: `python -m benchmarks [NAME ...] [--write]`.

Each runs in a process of its own, so that none colours another's figures or takes it along when
it dies. Exit 0 when every figure was measured and reached its limit.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    accuracy,
    exports,
    grid,
    lists,
    page,
    recovery,
    repeat,
    scaling,
    sessions,
    sizes,
    speed,
    transfer,
    uploads,
)
from benchmarks.lines import Figure, absent, count
from quantcore.schema import current_environment

PROJECT = Path(__file__).parents[1]
REPORT = PROJECT / "docs" / "bench.txt"
# Settings of this shell that would make the benchmarks answer another question than the defaults.
SHELL_SETTINGS = (
    "DATA",
    "QUOTA_GB",
    "THREADS",
    "SCHEDULER",
    "MEMORY_GB",
    "TIMEOUT_S",
    "ARTIFACTS",
    "SHARED_JOBS",
    "UPLOAD_MB",
    "UPLOAD_DAYS",
)


@dataclass(frozen=True)
class Benchmark:
    """What is measured, in words, and the function that yields its lines as they are known."""

    title: str
    lines: Callable[[], Iterator[Figure | str]]


BENCHMARKS = {
    "grid": Benchmark("The full grid, beside the recipe written by hand", grid.lines),
    "speed": Benchmark("Faster and smaller than the best float, beside a peer", speed.lines),
    "sizes": Benchmark("The recipe's own table of sizes", sizes.lines),
    "accuracy": Benchmark("Accuracy kept on the 10,000 test images", accuracy.lines),
    "repeat": Benchmark("The same speed-up twice, also on a busy machine", repeat.lines),
    "transfer": Benchmark("New classes from 400 pictures, to 8-bit", transfer.lines),
    "exports": Benchmark("Exported files: how small, how faithful, how long", exports.lines),
    "scaling": Benchmark(
        "A sweep on 1, 2 and 4 workers, its stages replaced by sleeps", scaling.lines
    ),
    "recovery": Benchmark("After a worker's death", recovery.lines),
    "sessions": Benchmark("Fifty visitors while a comparison runs", sessions.lines),
    "lists": Benchmark("Pages on a full job queue", lists.lines),
    "uploads": Benchmark("A model that is brought: recognised, and what it costs", uploads.lines),
    "page": Benchmark("The first page: time to chart, memory, delay", page.lines),
}


def main() -> int:
    """Run the benchmarks asked for, all of them unless named; return the exit code."""
    asked = _arguments()
    # Ended from outside, it still ends the servers and workers it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if asked.alone:
        for line in BENCHMARKS[asked.alone].lines():
            print(line, flush=True)
        return 0
    printed: list[str] = []
    for line in _report(asked.names or list(BENCHMARKS)):
        print(line, flush=True)
        printed.append(line)
    if asked.write:
        REPORT.write_text("\n".join(printed) + "\n")
    return 1 if count(printed)[1] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--write", action="store_true", help="also write docs/bench.txt")
    # How this module runs one benchmark in a process of its own.
    parser.add_argument("--alone", choices=list(BENCHMARKS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    return asked


def _report(names: list[str]) -> Iterator[str]:
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {current_environment().sentence()}"
    yield f"Load when it began: {os.getloadavg()[0]:.1f}. Columns: reached, figure, limit, what."
    lines: list[str] = []
    for name in names:
        yield f"\n{name.upper()}. {BENCHMARKS[name].title}"
        for line in _run(name):
            yield line
            lines.append(line)
    reached, missed = count(lines)
    yield f"\n{reached} of {reached + missed} figures reached."


def _run(name: str) -> Iterator[str]:
    """Yield the lines of one benchmark as its process prints them."""
    environment = {
        key: text
        for key, text in os.environ.items()
        if key.removeprefix("QUANTCORE_") not in SHELL_SETTINGS
    }
    environment |= {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "benchmarks", "--alone", name]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield line.rstrip("\n")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        yield absent(name, f"ended early with exit status {process.returncode}")


if __name__ == "__main__":
    sys.exit(main())
