"""A comparison under its budgets, evaluated once for all parts of a report."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import plotly.graph_objects as go

from quantcore import wording
from quantcore.decide import (
    Budgets,
    Evidence,
    Promise,
    Verdict,
    nearest_in_8_bits,
    promise,
    recommend,
    weigh,
)
from quantcore.draw import axes, charts, titles
from quantcore.schema import TARGETS, Comparison, VariantResult
from quantcore.workflows import bits_of

ACROSS = ("latency", "size", "memory")
# Where the times of the machine that measured decide nothing.
UNTIMED_ACROSS = ("size", "memory", "latency")


@dataclass(frozen=True)
class ReportContext:
    """A comparison with its budgets, and the verdict under these.

    Attributes:
        comparison: only what the report shows.
        link: where the live comparison is; empty where that is not known or not a web address.
        name: given by the user; empty where there is none.
        left_out: measured variants that the report does not show.
        missing: variants that are still to be measured.
    """

    comparison: Comparison
    budgets: Budgets
    link: str
    name: str
    left_out: int
    missing: int = 0

    @cached_property
    def evidence(self) -> Evidence:
        """Return the rows' figures and which of them differ beyond chance."""
        rows, target = self.comparison.results, self.comparison.request.target
        return weigh(rows, smallest=self.budgets.smallest, target=target)

    @cached_property
    def verdict(self) -> Verdict:
        """Return the verdict under the budgets."""
        return recommend(self.evidence, self.budgets, self.missing)

    @cached_property
    def rows(self) -> dict[str, VariantResult]:
        """Return the results by key."""
        return {row.key: row for row in self.comparison.results}

    @property
    def ships(self) -> VariantResult | None:
        """Return the result that the verdict says to ship."""
        return self.rows.get(self.verdict.ship or "")

    @property
    def badge(self) -> str | None:
        """Return the key of the result to mark as the one to ship; none while more is measured."""
        return None if self.missing else self.verdict.ship

    @property
    def title(self) -> str:
        """Return the report's name: the one given, or the models'."""
        halves = any(bits_of(row.workflow, row.settings) == 16 for row in self.rows.values())
        bits = "8 and 16 bits" if halves else "8 bits"
        return self.name or f"{wording.joined(list(self.models.values()))} in {bits}"

    @property
    def models(self) -> dict[str, str]:
        """Return the models' titles by name."""
        requests = (self.comparison.request, *self.comparison.also)
        return titles.models(request.model.name for request in requests)

    @property
    def provenance(self) -> str:
        """Return the target, and the day and the machine the figures are true of."""
        comparison = self.comparison
        day, machine = wording.day(comparison.created), comparison.environment.sentence()
        target = comparison.request.target
        place = f"For {TARGETS[target]}. " if target else ""
        return f"{place}Measured {day} on {machine}"

    @property
    def plots(self) -> list[tuple[str, str]]:
        """Return the pairs of axes that the rows can be drawn on, across and up."""
        rows = self.comparison.results
        up, _ = axes.drawable("accuracy", rows)
        # The first one is the one in sight.
        axis_order = ACROSS if self.evidence.timed else sorted(ACROSS, key=UNTIMED_ACROSS.index)
        return [(across, up) for across in axis_order if across != up] if rows else []

    @cached_property
    def figures(self) -> list[go.Figure]:
        """Return the plot of each pair of axes."""
        rows, front = self.comparison.results, self.verdict.front
        return [charts.plot(rows, *pair, front, self.budgets) for pair in self.plots]

    @property
    def promised(self) -> VariantResult | None:
        """Return the 8-bit variant that the recipe is held against: what ships, or the nearest."""
        return nearest_in_8_bits(self.evidence, self.verdict)

    def promises(self) -> tuple[Promise, ...]:
        """Return the recipe's promises, each with the measured outcome."""
        row = self.promised
        return () if row is None else promise(self.comparison, row, self.evidence)

    def names(self) -> dict[str, str]:
        """Return by key what each row is called."""
        return titles.by_key(self.comparison.results)


def report_context(
    comparison: Comparison,
    budgets: Budgets | None = None,
    link: str = "",
    name: str = "",
    visible: Collection[str] | None = None,
) -> ReportContext:
    """Return the context of a report.

    Args:
        comparison: the whole answer.
        budgets: the limits; none where left out.
        link: address of the live comparison; what is no `http` address is left out.
        name: of the comparison.
        visible: keys of the results to show; all of them where left out.
    """
    kept = [row for row in comparison.results if visible is None or row.key in visible]
    return ReportContext(
        replace(comparison, results=tuple(kept)),
        budgets or Budgets(),
        link if link.startswith(("http://", "https://")) else "",
        " ".join(name.split()),
        len(comparison.results) - len(kept),
        comparison.missing,
    )
