"""The words of the other pages, each in a sentence or two, to read or to look up."""

import streamlit as st

from ui.common import fragments, glossary, state, theme
from ui.common.markdown import markdown
from ui.common.state import Parameter

SUBTITLE = "What the words on the other pages mean. Every figure is measured; none is assumed."
FIND = Parameter("find", (), None)


def main() -> None:
    """Draw the search field, and the words of each kind."""
    theme.set_up_page("Words")
    theme.header("Words", SUBTITLE)
    state.read_address([FIND])
    st.text_input("Find a word", key=FIND.key, placeholder="budget, median, opset …", width=360)
    state.write_address([FIND])
    looked_for = str(st.session_state[FIND.key] or "")
    groups = glossary.matching(looked_for)
    for title, meanings in groups.items():
        st.header(markdown(title), anchor=False)
        st.html(glossary.html(meanings))
    if not groups:
        st.info(markdown(f"No word here goes with “{looked_for}”."))
    # The browser looks for the word in the address before the words are drawn.
    st.html(fragments.render("go_to_anchor.html"), unsafe_allow_javascript=True)


main()
