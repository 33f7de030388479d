"""Weights of linear and recurrent layers converted ahead of time, activations on the fly."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quantcore import models
from quantcore.backends.torch_ao import graph
from quantcore.errors import RequestError
from quantcore.images import ConversionInput

if TYPE_CHECKING:
    from torch import nn


def converted(inputs: ConversionInput, layers: Sequence[str], dtype: str) -> "nn.Module":
    """Return the module with the chosen layers converted, which takes no pictures.

    Args:
        inputs: the float model.
        layers: layer types (`Linear`, `LSTM`, `GRU`) or names of submodules; torch's
            `qconfig_spec`.
        dtype: `qint8` or `float16`.

    Raises:
        RequestError: a named submodule does not exist.
    """
    import torch
    from torch.ao.quantization import quantize_dynamic

    if inputs.model.static_mode == graph.MODE:
        return graph.dynamic(inputs, dtype)
    module = models.build(inputs.spec)
    dtypes = {"qint8": torch.qint8, "float16": torch.float16}
    result: nn.Module = quantize_dynamic(
        module, qconfig_spec=_spec(module, layers, dtype), dtype=dtypes[dtype], inplace=True
    )
    return result


def _spec(module: "nn.Module", layers: Sequence[str], dtype: str) -> dict[Any, Any]:
    from torch import nn
    from torch.ao import quantization

    qconfig = (
        quantization.default_dynamic_qconfig
        if dtype == "qint8"
        else quantization.float16_dynamic_qconfig
    )
    names = {name for name, _ in module.named_modules()}
    kinds = {"Linear": nn.Linear, "LSTM": nn.LSTM, "GRU": nn.GRU}
    for layer in layers:
        if layer not in kinds and layer not in names:
            raise RequestError(
                f"The model has no submodule {layer!r}.",
                f"Name layer types ({', '.join(kinds)}) or one of its submodules.",
            )
    return {kinds.get(layer, layer): qconfig for layer in layers}
