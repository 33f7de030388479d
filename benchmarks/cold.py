"""From the start of a process to its first answer: the program that ships with each file."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.app import Workshop, cold_settings
from benchmarks.lines import Figure, absent, note, shown
from quantcore.backends import BACKENDS, runtime
from quantcore.engine import plan
from quantcore.errors import UnsupportedError
from quantcore.schema import ImageSpec, ModelSpec, Variant, current_environment

MODEL = "torchvision/mobilenet_v2@random"
IMAGE_SIZE = 224
REPEATS = 5
# What the program prints: milliseconds that loading took, and the first answer.
PROGRAM = """
import time
import numpy as np
batch = np.zeros((1, 3, {side}, {side}), np.float32)
{imports}
began = time.perf_counter()
{load}
loaded = time.perf_counter()
{run}
print(1_000 * (loaded - began), 1_000 * (time.perf_counter() - loaded))
"""


def lines(
    model: str = MODEL, image_size: int = IMAGE_SIZE, repeats: int = REPEATS
) -> Iterator[Figure | str]:
    """Yield, of float32 and static on every backend, medians of processes started one by one."""
    environment = current_environment()
    backends = [name for name, each in BACKENDS.items() if each.available(environment).ok]
    few = {"static": {"calibration_images": 16}}
    images = ImageSpec(image_size=image_size)
    request = plan(ModelSpec(model), ["static"], backends, few, images)
    yield note(f"{model}, {image_size} px, by the Python that ships with each file")
    with cold_settings() as settings, Workshop(request, settings) as workshop:
        for variant in request.variants:
            try:
                path = workshop.path(workshop.convert(variant))
            except UnsupportedError as error:
                yield absent(variant.label, error.reason)
            else:
                yield from _figures(variant, path, image_size, repeats)


def _figures(variant: Variant, path: Path, image_size: int, repeats: int) -> Iterator[Figure | str]:
    backend = runtime(variant.backend)
    code = backend.format.python(backend)
    program = PROGRAM.format(
        side=image_size,
        imports=code.imports,
        load=code.load.format(path=json.dumps(str(path))),
        run=code.run,
    )
    starts = [_started(program) for _ in range(repeats)]
    for index, what in enumerate(("from the process's start to its first answer", "load", "first")):
        yield shown(
            f"{variant.label}: {what}", statistics.median(each[index] for each in starts), "ms"
        )


def _started(program: str) -> Sequence[float]:
    """Return the milliseconds of a whole process, of its loading, and of its first answer."""
    began = time.perf_counter()
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    ).stdout
    whole_ms = 1_000 * (time.perf_counter() - began)
    return whole_ms, *map(float, printed.split()[-2:])
