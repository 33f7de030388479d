"""The comparison that ships with the project."""

from quantcore.models import bundled_file
from quantcore.schema import Comparison


def shipped_comparison() -> Comparison:
    """Return the comparison that ships with the project, measured on another machine."""
    return Comparison.from_json(bundled_file("comparison.json").read_bytes())
