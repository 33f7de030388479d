"""What the results of a comparison come to, judged once for all visitors."""

from quantcore.decide import Budgets, Evidence, Verdict, recommend, weigh
from ui.common.once import Rows, once


def evidence_of(results: Rows) -> Evidence:
    """Return what tells the results apart, which takes long for many."""
    return once(_weighed, results)


def recommended(results: Rows, limits: Budgets) -> Verdict:
    """Return what to ship under these budgets."""
    return once(_recommended, results, limits)


def _weighed(results: Rows) -> Evidence:
    return weigh(results)


def _recommended(results: Rows, limits: Budgets) -> Verdict:
    return recommend(evidence_of(results), limits)
