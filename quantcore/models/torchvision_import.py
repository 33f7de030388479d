"""Import torchvision beside any build of torch.

The CPU build of torch and the public torchvision wheel are built apart, and then torchvision's
compiled operators cannot be loaded. Its Python code needs their *schemas* alone at import time, and
classification models never call them. So torchvision is imported as it is, and only where that
fails for want of operators are the schemas declared here. Declared beside operators that do load,
they would end the process.
"""

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
# What torch says of an operator that nobody has declared.
_MISSING = "operator torchvision::"
# A torch Library drops its declarations when it is garbage collected, so it is kept here.
_declared: list[Any] = []


@cache
def torchvision() -> ModuleType:
    """Return the torchvision package, importable whatever build of torch is installed."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING not in str(error):
            raise
    _forget_half_an_import()
    _declare_missing_schemas()
    return importlib.import_module("torchvision")


def _forget_half_an_import() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


def _declare_missing_schemas() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _declared.append(library)
