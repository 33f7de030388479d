from quantcore.export.bundle import pack, pack_name
from quantcore.export.delivery import PROOF_SUFFIX, deliver, require_free
from quantcore.export.service import Exports

__all__ = ["PROOF_SUFFIX", "Exports", "deliver", "pack", "pack_name", "require_free"]
