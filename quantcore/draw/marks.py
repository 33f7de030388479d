"""What a variant is drawn as: the colour of its workflow and the shape of its backend."""

from pathlib import Path

STYLE = Path(__file__).parent / "style.css"
LOGO = Path(__file__).parent / "logo.svg"

# Okabe and Ito's palette, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/);
# each has a contrast of at least 3:1 on the light and on the dark background.
NEUTRAL = "#7d8590"
# Of the line that a budget draws.
BUDGET = "#b4690e"
WORKFLOW_COLORS = {
    "float32": NEUTRAL,
    "pretrained": "#009e73",
    "dynamic": "#cc79a7",
    "static": "#0072b2",
    "qat": "#d55e00",
}
FLOAT_SYMBOL = "circle"
BACKEND_SYMBOLS = {
    "x86": "square",
    "fbgemm": "diamond",
    "onednn": "triangle-up",
    "qnnpack": "cross",
}


def color(workflow: str) -> str:
    """Return the colour of a workflow; a workflow without one of its own is neutral."""
    return WORKFLOW_COLORS.get(workflow, NEUTRAL)


def symbol(backend: str | None) -> str:
    """Return the marker of a backend; float32, which needs none, is a circle."""
    return BACKEND_SYMBOLS.get(backend, "hexagon") if backend else FLOAT_SYMBOL


def glyph(workflow: str, backend: str | None) -> str:
    """Return the mark a variant has in the plot, for tables and legends; shapes are in the CSS."""
    # Streamlit cleans SVG out of HTML, so the shape is a clipped box.
    shape = f"qw-{symbol(backend)}"
    return f'<i class="qw-glyph {shape}" style="background:{color(workflow)}"></i>'
