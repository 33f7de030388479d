"""The first page, compare the 8-bit variants of one model, and the server of all pages."""

import streamlit as st
from starlette.middleware import Middleware

from quantcore.draw import titles
from quantcore.schema import JobView
from ui.common import owned_uploads, progress, server, site, state, theme, widgets
from ui.compare import sections, tour

REFRESH_S = 0.5
TITLE = "Quantization what-if"
PROMISE = "Every smaller version of a model, converted and measured: its size, speed and accuracy."


def main() -> None:
    """Draw the page from top to bottom: the question, its progress, the answer."""
    theme.set_up_page(TITLE)
    with st.container(horizontal=True, vertical_alignment="center", key="top"):
        theme.header(TITLE, PROMISE)
        progress.check_settings()
        site.link_to_models()
        site.link_to_sweep()
        site.link_to_jobs()
    unread = state.read_address()
    state.follow_job()
    unread += owned_uploads.leave_foreign()
    tour.draw()
    widgets.ask()
    progress.show_notices(unread)
    job = state.current_job()
    if job is not None:
        st.fragment(follow, run_every=REFRESH_S if job.is_open else None)(job)
    st.fragment(answer)()


def follow(drawn: JobView) -> None:
    """Draw the job's progress, refreshed while it runs; new results redraw the answer.

    The answer takes long to draw next to this, and changes only a few times.
    """
    job = state.current_job()
    if job is None or _state_of(job) != _state_of(drawn) or progress.REFUSAL in st.session_state:
        st.rerun()
    progress.show(job)


def _state_of(job: JobView) -> tuple[object, ...]:
    """Return the parts of a job that the rest of the page shows."""
    return job.id, job.is_open, len(job.comparison.results), len(job.comparison.failures)


def answer() -> None:
    """Draw the results so far, or what will be here."""
    job = state.current_job()
    shown = state.shown(job)
    if shown is not None:
        sections.answer(shown)
    elif job is not None:
        sections.failures(job.comparison.failures)
    else:
        sections.empty(titles.model(state.chosen_model()))
    state.write_address()


# Streamlit draws the page from this file. Before that, the server imports it and finds here what it
# is to serve.
if __name__ == "__main__":
    main()
else:
    app = st.App(
        site.ENTRY, lifespan=server.lifespan, middleware=[Middleware(server.VisitorCookie)]
    )
