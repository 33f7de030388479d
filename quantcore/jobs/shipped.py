"""The comparison that ships with the project."""

from dataclasses import replace

from quantcore.engine import timed_together
from quantcore.models import bundled_file
from quantcore.schema import Comparison


def shipped_comparison() -> Comparison:
    """Return the comparison that ships with the project, measured on another machine."""
    shipped = Comparison.from_json(bundled_file("comparison.json").read_bytes())
    return replace(shipped, results=timed_together(shipped.results))
