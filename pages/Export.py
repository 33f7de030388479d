"""One variant as a file for an app, with its verification report and code that runs it."""

import streamlit as st

from ui.common import progress, site, state
from ui.export import exporting

SUBTITLE = "A file for the app, a report of its checks, and the lines of code that run it."
REFRESH_S = 0.5


def main() -> None:
    """Draw the question, how far it is, and the file with its report."""
    unread = site.begin("Export", SUBTITLE, exporting.parameters())
    if unread is None:
        return
    unread += exporting.leave_foreign()
    wanted = exporting.ask()
    state.write_address(exporting.parameters())
    progress.show_notices(unread)
    if wanted is not None:
        running = exporting.is_running(wanted)
        st.fragment(exporting.answer, run_every=REFRESH_S if running else None)(wanted, running)


main()
