from quantcore.export.bundle import pack, pack_name
from quantcore.export.delivery import REPORT_SUFFIX, deliver, require_free
from quantcore.export.service import Exports, ExportView

__all__ = [
    "REPORT_SUFFIX",
    "ExportView",
    "Exports",
    "deliver",
    "pack",
    "pack_name",
    "require_free",
]
