"""Run benchmarks one after the other: `python -m benchmarks [NAME ...] [--write] [--small]`.

Each runs in a process of its own, so that none colours another's figures or takes it along when
it dies. Exit 0 when every figure was measured and reached its limit.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    accuracy,
    cold,
    exports,
    grid,
    house,
    lists,
    onnxruntime,
    page,
    real_weights,
    recovery,
    repeat,
    runtimes,
    scaling,
    sessions,
    sizes,
    speed,
    transfer,
    truth,
    uploads,
)
from benchmarks.lines import Figure, absent, count
from quantcore.schema import Variant, current_environment

PROJECT = Path(__file__).parents[1]
REPORT = PROJECT / "docs" / "bench.txt"
# Settings of this shell that would make the benchmarks answer another question than the defaults.
SHELL_SETTINGS = (
    "DATA",
    "QUOTA_GB",
    "THREADS",
    "TIME_BUDGET_S",
    "SCHEDULER",
    "MEMORY_GB",
    "TIMEOUT_S",
    "ARTIFACTS",
    "SHARED_JOBS",
    "SMALLEST_PERCENT",
    "SMALLEST_POINTS",
    "UPLOAD_MB",
    "UPLOAD_DAYS",
)


@dataclass(frozen=True)
class Benchmark:
    """One question to the app.

    Attributes:
        title: what is measured, in words.
        lines: yields its lines as they are known.
        small: what `lines` is given to run at its smallest size: whether it runs at all.
    """

    title: str
    lines: Callable[..., Iterator[Figure | str]]
    small: Mapping[str, object] = field(default_factory=dict)


X86 = ("x86",)
FEW = {"calibration_images": 8}
STATIC = Variant("static", "x86", tuple(FEW.items()))
BENCHMARKS = {
    "house": Benchmark("The code itself: rooms, floors, lines", house.lines),
    "grid": Benchmark(
        "The full grid, beside the recipe written by hand",
        grid.lines,
        {
            "options": ("--workflows=dynamic", "--backends=x86", "--evaluation-images=8"),
            "recipe_options": ("--small",),
            "repeats": 1,
        },
    ),
    "speed": Benchmark(
        "Faster and smaller than the best float, beside a peer",
        speed.lines,
        {
            "limits": {"shufflenet_v2_x0_5": 1.0},
            "rounds": 2,
            "calibration_images": 2,
            "backends": X86,
        },
    ),
    "runtimes": Benchmark(
        "Every backend for servers, beside OpenVINO and ONNX Runtime by hand",
        runtimes.lines,
        {
            "architectures": ("shufflenet_v2_x0_5",),
            "threads": (1,),
            "starts": 2,
            "rounds": 1,
            "calibration_images": 2,
        },
    ),
    "cold": Benchmark(
        "From the start of a process to its first answer, file by file",
        cold.lines,
        {"model": "torchvision/shufflenet_v2_x0_5@random", "image_size": 64, "repeats": 1},
    ),
    "sizes": Benchmark(
        "The recipe's own table of sizes",
        sizes.lines,
        {"evaluation_images": 8, "calibration_images": 8},
    ),
    "accuracy": Benchmark(
        "Accuracy kept on the 10,000 test images",
        accuracy.lines,
        {"images": 8, "limits": {STATIC: 1.5}, "models": ("bundled/mobilenet_v2",)},
    ),
    "repeat": Benchmark(
        "The same speed-up twice, also on a busy machine",
        repeat.lines,
        {"backends": X86, "options": {"static": FEW}},
    ),
    "truth": Benchmark(
        "Equal files called equal, slower ones slower, and an outsider's loop",
        truth.lines,
        {
            "models": ("bundled/mobilenet_v2",),
            "backends": X86,
            "equals": 2,
            "comparisons": 1,
        },
    ),
    "transfer": Benchmark(
        "New classes from 400 pictures, to 8-bit",
        transfer.lines,
        {"pictures": 60, "epochs": 1, "variants": (STATIC,)},
    ),
    "exports": Benchmark(
        "Exported files: how small, how faithful, how long",
        exports.lines,
        {
            "models": (),
            "backends": X86,
            "formats": ("torchscript",),
            "images": 8,
            "settings": tuple(FEW.items()),
        },
    ),
    "onnxruntime": Benchmark(
        "ONNX Runtime's own static quantizer, beside torch's modules exported to it",
        onnxruntime.lines,
        {
            "models": ("bundled/resnet18",),
            "engines": X86,
            "images": 8,
            "settings": tuple(FEW.items()),
        },
    ),
    "real_weights": Benchmark(
        "Published ImageNet weights in 8 bits, beside ONNX Runtime's quantizer by hand",
        real_weights.lines,
        {
            "seeds": (0,),
            "calibration": 90,
            "backends": ("onnxruntime",),
            "variants": {"static": {}},
        },
    ),
    "scaling": Benchmark(
        "A sweep on 1, 2 and 4 workers, its stages replaced by sleeps",
        scaling.lines,
        {"variants": 2, "workers": (1,)},
    ),
    "recovery": Benchmark("After a worker's death", recovery.lines, {"repeats": 1}),
    "sessions": Benchmark(
        "Fifty visitors while a comparison runs",
        sessions.lines,
        {"visitors": 2, "settled_s": 0.0, "backends": X86, "every_s": 0.5},
    ),
    "lists": Benchmark(
        "Pages on a full job queue",
        lists.lines,
        {"jobs": 2, "rows_a_job": 3, "large": 3, "reruns": 2},
    ),
    "uploads": Benchmark(
        "An uploaded model: recognised, and at what cost",
        uploads.lines,
        {"small": "shufflenet_v2_x0_5", "large": "shufflenet_v2_x1_0"},
    ),
    "page": Benchmark("The first page: time to chart, memory, delay", page.lines),
}


def main() -> int:
    """Run the benchmarks asked for, all of them unless named; return the exit code."""
    arguments = _arguments()
    # Ended from outside, it still ends the servers and workers it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.alone:
        benchmark = BENCHMARKS[arguments.alone]
        for line in benchmark.lines(**benchmark.small if arguments.small else {}):
            print(line, flush=True)
        return 0
    printed: list[str] = []
    for line in _report(arguments.names or list(BENCHMARKS), arguments.small):
        print(line, flush=True)
        printed.append(line)
    if arguments.write:
        REPORT.write_text("\n".join(printed) + "\n")
    return 1 if count(printed)[1] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--small", action="store_true", help="only see whether they run")
    parser.add_argument("--write", action="store_true", help="also write docs/bench.txt")
    # How this module runs one benchmark in a process of its own.
    parser.add_argument("--alone", choices=list(BENCHMARKS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    return arguments


def _report(names: list[str], small: bool) -> Iterator[str]:
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {current_environment().sentence()}"
    yield f"Load when it began: {os.getloadavg()[0]:.1f}. Columns: reached, figure, limit, what."
    lines: list[str] = []
    for name in names:
        yield f"\n{name.upper()}. {BENCHMARKS[name].title}"
        for line in run(name, small=small):
            yield line
            lines.append(line)
    reached, missed = count(lines)
    yield f"\n{reached} of {reached + missed} figures reached."


def run(name: str, *, small: bool = False) -> Iterator[str]:
    """Yield the lines of one benchmark as its process prints them."""
    environment = {
        key: text
        for key, text in os.environ.items()
        if key.removeprefix("QUANTCORE_") not in SHELL_SETTINGS
    }
    environment |= {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "benchmarks", "--alone", name]
    if small:
        command.append("--small")
        environment["QUANTCORE_TIME_BUDGET_S"] = "0.1"
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
