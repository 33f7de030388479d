"""What a file is. `FORMATS` is the list of formats; `file_format` builds one from its options."""

from quantcore.formats import executorch_program
from quantcore.formats.base import (
    METADATA,
    Format,
    Kernels,
    LayerKind,
    MeasuredFormat,
    Planned,
    Predictor,
    Source,
    Written,
)
from quantcore.formats.executorch import ExecuTorch, slow_on_phones
from quantcore.formats.mobile import Mobile
from quantcore.formats.onnx import Onnx
from quantcore.formats.openvino import OpenVino
from quantcore.formats.programs import PythonCode
from quantcore.formats.torchscript import TorchScript
from quantcore.schema import Setting, built, picked

__all__ = [
    "DEFAULT_FORMAT",
    "FORMATS",
    "METADATA",
    "ExecuTorch",
    "Format",
    "Kernels",
    "LayerKind",
    "MeasuredFormat",
    "Onnx",
    "OpenVino",
    "Planned",
    "Predictor",
    "PythonCode",
    "Source",
    "TorchScript",
    "Written",
    "executorch_program",
    "file_format",
    "onnx",
    "onnx_graph",
    "openvino",
    "openvino_packages",
    "slow_on_phones",
    "torchscript",
]

FORMATS: dict[str, type[Format]] = {
    "torchscript": TorchScript,
    "mobile": Mobile,
    "onnx": Onnx,
    "openvino": OpenVino,
    "executorch": ExecuTorch,
}
# What the page offers first: the file for phones that every model here can be.
DEFAULT_FORMAT = Mobile.name


def file_format(name: str, options: dict[str, Setting]) -> Format:
    """Return the format of that name with these options, the others at their defaults.

    Raises:
        RequestError: an unknown format or option, or a value that does not fit.
    """
    kind = picked(FORMATS, name, "format")
    chosen: Format = built(kind, options, f"format {name}", "option")
    return chosen
