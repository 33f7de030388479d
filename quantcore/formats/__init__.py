"""What is taken away: the file formats. `EXPORTERS` is the list; `exporter` builds one."""

from quantcore.formats.base import METADATA, Exporter, Source, Written
from quantcore.formats.executorch import ExecuTorch
from quantcore.formats.mobile import Mobile
from quantcore.formats.multiply_adds import float_multiply_adds
from quantcore.formats.onnx import Onnx, uses_all_bits
from quantcore.formats.torchscript import TorchScript
from quantcore.schema import Setting, built, picked

__all__ = [
    "EXPORTERS",
    "METADATA",
    "Exporter",
    "Source",
    "TorchScript",
    "Written",
    "exporter",
    "float_multiply_adds",
    "uses_all_bits",
]


EXPORTERS: dict[str, type[Exporter]] = {
    "torchscript": TorchScript,
    "mobile": Mobile,
    "onnx": Onnx,
    "executorch": ExecuTorch,
}


def exporter(name: str, options: dict[str, Setting]) -> Exporter:
    """Return the format of that name with these options, the others at their defaults.

    Raises:
        RequestError: an unknown format or option, or a value that does not fit.
    """
    kind = picked(EXPORTERS, name, "format")
    made: Exporter = built(kind, options, f"format {name}", "option")
    return made
