from quantcore.playground.run import Answer, Picture, Seen, TrialSpec, TrialView, Unanswered
from quantcore.playground.service import Trials

__all__ = ["Answer", "Picture", "Seen", "TrialSpec", "TrialView", "Trials", "Unanswered"]
