"""A comparison to take away: HTML, SVG, CSV, JSON, Markdown, and a table of plain text.

Every cell that was asked for is in each of them: figures where it was measured, else the reason and
the remedy. (Of a sweep's cells that share a reason, the text names three and counts the rest.)
`summary_rows` holds the same as display-ready text, row by row; `to_summary` says in a few lines of
Markdown what there is to decide.
"""

from quantcore.report.page import to_html, to_svg
from quantcore.report.rows import Row, method, summary_rows
from quantcore.report.sheet import COLUMNS, to_csv, to_records
from quantcore.report.summary import to_summary
from quantcore.report.text import to_markdown, to_text
from quantcore.report.verification import figures, verification_report_to_text
from quantcore.schema import Comparison

__all__ = [
    "COLUMNS",
    "Row",
    "figures",
    "method",
    "summary_rows",
    "to_csv",
    "to_html",
    "to_json",
    "to_markdown",
    "to_records",
    "to_summary",
    "to_svg",
    "to_text",
    "verification_report_to_text",
]


def to_json(comparison: Comparison) -> str:
    """Return the comparison in the public format, schema 3."""
    return comparison.to_json()
