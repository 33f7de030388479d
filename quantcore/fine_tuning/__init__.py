from quantcore.fine_tuning.service import FineTuning, FineTuningView
from quantcore.fine_tuning.spec import MAX_EPOCHS, USUAL_EPOCHS, FineTuningSpec, Point, tunable

__all__ = [
    "MAX_EPOCHS",
    "USUAL_EPOCHS",
    "FineTuning",
    "FineTuningSpec",
    "FineTuningView",
    "Point",
    "tunable",
]
