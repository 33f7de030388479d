"""Post-training dynamic quantization: weights ahead of time, activations on the fly."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from quantcore import models
from quantcore.backends import Backend
from quantcore.errors import RequestError
from quantcore.workflows import graph
from quantcore.workflows.base import YES, ConversionInput, Report, Subject, Support, runs_here

if TYPE_CHECKING:
    from torch import nn

LAYER_TYPES = ("Linear", "LSTM", "GRU")
# These engines have no kernels for half-precision weights; torch raises when asked.
NO_FLOAT16 = ("onednn", "qnnpack")


def _several(names: object) -> object:
    """Return a single name as a list of one: `--set dynamic.layers=Linear`."""
    return (names,) if isinstance(names, str) else names


@dataclass(frozen=True)
class Dynamic:
    """Quantize the weights of linear and recurrent layers; needs no pictures.

    Attributes:
        layers: layer types (`Linear`, `LSTM`, `GRU`) or names of submodules to convert; torch's
            `qconfig_spec`.
        dtype: `qint8`, or `float16`, which halves weights and computes in float.
    """

    layers: Annotated[tuple[str, ...], BeforeValidator(_several)] = LAYER_TYPES
    dtype: Literal["qint8", "float16"] = "qint8"

    name: ClassVar[str] = "dynamic"
    title: ClassVar[str] = "Dynamic"
    summary: ClassVar[str] = (
        "Converts linear layers and LSTMs without any pictures. Convolutions stay float."
    )
    uses: ClassVar[tuple[str, ...]] = ()
    weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not self.layers:
            raise RequestError(
                "Dynamic quantization was given no layers.",
                f"Name layer types ({', '.join(LAYER_TYPES)}) or submodules.",
            )

    def supports(self, subject: Subject, backend: Backend) -> Support:
        """Return yes where the model has a layer that dynamic quantization knows."""
        if self.dtype == "float16" and backend.engine in NO_FLOAT16:
            return Support(
                False,
                f"{backend.title} has no kernels for float16 weights.",
                "Use qint8 here, or float16 on x86 or fbgemm.",
            )
        if subject.model.is_program and self.layers != LAYER_TYPES:
            return Support(
                False,
                "A program's layers cannot be chosen one by one.",
                "Leave layers as it is: every linear layer is converted.",
            )
        by_type = set(self.layers) <= set(LAYER_TYPES)
        if by_type and not any(subject.model.dynamic_layers.get(each) for each in self.layers):
            return Support(
                False,
                f"{subject.model.title} has no {', '.join(self.layers)} layers, "
                "so dynamic quantization would change nothing.",
                "Use static or QAT, which convert convolutions too.",
            )
        return runs_here(backend, subject.environment) if backend.engine else YES

    def qconfig(self, backend: Backend) -> str:
        """Return one name for all backends: the weights are quantized alike for each."""
        return "dynamic"

    def convert(self, inputs: ConversionInput, backend: Backend, report: Report) -> "nn.Module":
        """Return the module with the chosen layers converted.

        Raises:
            RequestError: a named submodule does not exist, or nothing was converted.
        """
        report("converting the weights", 0.0)
        return self.empty_converted(inputs, backend)

    def empty_converted(self, inputs: ConversionInput, backend: Backend) -> "nn.Module":
        """Return the module with the chosen layers converted, which takes no pictures.

        Raises:
            RequestError: as `convert`.
        """
        import torch
        from torch.ao.quantization import quantize_dynamic

        if inputs.model.static_mode == graph.MODE:
            return graph.dynamic(inputs, self.dtype)
        module = models.build(inputs.spec)
        spec = self._qconfig_spec(module)
        dtype = {"qint8": torch.qint8, "float16": torch.float16}[self.dtype]
        converted: nn.Module = quantize_dynamic(
            module, qconfig_spec=spec, dtype=dtype, inplace=True
        )
        return converted

    def _qconfig_spec(self, module: "nn.Module") -> Any:
        from torch import nn
        from torch.ao import quantization

        names = {name for name, _ in module.named_modules()}
        chosen: dict[Any, Any] = {}
        qconfig = (
            quantization.default_dynamic_qconfig
            if self.dtype == "qint8"
            else quantization.float16_dynamic_qconfig
        )
        for layer in self.layers:
            if layer not in LAYER_TYPES and layer not in names:
                raise RequestError(
                    f"The model has no submodule {layer!r}.",
                    f"Name layer types ({', '.join(LAYER_TYPES)}) or one of its submodules.",
                )
            chosen[getattr(nn, layer) if layer in LAYER_TYPES else layer] = qconfig
        return chosen
