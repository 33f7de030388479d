from quantcore.fine_tuning.service import Transfers, TransferView
from quantcore.fine_tuning.training import MAX_EPOCHS, USUAL_EPOCHS, Point, TransferSpec, teachable

__all__ = [
    "MAX_EPOCHS",
    "USUAL_EPOCHS",
    "Point",
    "TransferSpec",
    "TransferView",
    "Transfers",
    "teachable",
]
