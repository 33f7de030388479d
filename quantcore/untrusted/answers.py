"""The answer of an untrusted model, checked: one number a class for each picture."""

from typing import TYPE_CHECKING, Any

from quantcore.errors import RequestError

if TYPE_CHECKING:
    pass


def number_of_classes(answer: Any) -> int:
    """Return the number of classes of a model's answer to one picture, `[1, classes]`.

    Raises:
        RequestError: it is something else, or holds numbers that are not finite.
    """
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
