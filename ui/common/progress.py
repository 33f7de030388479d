"""What a running, stopped or failed comparison says about itself."""

import time
from collections.abc import Callable, Sequence

import streamlit as st
from markupsafe import Markup

from quantcore import wording
from quantcore.draw import marks, titles
from quantcore.errors import QuantcoreError
from quantcore.schema import CellProgress, JobView, ModelSpec
from ui.common import fragments, state, visitor
from ui.common.markdown import Markdown, markdown, reason_and_remedy
from ui.common.once import once

REFUSAL = "refusal"
LOST_JOB = (
    "The comparison in this link is no longer on this server: it was deleted, or asked for "
    "elsewhere. Measure again; what was converted before is taken from the cache."
)
READ_ONLY = (
    "You can look at it but not change it. Where its model and images are yours to use, the button "
    "above starts one of your own, and what is measured already returns at once."
)
ELSEWHERE = "another comparison is measuring it"
STATE_WORDS = {
    "waiting": "waiting",
    "running": "",
    "done": "done",
    "failed": "not possible or failed",
    "cancelled": "stopped",
}


def show(job: JobView) -> None:
    """Draw whose job it is, and what it is doing or how it ended and what can be done about it."""
    _introduce(job)
    _STATES[job.state](job)


def _introduce(job: JobView) -> None:
    """Say the job's name and, where it is not the visitor's own, who asked for it."""
    parts = [Markdown("**{}**").format(job.name)] if job.name else []
    if not visitor.owns(job.owner):
        who = visitor.called(job.owner, job.asked_by)
        parts.append(markdown(f"Asked for by {who}, {wording.ago(time.time() - job.created)}."))
    if not visitor.may_change(job):
        parts.append(markdown(READ_ONLY))
    if parts:
        st.caption(Markdown(" ").join(parts))


def _busy(job: JobView) -> None:
    with st.container(border=True, key="busy"):
        text, button = st.columns([5, 1], vertical_alignment="center")
        sentence = _waiting_text(job) if job.state == "queued" else _running_text(job)
        text.progress(min(max(job.share, 0.0), 1.0), markdown(sentence))
        if visitor.may_change(job):
            with button:
                st.button("Cancel", on_click=_cancel, args=[job.id], width="stretch")
        st.html(_cells(job))


def _running_text(job: JobView) -> Markdown:
    finished = sum(cell.state not in {"waiting", "running"} for cell in job.cells)
    left = wording.time_left(job.seconds_left)
    of = wording.count(len(job.cells), "variant")
    return Markdown("**Measuring {}.** {} of {} finished{}").format(
        _what(job), finished, of, f", {left}" if left else ""
    )


def _waiting_text(job: JobView) -> Markdown:
    line = queue_position(job.ahead, job.starts_in_s)
    return Markdown("**{} waits.** {}").format(_what(job), line)


def _what(job: JobView) -> str:
    requests = (job.comparison.request, *job.comparison.also)
    what = models(requests[0].model, len({request.model for request in requests}))
    if job.location == "here":
        return what
    return f"{what} on {job.comparison.environment.sentence()}"


def models(first: ModelSpec, count: int) -> str:
    """Return the models of a job, in words: `MobileNet v2 and 2 other models`."""
    others = wording.count(count - 1, "other model")
    return f"{titles.model(first)} and {others}" if count > 1 else titles.model(first)


def queue_position(ahead: int | None, starts_in_s: float | None) -> str:
    """Return how long the line is before a job that has not begun, in words."""
    if not ahead:
        return "It is next in line"
    starts = f", starts in {wording.about(starts_in_s)}" if starts_in_s else ""
    return f"{wording.count(ahead, 'variant')} ahead{starts}"


def _cells(job: JobView) -> Markup:
    requests = (job.comparison.request, *job.comparison.also)
    named = zip(job.cells, once(titles.cell_names, requests), strict=False)
    return fragments.render("job_cells.html", cells=[_cell(cell, name) for cell, name in named])


def _cell(cell: CellProgress, name: str) -> dict[str, object]:
    left = wording.time_left(cell.seconds_left)
    stage = ", ".join(filter(None, [cell.stage, wording.percent(cell.share, 0), left]))
    text = stage if cell.state == "running" else STATE_WORDS[cell.state]
    share = 1.0 if cell.state == "done" else cell.share
    return {
        "state": cell.state,
        "mark": marks.glyph(cell.workflow, cell.backend),
        "name": name,
        "text": ELSEWHERE if cell.elsewhere else text,
        "width": f"{100 * share:.0f}%",
    }


def _done(job: JobView) -> None:
    broken = [failure for failure in job.comparison.failures if not failure.refused]
    if not broken:
        return
    _notice(
        "warning",
        reason_and_remedy(
            f"{wording.count(len(broken), 'variant')} failed.",
            "The others stand. Reasons are below the table.",
        ),
        ("Try again", job),
    )


def _failed(job: JobView) -> None:
    message = job.message or "The comparison could not be finished."
    _notice("error", reason_and_remedy("Nothing was measured.", message), ("Try again", job))


def _cancelled(job: JobView) -> None:
    kept = len(job.comparison.results)
    what = f"{wording.count(kept, 'variant')} measured before that stay below." if kept else ""
    _notice("info", reason_and_remedy("Stopped.", what), ("Go on measuring", job))


def _notice(kind: str, text: Markdown, action: tuple[str, JobView]) -> None:
    label, job = action
    with st.container(horizontal=True, vertical_alignment="center", key=f"notice-{kind}"):
        getattr(st, kind)(text)
        if visitor.may_change(job):
            st.button(markdown(label), on_click=_retry, args=[job])


def _cancel(job_id: str) -> None:
    guarded(lambda: state.service().cancel(job_id))


def _retry(job: JobView) -> None:
    def again() -> None:
        state.remember_job(state.service().retry(job.id), job.comparison.request.model)

    guarded(again)


def guarded(act: Callable[[], object]) -> None:
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
        _say_error(error.reason, error.remedy)
        st.stop()


def show_notices(unread: Sequence[str] = ()) -> None:
    """Say what a link named in vain, and once why the last action was refused."""
    if unread:
        named = ", ".join(unread)
        st.info(markdown(f"This link names something unknown, which is left out: {named}."))
    problem = state.problem()
    if problem is None and state.forget_lost_job():
        st.info(LOST_JOB)
    standing = problem and (problem.reason, problem.remedy)
    refusal = st.session_state.pop(REFUSAL, standing)
    if refusal:
        _say_error(*refusal)


def _say_error(reason: str, remedy: str) -> None:
    st.error(reason_and_remedy(reason, remedy))


_STATES = {
    "queued": _busy,
    "running": _busy,
    "done": _done,
    "failed": _failed,
    "cancelled": _cancelled,
}
