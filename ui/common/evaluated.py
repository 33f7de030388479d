"""Evidence and verdict of a comparison, computed once for all visitors."""

from quantcore.decide import Budgets, Evidence, Smallest, Verdict, recommend, weigh
from quantcore.schema import Rows, Target
from ui.common import state
from ui.common.once import once


def evidence_of(results: Rows, smallest: Smallest) -> Evidence:
    """Return the evidence for a verdict on the page's target; it takes long for many results."""
    return once(_evidence_of, results, smallest, state.target())


def recommended(results: Rows, limits: Budgets, missing: int = 0) -> Verdict:
    """Return the verdict under these budgets; `missing` variants are still to be measured."""
    return once(_recommended, results, limits, missing, state.target())


def _evidence_of(results: Rows, smallest: Smallest, target: Target | None) -> Evidence:
    return weigh(results, smallest=smallest, target=target)


def _recommended(results: Rows, limits: Budgets, missing: int, target: Target | None) -> Verdict:
    return recommend(once(_evidence_of, results, limits.smallest, target), limits, missing)
