"""What a row of a list opens in its place: a question asked once more, a field.

Not Streamlit's popover: in a list that grows shorter the browser hands that of a deleted row,
open as it is, to the next row, and the click meant to open that one closes it.
"""

import streamlit as st

from ui.common.markdown import markdown

_OPEN = "open-fold"


def unfold(label: str, key: str, close: str = "Close") -> bool:
    """Draw a button that opens one row's fold, or closes it, and return whether it is open."""
    is_open = st.session_state.get(_OPEN) == key
    st.button(
        markdown(close if is_open else label),
        key=key,
        on_click=_turn,
        args=[None if is_open else key],
    )
    return is_open


def close() -> None:
    """Close the open fold, if there is one."""
    _turn(None)


def _turn(key: str | None) -> None:
    st.session_state[_OPEN] = key
