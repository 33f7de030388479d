"""What runs a model. `BACKENDS` is the list; `runtime` also answers for torch's float32 (None).

A new backend is one module and one line here.
"""

from collections.abc import Iterable

from quantcore.backends import onnxruntime, torch_engines
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


def float_backends(names: Iterable[str]) -> tuple[str | None, ...]:
    """Return the backends whose float32 is the reference of these ones, torch's first."""
    own = (runtime(name).float_backend for name in names)
    return tuple(dict.fromkeys((None, *own)))
