"""One variant as a file for an app, with its verification report and code that runs it."""

import streamlit as st

from ui.common import progress, site, state
from ui.export import form, result

SUBTITLE = "A file for the app, a report of its checks, and the lines of code that run it."
REFRESH_S = 0.5


def main() -> None:
    """Draw the question, how far it is, and the file with its report."""
    unread = site.begin("Export", SUBTITLE, form.parameters())
    if unread is None:
        return
    unread += form.leave_foreign()
    wanted = form.ask()
    state.write_address(form.parameters())
    progress.show_notices(unread)
    if wanted is not None:
        form.say_fit(wanted)
        running = result.is_running(wanted)
        st.fragment(result.answer, run_every=REFRESH_S if running else None)(wanted, running)


main()
