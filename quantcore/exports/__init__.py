from quantcore.exports.bundle import pack, pack_name
from quantcore.exports.delivery import REPORT_SUFFIX, deliver, require_free
from quantcore.exports.service import Exports, ExportView

__all__ = [
    "REPORT_SUFFIX",
    "ExportView",
    "Exports",
    "bundle",
    "deliver",
    "exports",
    "pack",
    "pack_name",
    "require_free",
]
