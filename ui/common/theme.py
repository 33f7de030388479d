"""The look every page shares: page set-up, heading, and the style sheets."""

import re
from base64 import b64encode
from html import escape
from pathlib import Path

import streamlit as st

from quantcore.draw import marks

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


def header(title: str, subtitle: str) -> None:
    """Draw the mark, the name of the product, and one sentence on what the page is for."""
    logo = b64encode(marks.LOGO.read_bytes()).decode()
    st.html(
        f'<header class="qw-header"><img alt="" src="data:image/svg+xml;base64,{logo}">'
        f"<div><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></div></header>"
    )


def plain(text: str) -> str:
    """Return a text of somebody's own so that Markdown takes it as it stands."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
