from quantcore.exports.bundle import pack, pack_name
from quantcore.exports.delivery import PROOF_SUFFIX, deliver, require_free
from quantcore.exports.service import Exports

__all__ = ["PROOF_SUFFIX", "Exports", "deliver", "pack", "pack_name", "require_free"]
