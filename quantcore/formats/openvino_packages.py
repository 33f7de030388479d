"""Import OpenVINO and NNCF so that they send nothing and print nothing.

Both bring a package that sends usage data unless the home folder says otherwise, and do without it
where it cannot be imported. So here it cannot.
"""

import importlib
import logging
import sys
from functools import cache
from types import ModuleType

TELEMETRY = "openvino_telemetry"


@cache
def openvino() -> ModuleType:
    """Return the package openvino, without its telemetry."""
    # None in `sys.modules` is how Python refuses an import.
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    return importlib.import_module("openvino")


@cache
def nncf() -> ModuleType:
    """Return the package nncf, without telemetry, progress bars and log lines on the terminal."""
    openvino()
    import rich

    rich.reconfigure(quiet=True)
    package = importlib.import_module("nncf")
    package.set_log_level(logging.CRITICAL)
    return package
