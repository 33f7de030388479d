"""A comparison to take away: CSV, JSON, Markdown for a ticket, and a table of plain text.

Every cell that was asked for is in each of them: figures where it was measured, else the reason and
the remedy. `summary_rows` holds the same as display-ready text, for the tables of pages.
"""

from quantcore.report.rows import Row, method, summary_rows
from quantcore.report.sheet import to_csv
from quantcore.report.text import to_markdown, to_text
from quantcore.results import Comparison

__all__ = ["Row", "method", "summary_rows", "to_csv", "to_json", "to_markdown", "to_text"]


def to_json(comparison: Comparison) -> str:
    """Return the comparison in the public format, schema 1."""
    return comparison.to_json()
