"""What runs a model. `BACKENDS` is the list; `runtime` also answers for torch's float32 (None).

A new backend is one module and one line here.
"""

from collections.abc import Iterable

from quantcore.backends import executorch, onnxruntime, openvino, torch_engines
from quantcore.backends.base import (
    Backend,
    ConvertedModel,
    Recipe,
    RunsFormat,
    Step,
    Symbol,
    Toolchain,
)
from quantcore.backends.fidelity import agreement, sqnr_db
from quantcore.backends.options import KeepFloat, Observer
from quantcore.backends.torch_ao.module import TorchModel, example
from quantcore.backends.torch_engines import FLOAT
from quantcore.models import ModelInfo
from quantcore.schema import picked

__all__ = [
    "BACKENDS",
    "FLOAT",
    "Backend",
    "ConvertedModel",
    "KeepFloat",
    "Observer",
    "Recipe",
    "RunsFormat",
    "Step",
    "Symbol",
    "Toolchain",
    "TorchModel",
    "agreement",
    "entry",
    "example",
    "float_backends",
    "runtime",
    "sqnr_db",
]

BACKENDS: dict[str, Backend] = {
    "x86": torch_engines.X86,
    "fbgemm": torch_engines.FBGEMM,
    "onednn": torch_engines.ONEDNN,
    "qnnpack": torch_engines.QNNPACK,
    "onnxruntime": onnxruntime.BACKEND,
    "openvino": openvino.BACKEND,
    "executorch": executorch.BACKEND,
}


def runtime(name: str | None) -> Backend:
    """Return the backend of that name; None is torch's float32.

    Raises:
        RequestError: there is no such backend; the sentence names the nearest.
    """
    return FLOAT if name is None else picked(BACKENDS, name, "backend")


def entry(name: str | None) -> Backend | None:
    """Return the backend of that name, None where today's version knows it no more."""
    return FLOAT if name is None else BACKENDS.get(name)


def float_backends(names: Iterable[str], model: ModelInfo | None = None) -> tuple[str | None, ...]:
    """Return the backends whose float32 a model's variants on these ones are held against.

    The first is the one whose answers all others are compared with: torch's (None), or that of the
    first backend that reads ONNX graphs where the model came as one. A model that came in 8 bits
    has no float32. A model of None is any that torch can read.
    """
    if model and model.in_8_bits:
        return ()
    own = [runtime(name) for name in names]
    if model and model.is_graph:
        readers = [each for each in BACKENDS.values() if each.toolchain.reads_graphs]
        own = [readers[0], *(each for each in own if each in readers)]
        return tuple(dict.fromkeys(each.float_backend for each in own))
    return tuple(dict.fromkeys((None, *(each.float_backend for each in own))))
