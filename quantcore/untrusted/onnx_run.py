"""Untrusted ONNX, brought into form and run on zeros. Only in a locked child process.

Importing this module imports no onnx; its functions do.
"""

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantcore import wording
from quantcore.errors import RequestError
from quantcore.formats import onnx as onnx_format
from quantcore.untrusted import onnx_input, onnx_structure
from quantcore.untrusted.answers import number_of_classes
from quantcore.untrusted.examined import GRAPH_FILE, Examined
from quantcore.untrusted.onnx_input import Pictures
from quantcore.untrusted.run import SIZES
from quantcore.untrusted.text import shown
from quantcore.untrusted.unwrap import LABEL_KEYS, as_labels

if TYPE_CHECKING:
    from onnx import ModelProto

# The oldest in which weights can have a scale a channel, and what older graphs are rewritten to.
QUANTIZABLE_OPSET, OPSET = 13, 17
METADATA_BYTES = 2**20
FATAL = 4
PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
BATCH = 3
# Of the answers' own size: kernels add in another order for several pictures.
MAX_DIFFERENCE = 1e-2
LAYERS = {"Gemm": "Linear", "MatMul": "Linear", "LSTM": "LSTM", "GRU": "GRU"}
QUANTIZED = ("Quantize", "Dequantize", "DynamicQuantize", "QLinear", "QGemm", "QAttention")
QUANTIZED_ENDS = ("Integer", "NBits", "Bnb4")
HALVES = ("FLOAT16", "BFLOAT16")
CANNOT_RUN = "Check it with onnxruntime.InferenceSession; export it again with opset_version=17."

Numbers = NDArray[Any]


@dataclass(frozen=True)
class _Tried:
    """What a graph answered: the pictures that it took, and how many classes it named."""

    channels: int
    size: int
    classes: int


def examine(path: Path, folder: Path) -> Examined:
    """Return a graph's input and output, and write it into the folder in the form of all graphs.

    Raises:
        RequestError: it cannot be read or run, or does not answer with one number a class.
    """
    model = onnx_structure.read(path)
    in_8_bits = _is_quantized(model)
    _check_weights(model, in_8_bits=in_8_bits)
    seen = onnx_input.normalised(model)
    tried = _tried(model, seen)
    notes = [] if in_8_bits else _modernised(model, seen, tried)
    opened = _opened(model, seen, tried)
    # What is only measured can be asked one picture at a time.
    takes_one = in_8_bits and seen.batch == 1
    if opened is None and takes_one:
        onnx_input.declare(model, 1, seen.size, tried.channels)
    model = opened or model
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString(deterministic=True))
    texts = _texts(path)
    return Examined(
        kind="onnx",
        file=GRAPH_FILE,
        candidates=(),
        parameters=sum(
            math.prod(each.dims) for each in model.graph.initializer if _is_weight(each)
        ),
        outputs=tried.classes,
        channels=tried.channels,
        image_size=tried.size,
        any_batch=opened is not None or takes_one,
        labels=_labels(texts, tried.classes),
        dynamic_layers=_layers(model),
        notes=(*_notes(seen, tried, in_8_bits=in_8_bits, is_opened=opened is not None), *notes),
        in_8_bits=in_8_bits,
        mean=_three(texts.get("mean")),
        std=_three(texts.get("std")),
    )


def _notes(seen: Pictures, tried: _Tried, *, in_8_bits: bool, is_opened: bool) -> Iterator[str]:
    size = tried.size
    yield f"It was tried on zeros: pictures of {size} x {size} px, {tried.channels} channels, work."
    if in_8_bits:
        yield "It is quantized already, so it is measured as it is, and not converted again."
    if seen.channels_last:
        yield (
            "It takes pictures with their channels last; a Transpose was put in front, which is "
            "part of what is measured and exported."
        )
    if seen.batch is not None and not is_opened:
        yield "It takes one picture at a time."
    elif seen.batch is not None:
        yield (
            f"It was exported for {wording.count(seen.batch, 'picture')} a call; it was opened to "
            "any number, and answers the same."
        )


def _is_quantized(model: "ModelProto") -> bool:
    kinds = {node.op_type for body in onnx_structure.bodies(model.graph) for node in body.node}
    return any(kind.startswith(QUANTIZED) or kind.endswith(QUANTIZED_ENDS) for kind in kinds)


def _is_weight(tensor: Any) -> bool:
    """Return whether a tensor was learned, and is no size or index."""
    return tensor.data_type not in (tensor.INT64, tensor.BOOL, tensor.STRING)


def _check_weights(model: "ModelProto", *, in_8_bits: bool) -> None:
    """Refuse weights that are no numbers, or of half precision."""
    from onnx import numpy_helper

    for tensor in onnx_structure.constants(model.graph).values():
        # Smaller ones are limits and masks, which may be infinite.
        if len(tensor.dims) < 2 or not _is_weight(tensor):
            continue
        if tensor.DataType.Name(tensor.data_type) in HALVES and not in_8_bits:
            raise RequestError(
                "The ONNX model computes in half precision, and the comparison starts from "
                "float32.",
                "Export it from model.float().",
            )
        if tensor.data_type == tensor.FLOAT and np.isnan(numpy_helper.to_array(tensor)).any():
            raise RequestError(
                f"The weights of {shown(tensor.name)} hold numbers that are undefined.",
                "Training went wrong there. Save an earlier epoch.",
            )


def _modernised(model: "ModelProto", seen: Pictures, tried: _Tried) -> list[str]:
    """Rewrite a graph of an opset that no quantizer takes to a newer one; return what to say."""
    opset = onnx_format.opset_of(model)
    if opset >= QUANTIZABLE_OPSET:
        return []
    from onnx import version_converter

    noise = _noise(seen.batch or 1, tried)
    before = _asked(_session(model), noise)
    try:
        newer = version_converter.convert_version(model, OPSET)
        after = _asked(_session(newer), noise)
    # What onnx raises over an operator that it cannot carry over, and the runtime over the rest.
    except Exception as error:
        raise RequestError(
            f"The ONNX file is of opset {opset}, too old to be quantized, and cannot be rewritten "
            f"({_said(error)}).",
            f"Export it again with opset_version={OPSET}.",
        ) from error
    if before.shape != after.shape or not _are_alike(before, after):
        raise RequestError(
            f"The ONNX file is of opset {opset}, and answers differently once it is rewritten to "
            f"opset {OPSET}, which can be quantized.",
            f"Export it again with opset_version={OPSET}.",
        )
    model.CopyFrom(newer)
    return [f"It was of opset {opset}, and was rewritten to opset {OPSET}, which can be quantized."]


def _session(model: "ModelProto") -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    options.log_severity_level = FATAL
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=[onnx_format.PROVIDER]
        )
    # Whatever the runtime raises, the graph is the cause: nothing else was read.
    except Exception as error:
        raise RequestError(
            f"ONNX Runtime cannot load the model ({_said(error)}).", CANNOT_RUN
        ) from error


def _said(error: Exception) -> str:
    """Return the first line of an error, without the runtime's own numbers, made fit to be read."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = PREFIX.sub("", lines[0]) if lines else type(error).__name__
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200].rstrip(". ")


def _tried(model: "ModelProto", seen: Pictures) -> _Tried:
    """Return the first pictures of zeros that the graph answers, and how many classes it names."""
    session, reason = _session(model), ""
    for size in (seen.size,) if seen.size else SIZES:
        for channels in (seen.channels,) if seen.channels else onnx_input.CHANNELS:
            zeros = np.zeros((seen.batch or 1, channels, size, size), np.float32)
            try:
                answer = _asked(session, zeros)
            # The runtime raises what it likes; the next size may suit the graph.
            except Exception as error:
                reason = reason or _said(error)
                continue
            return _Tried(channels, size, _classes(answer, len(zeros)))
    raise RequestError(
        f"The ONNX model ran on no picture of the sizes tried ({reason}).",
        "It must take one tensor of pictures, [pictures, 3, height, width], in float32.",
    )


def _asked(session: Any, pictures: NDArray[np.float32]) -> Any:
    return session.run(None, {onnx_format.INPUT: pictures})[0]


def _classes(answer: Any, pictures: int) -> int:
    """Return the number of classes in an answer to some pictures."""
    import torch

    if isinstance(answer, np.ndarray) and answer.dtype.kind in "fib":
        one = answer[:1] if answer.ndim and len(answer) == pictures else answer
        return number_of_classes(torch.from_numpy(one))
    return number_of_classes(answer)


def _opened(model: "ModelProto", seen: Pictures, tried: _Tried) -> "ModelProto | None":
    """Return the graph for any number of pictures; None where it then answers something else."""
    from onnx import ModelProto

    opened = ModelProto()
    opened.CopyFrom(model)
    noise = _noise(max(BATCH, seen.batch or 0), tried)
    if seen.batch is not None:
        onnx_input.free_reshapes(opened, seen.batch)
    onnx_input.declare(opened, None, seen.size, tried.channels)
    try:
        session = _session(opened)
        answers = {count: _asked(session, noise[:count]) for count in (1, BATCH, len(noise))}
    # Any error only means that it takes no other number of pictures.
    except Exception:
        return None
    if any(answer.shape != (count, tried.classes) for count, answer in answers.items()):
        return None
    if seen.batch is not None:
        expected = _asked(_session(model), noise[: seen.batch])
        if not _are_alike(answers[len(noise)][: seen.batch], expected):
            return None
        if not _are_alike(answers[1], expected[:1]):
            return None
    return opened


def _noise(pictures: int, tried: _Tried) -> NDArray[np.float32]:
    shape = pictures, tried.channels, tried.size, tried.size
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _are_alike(one: Numbers, other: Numbers) -> bool:
    scale = float(np.abs(other).max()) or 1.0
    return bool(np.abs(one - other).max() <= MAX_DIFFERENCE * scale)


def _layers(model: "ModelProto") -> dict[str, int]:
    """Return how many layers there are of each type that dynamic quantization converts."""
    known = onnx_structure.constants(model.graph)
    kinds = Counter(
        LAYERS[node.op_type]
        for node in model.graph.node
        if node.op_type in LAYERS and len(node.input) > 1 and node.input[1] in known
    )
    return dict(kinds)


def _texts(path: Path) -> dict[str, str]:
    """Return the short texts that stand beside the graph, by their names in small letters."""
    texts = onnx_structure.metadata(path)
    return {name.lower(): text for name, text in texts.items() if len(text) <= METADATA_BYTES}


def _labels(texts: Mapping[str, str], classes: int) -> tuple[str, ...]:
    """Return the class names beside the graph, as many as it has classes."""
    for name, text in texts.items():
        if LABEL_KEYS.fullmatch(name):
            for labels in as_labels(_value(text)):
                if len(labels) == classes:
                    return labels
    return ()


def _value(text: str) -> Any:
    """Return a value written as JSON, as Python or one a line."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return [line.strip() for line in text.splitlines() if line.strip()]


def _three(text: str | None) -> tuple[float, ...]:
    """Return three finite numbers, of the channels; empty where the text says no such thing."""
    value = _value(text) if text else None
    if not isinstance(value, list) or len(value) != 3:
        return ()
    numbers = [float(each) for each in value if isinstance(each, int | float)]
    return tuple(numbers) if len(numbers) == 3 and all(map(math.isfinite, numbers)) else ()
