"""The first page: compare the 8-bit variants of one model, as measured."""

import streamlit as st

from ui import progress, sections, state, theme, titles, widgets

REFRESH_S = 0.5
TITLE = "Quantization what-if"
PROMISE = "Every 8-bit version of a model, converted and measured: its size, speed and accuracy."


def main() -> None:
    """Draw the page from top to bottom: the question, its progress, the answer."""
    theme.set_up_page(TITLE)
    theme.header(TITLE, PROMISE)
    progress.check_settings()
    unread = state.read_address()
    state.follow_job()
    widgets.ask()
    progress.show_notices(unread)
    job = state.current_job()
    running = job is not None and job.state == "running"
    st.fragment(answer, run_every=REFRESH_S if running else None)(running)


def answer(running: bool) -> None:
    """Draw the job's progress and what is measured so far; again and again while it runs."""
    job = state.current_job()
    if running and (job is None or job.state != "running"):
        st.rerun()
    if job is not None:
        progress.show(job)
    shown = state.shown(job)
    if shown is not None:
        sections.answer(shown)
    elif job is not None:
        sections.failures(job.comparison.failures)
    else:
        sections.empty(titles.model(state.chosen_model()))
    state.write_address()


main()
