"""Post-training dynamic quantization: weights ahead of time, activations on the fly."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from quantcore.errors import RequestError
from quantcore.models import LAYER_TYPES, Subject
from quantcore.schema import YES, Support
from quantcore.workflows.base import Workflow


def _several(names: object) -> object:
    """Return a single name as a list of one: `--set dynamic.layers=Linear`."""
    return (names,) if isinstance(names, str) else names


@dataclass(frozen=True)
class Dynamic(Workflow):
    """Quantize the weights of linear and recurrent layers; needs no pictures.

    Attributes:
        layers: layer types (`Linear`, `LSTM`, `GRU`) or names of submodules to convert.
        dtype: `qint8`, or `float16`, which halves weights and computes in float.
    """

    layers: Annotated[tuple[str, ...], BeforeValidator(_several)] = LAYER_TYPES
    dtype: Literal["qint8", "float16"] = "qint8"

    name: ClassVar[str] = "dynamic"
    title: ClassVar[str] = "Dynamic"
    summary: ClassVar[str] = (
        "Converts linear layers and LSTMs without any pictures. Convolutions stay float."
    )
    color: ClassVar[str] = "#cc79a7"
    absence: ClassVar[str] = (
        "{backend} has no layers that find the range of each input as it comes."
    )

    @property
    def bits(self) -> int:
        """Return of how many bits its weights are."""
        return 16 if self.dtype == "float16" else 8

    def __post_init__(self) -> None:
        if not self.layers:
            raise RequestError(
                "Dynamic quantization was given no layers.",
                f"Name layer types ({', '.join(LAYER_TYPES)}) or submodules.",
            )

    def refusal(self, subject: Subject) -> Support:
        """Return why a model without such layers gains nothing."""
        by_type = set(self.layers) <= set(LAYER_TYPES)
        if not by_type or any(subject.model.dynamic_layers.get(each) for each in self.layers):
            return YES
        return Support(
            False,
            f"{subject.model.title} has no {', '.join(self.layers)} layers, "
            "so dynamic quantization would change nothing.",
            "Use static or QAT, which convert convolutions too.",
        )
