"""From figures to a decision: budgets, a front that knows noise, a verdict in plain words.

`weigh` compares a comparison's rows once; `recommend` answers whenever a budget changes.
"""

from collections.abc import Sequence

from quantcore.decide.budgets import KINDS, Budgets, Estimate, Smallest, broken_budgets
from quantcore.decide.candidates import Candidate
from quantcore.decide.differences import ClassChange, Disagreement
from quantcore.decide.doubts import UNSETTLED
from quantcore.decide.evidence import Evidence, weigh
from quantcore.decide.paired import Correctness
from quantcore.decide.promise import Promise, promise
from quantcore.decide.reasons import Other, describe
from quantcore.decide.reference_groups import ReferenceGroup, reference_group, references
from quantcore.decide.speed import best_floats, has_several_floats, over_best
from quantcore.decide.targets import NEEDS_VNNI, needs_vnni, times_count, untimed
from quantcore.decide.verdict import Miss, Verdict, nearest_in_8_bits, recommend
from quantcore.schema import Comparison

__all__ = [
    "KINDS",
    "NEEDS_VNNI",
    "UNSETTLED",
    "Budgets",
    "Candidate",
    "ClassChange",
    "Correctness",
    "Disagreement",
    "Estimate",
    "Evidence",
    "Miss",
    "Other",
    "Promise",
    "ReferenceGroup",
    "Smallest",
    "Verdict",
    "best_floats",
    "bounds",
    "broken_budgets",
    "decide",
    "describe",
    "differences",
    "has_several_floats",
    "labels",
    "nearest_in_8_bits",
    "needs_vnni",
    "over_best",
    "promise",
    "recommend",
    "reference_group",
    "references",
    "times_count",
    "untimed",
    "weigh",
]


def decide(
    comparison: Comparison,
    budgets: Budgets | None = None,
    correctness: Correctness | None = None,
) -> Verdict:
    """Return the verdict on a whole comparison: `recommend(weigh(...), budgets)`."""
    limits = budgets or Budgets()
    evidence = weigh(comparison.results, correctness, limits.smallest, comparison.request.target)
    return recommend(evidence, limits, comparison.missing)


def bounds(candidates: Sequence[Candidate]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest value of each figure, by the budget's name.

    These are the ends of a budget's slider: at the upper end every row keeps it.
    """
    values_of = {
        name: [c.figures[name].value for c in candidates if name in c.figures] for name in KINDS
    }
    return {name: (min(values), max(values)) for name, values in values_of.items() if values}
