"""Evidence and verdict of a comparison, computed once for all visitors."""

from quantcore.decide import Budgets, Evidence, Smallest, Verdict, recommend, weigh
from quantcore.schema import Rows
from ui.common.once import once


def evidence_of(results: Rows, smallest: Smallest) -> Evidence:
    """Return the evidence for a verdict, which takes long for many results."""
    return once(_evidence_of, results, smallest)


def recommended(results: Rows, limits: Budgets, missing: int = 0) -> Verdict:
    """Return the verdict under these budgets; `missing` variants are still to be measured."""
    return once(_recommended, results, limits, missing)


def _evidence_of(results: Rows, smallest: Smallest) -> Evidence:
    return weigh(results, smallest=smallest)


def _recommended(results: Rows, limits: Budgets, missing: int) -> Verdict:
    return recommend(evidence_of(results, limits.smallest), limits, missing)
