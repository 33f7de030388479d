"""The pictures on which a variant and float32 name different classes, and what each class loses."""

import streamlit as st

from ui.common import progress, site, state
from ui.gallery import gallery

SUBTITLE = "The pictures on which a variant and float32 part ways, and what each class loses."


def main() -> None:
    """Draw the choice of variant, the share of differing pictures, the pictures and the classes."""
    unread = site.begin("Gallery", SUBTITLE, gallery.parameters())
    if unread is None:
        return
    state.follow_job()
    progress.show_notices(unread)
    st.fragment(gallery.draw)()


main()
