"""Evidence and verdict of a comparison, computed once for all visitors."""

from quantcore.decide import Budgets, Evidence, Verdict, recommend, weigh
from ui.common.once import Rows, once


def evidence_of(results: Rows) -> Evidence:
    """Return the evidence for a verdict, which takes long for many results."""
    return once(_evidence_of, results)


def recommended(results: Rows, limits: Budgets) -> Verdict:
    """Return the verdict under these budgets."""
    return once(_recommended, results, limits)


def _evidence_of(results: Rows) -> Evidence:
    return weigh(results)


def _recommended(results: Rows, limits: Budgets) -> Verdict:
    return recommend(evidence_of(results), limits)
