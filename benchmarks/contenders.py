"""Several files of one model timed in turns, each in processes of its own."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from quantcore.engine import answer_turns, processor, time_model
from quantcore.engine.time_model import TimeModel
from quantcore.sandbox import ProcessPool
from quantcore.schema import MeasureSpec, Turn

TIMEOUT_S = 600.0
# Worker threads of one process spin for some milliseconds after its last call; the next process
# starts after that.
PAUSE_S = 0.05

APP_CHILD = "quantcore.engine.latency:run_timed_child"
ONNX_CHILD = "benchmarks.contenders:run_onnx_child"
OPENVINO_CHILD = "benchmarks.contenders:run_openvino_child"

Predict = Callable[[Any], Any]


@dataclass(frozen=True)
class Contender:
    """One file: the function that times it in a child, and what that function is told."""

    child: str
    arguments: tuple[Any, ...]


def timed_in_turn(
    pool: ProcessPool,
    contenders: Mapping[str, Contender],
    threads: int,
    starts: int,
    rounds: int,
) -> TimeModel:
    """Return the times of all contenders, started several times, on the same cores.

    Who starts after whom changes from start to start, and who is asked after whom from round to
    round: equal files differ by up to a twentieth by where they stand in a row.
    """
    turns = []
    # Neighbours of a virtual machine slow one of its cores down and not another.
    cores = processor.cores()[:threads]
    chance, order = Random(0), list(contenders)
    for start in range(starts):
        with ExitStack() as stack:
            children = {}
            chance.shuffle(order)
            for name in order:
                each = contenders[name]
                children[name] = stack.enter_context(pool.spawn(each.child, *each.arguments))
                children[name].receive(timeout_s=TIMEOUT_S)
                processor.pin(children[name].pid, cores)
            for index in range(rounds):
                chance.shuffle(order)
                for name in order:
                    time.sleep(PAUSE_S)
                    children[name].send("turn")
                    answer = children[name].receive(timeout_s=TIMEOUT_S)
                    turns.append(Turn(name, start, index, **answer))
    return time_model.fit([turns])


def run_onnx_child(
    connection: Connection, path: Path, image_size: int, measure: MeasureSpec
) -> str:
    """Load an ONNX file in ONNX Runtime, then take turns as `run_timed_child` does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = measure.threads, 1

    def load() -> Predict:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda batch: session.run(None, {name: batch})

    return answer_turns(connection, load, _noise(image_size, measure), 0)


def run_openvino_child(
    connection: Connection, path: Path, image_size: int, measure: MeasureSpec
) -> str:
    """Load an IR in OpenVINO as its documentation advises for one picture at a time."""
    import openvino

    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": measure.threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }

    def load() -> Predict:
        compiled = openvino.Core().compile_model(path, "CPU", options)
        return lambda batch: compiled(batch)[0]

    return answer_turns(connection, load, _noise(image_size, measure), 0)


def _noise(image_size: int, measure: MeasureSpec) -> Any:
    """Return a batch of pictures as a float32 array `[N, 3, H, W]`."""
    import numpy as np

    shape = (measure.batch, 3, image_size, image_size)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
