"""What is taken away: one module a file format, each with `FORMAT` and `export`."""

from types import ModuleType

from quantcore.exporters import torchscript

EXPORTERS: dict[str, ModuleType] = {torchscript.FORMAT: torchscript}
