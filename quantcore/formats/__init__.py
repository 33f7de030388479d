"""What a file is. `EXPORTERS` is the list of formats; `exporter` builds one from its options."""

from quantcore.formats.base import (
    METADATA,
    Format,
    Kernels,
    MeasuredFormat,
    Predictor,
    Source,
    Written,
)
from quantcore.formats.executorch import ExecuTorch
from quantcore.formats.mobile import Mobile
from quantcore.formats.onnx import Onnx
from quantcore.formats.torchscript import TorchScript
from quantcore.schema import Setting, built, picked

__all__ = [
    "EXPORTERS",
    "METADATA",
    "Format",
    "Kernels",
    "MeasuredFormat",
    "Onnx",
    "Predictor",
    "Source",
    "TorchScript",
    "Written",
    "exporter",
]

EXPORTERS: dict[str, type[Format]] = {
    "torchscript": TorchScript,
    "mobile": Mobile,
    "onnx": Onnx,
    "executorch": ExecuTorch,
}


def exporter(name: str, options: dict[str, Setting]) -> Format:
    """Return the format of that name with these options, the others at their defaults.

    Raises:
        RequestError: an unknown format or option, or a value that does not fit.
    """
    kind = picked(EXPORTERS, name, "format")
    chosen: Format = built(kind, options, f"format {name}", "option")
    return chosen
