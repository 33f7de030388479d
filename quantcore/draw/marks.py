"""The mark of a variant: the colour of its workflow and the shape of its backend."""

from pathlib import Path

from markupsafe import Markup

from quantcore.backends import entry
from quantcore.draw.templating import render
from quantcore.schema import FLOAT_WORKFLOW
from quantcore.workflows import WORKFLOWS

STYLE = Path(__file__).parent / "style.css"
LOGO = Path(__file__).parent / "logo.svg"

# Of float32, and of what stands for no workflow.
NEUTRAL = WORKFLOWS[FLOAT_WORKFLOW].color
# Of the line that a budget draws.
BUDGET = "#b4690e"
# Of a backend or a workflow that today's version does not know.
UNKNOWN_SYMBOL = "hexagon"


def color(workflow: str) -> str:
    """Return the colour of a workflow; an unknown workflow is neutral."""
    return WORKFLOWS[workflow].color if workflow in WORKFLOWS else NEUTRAL


def symbol(backend: str | None) -> str:
    """Return the marker of a backend; torch's float32, which needs none, is a circle."""
    backend_entry = entry(backend)
    return backend_entry.symbol if backend_entry else UNKNOWN_SYMBOL


def glyph(workflow: str, backend: str | None) -> Markup:
    """Return the mark a variant has in the plot, for tables and legends; shapes are in the CSS."""
    # Streamlit cleans SVG out of HTML, so the shape is a clipped box.
    return render("glyph.html", shape=symbol(backend), color=color(workflow))
