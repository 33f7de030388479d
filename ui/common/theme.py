"""The look every page shares: page set-up, heading, and the style sheets."""

from base64 import b64encode
from pathlib import Path

import streamlit as st

from quantcore.draw import marks
from ui.common import fragments

STATIC = Path(__file__).parent / "static"
STYLE = STATIC / "style.css"


def set_up_page(title: str) -> None:
    """Set the page's title, icon and width, and load the style sheet. The first call of a page."""
    st.set_page_config(
        page_title=title,
        page_icon=str(marks.LOGO),
        layout="wide",
        initial_sidebar_state="collapsed",
    )
    st.html(marks.STYLE)
    st.html(STYLE)


def open_page(title: str, subtitle: str) -> None:
    """Set up a page and draw its header."""
    set_up_page(title)
    header(title, subtitle)


def header(title: str, subtitle: str) -> None:
    """Draw the mark, the name of the product, and one sentence on what the page is for."""
    logo = b64encode(marks.LOGO.read_bytes()).decode()
    address = f"data:image/svg+xml;base64,{logo}"
    st.html(fragments.render("header.html", logo=address, title=title, subtitle=subtitle))
