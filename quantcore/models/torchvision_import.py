"""Import torchvision beside any build of torch.

The CPU build of torch and the public torchvision wheel are built apart, and then torchvision's
compiled operators cannot be loaded. Its Python code needs only their *schemas* at import time, and
classification models never call them, so the schemas are declared here where they are missing.
"""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# A torch Library drops its declarations when it is garbage collected, so it is kept here.
_declared: list[Any] = []


@cache
def torchvision() -> ModuleType:
    """Return the torchvision package, importable whatever build of torch is installed."""
    if not _compiled_operators_load():
        _declare_schemas()
    return importlib.import_module("torchvision")


def _compiled_operators_load() -> bool:
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision is not installed; run `make setup`")
    extension = Path(spec.origin).with_name("_C.so")
    if not extension.exists():
        return False
    try:
        torch.ops.load_library(str(extension))
    except OSError:
        return False
    return True


def _declare_schemas() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
