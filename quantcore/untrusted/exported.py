"""Programs of torch.export, traced to TorchScript. Only in a locked child process.

Importing this module imports no torch; its functions do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcore.errors import RequestError
from quantcore.untrusted.answers import number_of_classes
from quantcore.untrusted.text import last_line

if TYPE_CHECKING:
    from torch import Tensor, nn

# The index of the argument that says whether these operators are training.
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


def trace_exported(path: Path, target: Path) -> int:
    """Write an exported program as TorchScript; return the size of picture it was exported for."""
    import torch

    try:
        with _WeightsOnly():
            program = torch.export.load(path)
        _refuse_training(program)
        example = _example_input(program)
        module = _traceable(program.module(check_guards=False))
        traced = torch.jit.trace(module, example, check_trace=False, strict=False)
        _check_same_answers(program.module(check_guards=False), traced, example)
        torch.jit.save(traced, target)
        return int(example[0].shape[2])
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(
            f"The exported program cannot be loaded and traced ({last_line(error)}).",
            "Save it again with torch.export of PyTorch "
            f"{torch.__version__.partition('+')[0]}, or upload it as TorchScript.",
        ) from error


class _WeightsOnly:
    """A context in which torch.load refuses pickles that name programs, whatever its arguments.

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


def _example_input(program: Any) -> "tuple[Tensor, ...]":
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
    examples: tuple[Any, ...] = (program.example_inputs or ((),))[0]
    if len(examples) == 1 and isinstance(examples[0], torch.Tensor):
        return (torch.zeros(examples[0].shape),)
    return (torch.zeros([side if isinstance(side, int) else 2 for side in shapes[0]]),)


def _refuse_training(program: Any) -> None:
    """Refuse a program that was exported in training mode, which answers at random."""
    for node in program.graph.nodes:
        name = str(node.target)
        index = TRAINING_FLAGS.get(name)
        flag = node.args[index] if index is not None and len(node.args) > index else None
        if flag is True or name in TRAINING_ONLY:
            raise RequestError(
                "The program was exported in training mode, so its answers change at random.",
                "Export it again from model.eval().",
            )


def _check_same_answers(
    exported: "nn.Module", traced: "nn.Module", example: "tuple[Tensor, ...]"
) -> None:
    import torch

    noise = torch.rand(example[0].shape, generator=torch.Generator().manual_seed(0))
    expected, answer = exported(noise), traced(noise)
    if not isinstance(expected, torch.Tensor):
        number_of_classes(expected)
    if not torch.allclose(expected, answer, rtol=1e-3, atol=1e-4):
        raise RequestError(
            "The exported program answers differently once it is traced.",
            "Upload the model as TorchScript, or its weights.",
        )


def _traceable(module: Any) -> Any:
    """Return the module with a graph that tracing records without fixing the batch.

    Tracing records a size that a tensor's method returns or takes, but not the symbols that a
    graph's operators pass to each other. The check of inputs is removed, since it cannot be traced;
    the model is run on other inputs instead.
    """
    for node in module.graph.nodes:
        node.target = RECORDED.get(str(node.target), node.target)
    module.recompile()
    module._forward_pre_hooks.clear()
    return module


def _size_of(tensor: "Tensor", dimension: int) -> int:
    return tensor.shape[dimension]


def _view(tensor: "Tensor", shape: list[int]) -> "Tensor":
    return tensor.view(shape)


def _reshape(tensor: "Tensor", shape: list[int]) -> "Tensor":
    return tensor.reshape(shape)


def _expand(tensor: "Tensor", shape: list[int]) -> "Tensor":
    return tensor.expand(shape)


RECORDED: dict[str, Callable[..., Any]] = {
    "aten.sym_size.int": _size_of,
    "aten.view.default": _view,
    "aten.reshape.default": _reshape,
    "aten.expand.default": _expand,
}
