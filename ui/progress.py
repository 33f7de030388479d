"""What a running, stopped or failed comparison says about itself."""

from collections.abc import Callable, Sequence
from html import escape

import streamlit as st

from quantcore.errors import QuantcoreError
from quantcore.results import CellProgress, JobView
from ui import state, theme, titles, words

REFUSAL = "refusal"
LOST_JOB = (
    "The comparison in this link is no longer on this server. "
    "Measure again; what was converted before is taken from the cache."
)
STATE_WORDS = {
    "waiting": "waiting",
    "running": "",
    "done": "done",
    "failed": "not possible or failed",
    "cancelled": "stopped",
}


def show(job: JobView) -> None:
    """Draw what the job is doing, or how it ended and what can be done about it."""
    _STATES[job.state](job)


def _running(job: JobView) -> None:
    finished = sum(cell.state not in {"waiting", "running"} for cell in job.cells)
    left = words.time_left(job.seconds_left)
    with st.container(border=True, key="busy"):
        text, button = st.columns([5, 1], vertical_alignment="center")
        text.progress(
            min(max(job.share, 0.0), 1.0),
            f"**Measuring {titles.model(job.comparison.request.model)}.** {finished} of "
            f"{words.count(len(job.cells), 'variant')} finished{', ' + left if left else ''}",
        )
        with button:
            st.button("Cancel", on_click=_cancel, args=[job.id], width="stretch")
        st.html(_cells(job))


def _cells(job: JobView) -> str:
    return f'<ul class="qw-cells">{"".join(_cell(cell) for cell in job.cells)}</ul>'


def _cell(cell: CellProgress) -> str:
    left = words.time_left(cell.seconds_left)
    doing = ", ".join(filter(None, [cell.stage, words.percent(cell.share, 0), left]))
    says = doing if cell.state == "running" else STATE_WORDS[cell.state]
    share = 1.0 if cell.state == "done" else cell.share
    return (
        f'<li class="qw-cell qw-{cell.state}">{theme.glyph(cell.workflow, cell.backend)}'
        f"<span><b>{escape(titles.variant(cell.workflow, cell.backend))}</b>"
        f"<small>{escape(says)}</small></span>"
        f'<span class="qw-bar" style="width:{100 * share:.0f}%"></span></li>'
    )


def _done(job: JobView) -> None:
    broken = [failure for failure in job.comparison.failures if not failure.refused]
    if not broken:
        return
    _notice(
        "warning",
        f"**{words.count(len(broken), 'variant')} failed.** The others stand. "
        "Reasons are below the table.",
        ("Try again", job),
    )


def _failed(job: JobView) -> None:
    message = job.message or "The comparison could not be finished."
    _notice("error", f"**Nothing was measured.** {message}", ("Try again", job))


def _cancelled(job: JobView) -> None:
    kept = len(job.comparison.results)
    what = f"{words.count(kept, 'variant')} measured before that stay below." if kept else ""
    _notice("info", f"**Stopped.** {what}", ("Go on measuring", job))


def _notice(kind: str, text: str, action: tuple[str, JobView]) -> None:
    label, job = action
    with st.container(horizontal=True, vertical_alignment="center", key=f"notice-{kind}"):
        getattr(st, kind)(text)
        st.button(label, on_click=_retry, args=[job])


def _cancel(job_id: str) -> None:
    guarded(lambda: state.comparisons().cancel(job_id))


def _retry(job: JobView) -> None:
    def again() -> None:
        state.remember_job(state.comparisons().retry(job.id), job.comparison.request.model)

    guarded(again)


def guarded(act: Callable[[], None]) -> None:
    """Do something that may be refused; keep the refusal for the page to say."""
    try:
        act()
    except QuantcoreError as error:
        st.session_state[REFUSAL] = (error.reason, error.remedy)


def check_settings() -> None:
    """End the page with a sentence where the server's settings cannot be read."""
    try:
        state.settings()
    except QuantcoreError as error:
        st.error(f"**{error.reason}** {error.remedy}")
        st.stop()


def show_notices(unread: Sequence[str]) -> None:
    """Say what a link named in vain, and once why the last action was refused."""
    if unread:
        st.info(f"This link names something unknown, which is left out: {', '.join(unread)}.")
    if state.forget_lost_job():
        st.info(LOST_JOB)
    refusal = st.session_state.pop(REFUSAL, None)
    if refusal:
        st.error(f"**{refusal[0]}** {refusal[1]}")


_STATES = {"running": _running, "done": _done, "failed": _failed, "cancelled": _cancelled}
