"""Load and run strangers' programs: TorchScript and torch.export. Only in a locked child process.

Importing this module imports no torch; its functions do.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from quantcore.errors import RequestError
from quantcore.untrusted.archive import open_archive, shown
from quantcore.untrusted.examined import PROGRAM_FILE, Examined
from quantcore.untrusted.tensors import ALREADY, ALREADY_REMEDY
from quantcore.untrusted.unwrap import as_labels

if TYPE_CHECKING:
    from torch import Tensor, nn

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
# Where in their arguments these are told whether they are training.
TRAINING_FLAGS = {
    "aten.batch_norm.default": 5,
    "aten.dropout.default": 2,
    "aten.feature_dropout.default": 2,
}
TRAINING_ONLY = frozenset(
    {
        "aten.native_dropout.default",
        "aten._native_batch_norm_legit.default",
        "aten._native_batch_norm_legit_functional.default",
    }
)
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
    """Return what a program takes and answers, and write it into the folder as TorchScript.

    Raises:
        RequestError: it cannot be loaded or run, or does something else than name classes.
    """
    import torch

    target = folder / PROGRAM_FILE
    with torch.no_grad():
        sizes = SIZES
        if kind == "exported_program":
            sizes = (_trace_exported(path, target), *SIZES)
        else:
            shutil.copyfile(path, target)
        model = _load(target)
        numbers = _layer_calls(model)
        channels, size, outputs = _find_input(model, sizes)
        batches = _takes_batches(model, channels, size, outputs)
    notes = [f"It was tried on zeros: pictures of {size} x {size} px, {channels} channels, work."]
    if not batches:
        notes.append("It takes one picture at a time.")
    return Examined(
        kind=cast(Literal["torchscript", "exported_program"], kind),
        file=PROGRAM_FILE,
        candidates=(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        outputs=outputs,
        channels=channels,
        image_size=size,
        any_batch=batches,
        labels=_labels(path, outputs),
        dynamic_layers=numbers,
        notes=tuple(notes),
    )


def _load(path: Path) -> "nn.Module":
    import torch

    try:
        model = torch.jit.load(str(path), map_location="cpu").eval()
    # Whatever the loader raises, the file is at fault: it is the only thing that was read.
    except Exception as error:
        raise RequestError(
            f"The TorchScript cannot be loaded ({_first_line(error)}).", DAMAGED
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

    said = ""
    for size in sizes:
        for channels in CHANNELS:
            try:
                answer = model(torch.zeros(1, channels, size, size))
            # A program raises what it likes; the next size may suit it.
            except Exception as error:
                said = said or _first_line(error)
                continue
            return channels, size, _classes(answer)
    raise RequestError(
        f"The model ran on no picture of the sizes tried ({sizes[0]} px said: {said}).",
        "It must take one tensor of pictures, [pictures, 3, height, width], in float32, and one "
        "picture as well as several: export with dynamic_shapes, trace without fixed sizes.",
    )


def _classes(answer: Any) -> int:
    import torch

    if not isinstance(answer, torch.Tensor):
        raise RequestError(
            "The model answers with several things, not with one number a class.",
            "Wrap it in a module that returns the classes' numbers alone, and trace that.",
        )
    if answer.dim() != 2 or answer.shape[0] != 1 or answer.shape[1] < 2:
        raise RequestError(
            f"The model answers one picture with numbers of shape {list(answer.shape)}, and a "
            "classifier answers [1, classes].",
            "Models that name one of several classes are compared here; detection and "
            "segmentation are not.",
        )
    if not answer.is_floating_point() or not torch.isfinite(answer).all():
        raise RequestError(
            "The model answers an empty picture with what are no fractions or no numbers.",
            "It must answer with one number a class, before or after softmax.",
        )
    return int(answer.shape[1])


def _takes_batches(model: "nn.Module", channels: int, size: int, outputs: int) -> bool:
    import torch

    try:
        answer = model(torch.zeros(2, channels, size, size))
    except Exception:  # As above: this only says that it does not.
        return False
    return isinstance(answer, torch.Tensor) and list(answer.shape) == [2, outputs]


def _trace_exported(path: Path, target: Path) -> int:
    """Write an exported program as TorchScript; return the size of picture it was exported for."""
    import torch

    try:
        with _no_programs_in_pickles():
            program = torch.export.load(path)
        _refuse_training(program)
        example = _example(program)
        module = _traceable(program.module(check_guards=False))
        traced = torch.jit.trace(module, example, check_trace=False, strict=False)
        _same_answers(program.module(check_guards=False), traced, example)
        torch.jit.save(traced, target)
        return int(example[0].shape[2])
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(
            f"The exported program cannot be loaded and traced ({_first_line(error)}).",
            "Save it again with torch.export of PyTorch "
            f"{torch.__version__.partition('+')[0]}, or upload it as TorchScript.",
        ) from error


class _no_programs_in_pickles:  # noqa: N801
    """While in it, torch.load refuses pickles that name programs, whatever its caller asks.

    torch.export.load opens some of a .pt2's parts in the way that runs what they say.
    """

    def __enter__(self) -> None:
        import torch

        self._load: Callable[..., Any] = torch.load
        torch.load = self._strictly

    def __exit__(self, *error: object) -> None:
        import torch

        torch.load = self._load

    def _strictly(self, *arguments: Any, **options: Any) -> Any:
        return self._load(*arguments, **{**options, "weights_only": True})


def _example(program: Any) -> "tuple[Tensor, ...]":
    """Return zeros of the shape that the program was exported with."""
    import torch

    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    names = set(program.graph_signature.user_inputs)
    shapes = [node.meta["val"].shape for node in nodes if node.name in names]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise RequestError(
            "The exported program does not take one tensor of pictures.",
            "Export the model with one example: torch.zeros(1, 3, height, width).",
        )
    given: tuple[Any, ...] = (program.example_inputs or ((),))[0]
    if len(given) == 1 and isinstance(given[0], torch.Tensor):
        return (torch.zeros(given[0].shape),)
    return (torch.zeros([side if isinstance(side, int) else 2 for side in shapes[0]]),)


def _refuse_training(program: Any) -> None:
    """Refuse a program that was exported in training mode, which answers at random."""
    for node in program.graph.nodes:
        name = str(node.target)
        place = TRAINING_FLAGS.get(name)
        told = node.args[place] if place is not None and len(node.args) > place else None
        if told is True or name in TRAINING_ONLY:
            raise RequestError(
                "The program was exported in training mode, so its answers change at random.",
                "Export it again from model.eval().",
            )


def _same_answers(
    exported: "nn.Module", traced: "nn.Module", example: "tuple[Tensor, ...]"
) -> None:
    import torch

    noise = torch.rand(example[0].shape, generator=torch.Generator().manual_seed(0))
    expected, found = exported(noise), traced(noise)
    if not isinstance(expected, torch.Tensor):
        _classes(expected)
    if not torch.allclose(expected, found, rtol=1e-3, atol=1e-4):
        raise RequestError(
            "The exported program answers differently once it is traced.",
            "Upload the model as TorchScript, or its weights.",
        )


def _traceable(module: Any) -> Any:
    """Return the module with a graph that tracing records without fixing the batch.

    A size is recorded where it is asked of a tensor and given to a tensor's method, not where
    operators of a graph hand symbols to each other. The check of inputs goes, since it cannot be
    traced; what other inputs do is found by trying.
    """
    for node in module.graph.nodes:
        node.target = RECORDED.get(str(node.target), node.target)
    module.recompile()
    module._forward_pre_hooks.clear()
    return module


def _side(tensor: "Tensor", dimension: int) -> int:
    return tensor.shape[dimension]


def _view(tensor: "Tensor", shape: list[int]) -> "Tensor":
    return tensor.view(shape)


def _reshape(tensor: "Tensor", shape: list[int]) -> "Tensor":
    return tensor.reshape(shape)


def _expand(tensor: "Tensor", shape: list[int]) -> "Tensor":
    return tensor.expand(shape)


RECORDED: dict[str, Callable[..., Any]] = {
    "aten.sym_size.int": _side,
    "aten.view.default": _view,
    "aten.reshape.default": _reshape,
    "aten.expand.default": _expand,
}


def _labels(path: Path, outputs: int) -> tuple[str, ...]:
    """Return class names that torch.jit.save was given as an extra file."""
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


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain[:200]
