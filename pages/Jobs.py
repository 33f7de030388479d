"""Every comparison of this server: its requester, progress and actions."""

import streamlit as st

from ui.common import progress, state, theme
from ui.jobs import jobs

SUBTITLE = "Every comparison asked for on this server, and how far it is."
REFRESH_S = 1.0


def main() -> None:
    """Draw the open comparisons, refreshed while there are any, and then the others."""
    theme.open_page("Jobs", SUBTITLE)
    progress.check_settings()
    progress.show_notices()
    if state.problem():
        return
    listed = jobs.look()
    st.fragment(jobs.under_way, run_every=REFRESH_S if listed.open else None)(listed)
    jobs.over(listed)


main()
