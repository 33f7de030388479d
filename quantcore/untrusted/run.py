"""Untrusted TorchScript, loaded and run on zeros. Only in a locked child process.

Importing this module imports no torch; its functions do.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from quantcore.errors import RequestError
from quantcore.untrusted.answers import number_of_classes
from quantcore.untrusted.archive import open_archive
from quantcore.untrusted.examined import PROGRAM_FILE, Examined
from quantcore.untrusted.exported import trace_exported
from quantcore.untrusted.tensors import ALREADY, ALREADY_REMEDY
from quantcore.untrusted.text import last_line, shown
from quantcore.untrusted.unwrap import as_labels

if TYPE_CHECKING:
    from torch import nn

SIZES: tuple[int, ...] = (
    224,
    64,
    299,
    32,
    384,
    256,
    128,
    96,
    28,
    512,
    448,
    240,
    260,
    288,
    300,
    320,
    160,
    48,
)
CHANNELS = (3, 1)
LAYERS = {"aten::linear": "Linear", "aten::lstm": "LSTM", "aten::gru": "GRU"}
LABEL_FILES = ("labels.json", "classes.json", "labels.txt", "classes.txt", "class_names.json")
LABEL_BYTES = 2**20
DAMAGED = "Save it again with the PyTorch it was made with, and upload it as it is."


def preload(kind: str) -> None:
    """Import what loading a kind of program needs."""
    import torch

    if kind == "exported_program":
        import torch._dynamo
        import torch.export.pt2_archive._package

    torch.set_num_threads(1)


def examine(path: Path, kind: str, folder: Path) -> Examined:
    """Return a program's input and output, and write it into the folder as TorchScript.

    Raises:
        RequestError: it cannot be loaded or run, or does not answer with one number a class.
    """
    import torch

    target = folder / PROGRAM_FILE
    with torch.no_grad():
        sizes = SIZES
        if kind == "exported_program":
            sizes = (trace_exported(path, target), *SIZES)
        else:
            shutil.copyfile(path, target)
        model = _load(target)
        layer_counts = _layer_calls(model)
        channels, size, outputs = _find_input(model, sizes)
        takes_batches = _takes_batches(model, channels, size, outputs)
    notes = [f"It was tried on zeros: pictures of {size} x {size} px, {channels} channels, work."]
    if not takes_batches:
        notes.append("It takes one picture at a time.")
    return Examined(
        kind=cast(Literal["torchscript", "exported_program"], kind),
        file=PROGRAM_FILE,
        candidates=(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        outputs=outputs,
        channels=channels,
        image_size=size,
        any_batch=takes_batches,
        labels=_labels(path, outputs),
        dynamic_layers=layer_counts,
        notes=tuple(notes),
    )


def _load(path: Path) -> "nn.Module":
    import torch

    try:
        model = torch.jit.load(str(path), map_location="cpu").eval()
    # Whatever the loader raises, the file is the cause: nothing else was read.
    except Exception as error:
        raise RequestError(
            f"The TorchScript cannot be loaded ({last_line(error)}).", DAMAGED
        ) from error
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_quantized:
            raise RequestError(ALREADY, ALREADY_REMEDY)
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise RequestError(
                f"The weights of {shown(name)} hold numbers that are infinite or undefined.",
                "Training went wrong there. Save an earlier epoch.",
            )
    if any(parameter.dtype in {torch.float16, torch.bfloat16} for parameter in model.parameters()):
        raise RequestError(
            "The TorchScript computes in half precision, and the comparison starts from float32.",
            "Save it from model.float().",
        )
    return cast("nn.Module", model)


def _layer_calls(model: Any) -> dict[str, int]:
    """Return how often each type of layer that dynamic quantization converts is called."""
    try:
        kinds = Counter(_kinds(model.inlined_graph))
    except Exception as error:
        raise RequestError(
            "The TorchScript has no forward that can be read.",
            'Save the model itself: torch.jit.trace(model.eval(), example).save("model.pt").',
        ) from error
    if any(kind.startswith("quantized::") for kind in kinds):
        raise RequestError(ALREADY, ALREADY_REMEDY)
    return {LAYERS[kind]: kinds[kind] for kind in LAYERS if kinds[kind]}


def _kinds(graph: Any) -> Iterator[str]:
    waiting = [graph]
    while waiting:
        for node in waiting.pop().nodes():
            yield node.kind()
            waiting.extend(node.blocks())


def _find_input(model: "nn.Module", sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """Return channels, size and number of outputs of the first zeros that the model answers."""
    import torch

    reason = ""
    for size in sizes:
        for channels in CHANNELS:
            try:
                answer = model(torch.zeros(1, channels, size, size))
            # A program raises what it likes; the next size may suit it.
            except Exception as error:
                reason = reason or last_line(error)
                continue
            return channels, size, number_of_classes(answer)
    raise RequestError(
        f"The model ran on no picture of the sizes tried ({sizes[0]} px said: {reason}).",
        "It must take one tensor of pictures, [pictures, 3, height, width], in float32, and one "
        "picture as well as several: export with dynamic_shapes, trace without fixed sizes.",
    )


def _takes_batches(model: "nn.Module", channels: int, size: int, outputs: int) -> bool:
    import torch

    try:
        answer = model(torch.zeros(2, channels, size, size))
    except Exception:  # Any error, as above, only means that it takes no batch.
        return False
    return isinstance(answer, torch.Tensor) and list(answer.shape) == [2, outputs]


def _labels(path: Path, outputs: int) -> tuple[str, ...]:
    """Return the class names in an extra file of torch.jit.save, as many as there are outputs."""
    archive = open_archive(path)
    for name, entry in archive.entries.items():
        if name.rpartition("/")[2] in LABEL_FILES and entry.size <= LABEL_BYTES:
            text = archive.read(name, LABEL_BYTES).decode("utf-8", "replace")
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = text.splitlines()
            for labels in as_labels(value):
                if len(labels) == outputs:
                    return labels
    return ()
