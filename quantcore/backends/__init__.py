"""What runs a model. `BACKENDS` is the list; `runtime` also answers for torch's float32 (None).

A new backend is one module and one line here.
"""

from collections.abc import Iterable

from quantcore import wording
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
from quantcore.backends.targets import MADE_FOR, WHERE
from quantcore.backends.torch_ao.module import TorchModel, example
from quantcore.backends.torch_engines import FLOAT
from quantcore.models import ModelInfo
from quantcore.schema import YES, Environment, Support, Target, picked

__all__ = [
    "BACKENDS",
    "FLOAT",
    "MADE_FOR",
    "WHERE",
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
    "default_backends",
    "entry",
    "example",
    "float_backends",
    "made_for",
    "runtime",
    "serves",
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


def made_for(target: Target | None) -> tuple[str, ...]:
    """Return the backends that are made for a target; all of them where none is decided."""
    return tuple(name for name, each in BACKENDS.items() if target in (None, *each.targets))


def default_backends(
    target: Target | None, environment: Environment, model: ModelInfo | None = None
) -> tuple[str, ...]:
    """Return the backends of a first comparison that can run on that machine.

    That is the first one of each runtime that is made for the target, so that a comparison of all
    of them stays short; where none is decided, for servers, as what measures is one. Of a model
    that came as a graph, only those that read graphs.
    """
    here = [
        name
        for name, each in BACKENDS.items()
        if each.available(environment).ok
        and (each.toolchain.reads_graphs or not (model and model.is_graph))
    ]
    first: dict[str | None, str] = {}
    for name in made_for(target or "server"):
        if name in here:
            first.setdefault(BACKENDS[name].float_backend, name)
    return tuple(first.values())


def serves(name: str | None, target: Target | None) -> Support:
    """Return whether a backend is made for a target, or what is instead; None is torch's float32.

    Of a backend that today's version does not know, nothing is held against it.
    """
    backend = entry(name)
    if target is None or backend is None or target in backend.targets:
        return YES
    places = wording.joined([MADE_FOR[each] for each in backend.targets])
    others = [BACKENDS[each].title for each in made_for(target)]
    return Support(
        False,
        f"{backend.title} is made for {places}, not for {MADE_FOR[target]}.",
        f"Choose {wording.choice(others)}." if others else "Choose another target.",
    )
