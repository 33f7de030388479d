from quantcore.fine_tuning.service import Transfers, TransferView
from quantcore.fine_tuning.training import MAX_EPOCHS, USUAL_EPOCHS, TransferSpec, teachable

__all__ = ["MAX_EPOCHS", "USUAL_EPOCHS", "TransferSpec", "TransferView", "Transfers", "teachable"]
