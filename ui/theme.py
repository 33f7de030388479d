"""The look every page shares: page set-up, colours, shapes, and the style sheet."""

from base64 import b64encode
from html import escape
from pathlib import Path

import streamlit as st

STATIC = Path(__file__).parent / "static"
LOGO = STATIC / "logo.svg"
STYLE = STATIC / "style.css"

# Okabe and Ito's palette, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/);
# each has a contrast of at least 3:1 on the light and on the dark background.
NEUTRAL = "#7d8590"
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


def set_up_page(title: str) -> None:
    """Set the page's title, icon and width, and load the style sheet. The first call of a page."""
    st.set_page_config(
        page_title=title,
        page_icon=str(LOGO),
        layout="wide",
        initial_sidebar_state="collapsed",
    )
    st.html(STYLE)


def header(title: str, subtitle: str) -> None:
    """Draw the mark, the name of the product, and one sentence on what the page is for."""
    logo = b64encode(LOGO.read_bytes()).decode()
    st.html(
        f'<header class="qw-header"><img alt="" src="data:image/svg+xml;base64,{logo}">'
        f"<div><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></div></header>"
    )
