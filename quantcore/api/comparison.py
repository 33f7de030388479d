"""A comparison with a decision and a table."""

import dataclasses
from typing import TYPE_CHECKING

from quantcore import report, schema
from quantcore.decide import Budgets, Verdict, decide
from quantcore.errors import RequestError

if TYPE_CHECKING:
    from pandas import DataFrame


class Comparison(schema.Comparison):
    """A measured comparison: `results`, `failures`, and the environment they are true of."""

    @classmethod
    def of(cls, comparison: schema.Comparison) -> "Comparison":
        """Return a comparison as an instance of this class."""
        names = [field.name for field in dataclasses.fields(comparison)]
        return cls(**{name: getattr(comparison, name) for name in names})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Comparison":
        """Return the comparison that `to_json` or `quantcore compare --json` wrote.

        Raises:
            RequestError: the text is no comparison.
        """
        return cls.of(super().from_json(text))

    def verdict(self, budgets: Budgets | None = None) -> Verdict:
        """Return the verdict within these budgets: the variant to ship, and why not the others.

        Raises:
            RequestError: the budgets are none.
        """
        if budgets is not None and not isinstance(budgets, Budgets):
            raise RequestError(f"{budgets!r} are no budgets.", "Give Budgets(size_bytes=5e6).")
        return decide(self, budgets)

    def to_dataframe(self) -> "DataFrame":
        """Return a pandas table with a row for each result and each failure, as in the CSV."""
        from pandas import DataFrame

        return DataFrame(report.to_records(self), columns=list(report.COLUMNS))
