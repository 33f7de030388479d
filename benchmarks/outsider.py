"""Time a TorchScript file by a plain loop: `python -m benchmarks.outsider FILE ENGINE PX THREADS`.

It uses nothing of the app, as somebody would who checks its figures. Prints milliseconds.
"""

import json
import statistics
import sys
import time
import warnings

import torch

CALLS, WARM_UP_CALLS = 50, 20


def main() -> None:
    """Print the median milliseconds of a call."""
    path, engine, side, threads = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(threads))
    if engine != "float":
        torch.backends.quantized.engine = engine
    model = torch.jit.load(path)
    if engine == "float":
        model = torch.jit.optimize_for_inference(model)
    images = torch.randn(1, 3, int(side), int(side))
    times = []
    with torch.inference_mode():
        for _ in range(WARM_UP_CALLS + CALLS):
            began = time.perf_counter()
            model(images)
            times.append(1_000 * (time.perf_counter() - began))
    print(json.dumps(statistics.median(times[WARM_UP_CALLS:])))


if __name__ == "__main__":
    main()
