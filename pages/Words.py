"""The words of the other pages, each in a sentence or two, to read or to look up."""

import streamlit as st

from ui.common import glossary, state, theme
from ui.common.state import Parameter

SUBTITLE = "What the words on the other pages mean. Every figure is measured; none is assumed."
FIND = Parameter("find", (), None)
# The words come after the page, when the browser has looked for the one its address names.
GO_TO_ANCHOR = "<script>if (location.hash) location.replace(location.hash);</script>"


def main() -> None:
    """Draw what is looked for, and the words of each kind."""
    theme.set_up_page("Words")
    theme.header("Words", SUBTITLE)
    state.read_address([FIND])
    st.text_input("Find a word", key=FIND.key, placeholder="budget, median, opset …", width=360)
    state.write_address([FIND])
    looked_for = str(st.session_state[FIND.key] or "")
    groups = glossary.found(looked_for)
    for title, meanings in groups.items():
        st.header(title, anchor=False)
        st.html(glossary.html(meanings))
    if not groups:
        st.info(f"No word here goes with “{theme.plain(looked_for)}”.")
    st.html(GO_TO_ANCHOR, unsafe_allow_javascript=True)


main()
