"""The list of comparisons: a row for each, under its heading, with what may be done to it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st
from markupsafe import Markup

from quantcore import wording
from quantcore.jobs import Forecast, JobSummary
from quantcore.schema import TARGETS, ModelSpec
from ui.common import folds, fragments, progress, site, state, visitor
from ui.common.markdown import Markdown, markdown

PAGE_LENGTH = 20
LONGEST_NAME = 60
ON_SCHEDULER = "on the scheduler's machines"
DELETE_SENTENCE = "This removes it from the list, for everyone. Its figures stay in the cache."
EMPTY = fragments.empty(
    "Nothing has been asked for yet",
    "Every comparison that is started will be here, with how far it is. It goes on when you "
    "close the page, and after a restart of the server.",
)


@dataclass(frozen=True)
class Listed:
    """Every comparison, the newest first, and when the turn of the open ones comes."""

    jobs: Sequence[JobSummary]
    line: dict[str, Forecast]

    @property
    def open(self) -> list[JobSummary]:
        """Return those that wait or run."""
        return [job for job in self.jobs if job.state in ("queued", "running")]

    @property
    def over(self) -> list[JobSummary]:
        """Return those that are done, failed or cancelled."""
        return [job for job in self.jobs if job.state not in ("queued", "running")]

    def forecast(self, job: JobSummary) -> Forecast:
        """Return when a comparison's turn comes."""
        return self.line.get(job.id, Forecast())


def look() -> Listed:
    """Return every comparison as it stands."""
    service = state.service()
    jobs = [job for job in service.summaries() if visitor.may_see(job)]
    is_open = any(job.state in ("queued", "running") for job in jobs)
    return Listed(jobs, service.line() if is_open else {})


def under_way(drawn: Listed) -> None:
    """Draw what runs and what waits; `drawn` is what the rest of the page was drawn from."""
    listed = look()
    if _ids(listed.open) != _ids(drawn.open) or progress.REFUSAL in st.session_state:
        st.rerun()
    running = [job for job in listed.open if job.state == "running"]
    # Sorted by place in the queue, not by the time of the request.
    waiting = sorted(
        (job for job in listed.open if job.state == "queued"),
        key=lambda job: (listed.forecast(job).ahead or 0, job.created),
    )
    _section("Running", running, listed)
    _section("Waiting", waiting, listed)


def over(listed: Listed) -> None:
    """Draw what is over, a page at a time, or what will be here where there is nothing at all."""
    jobs = listed.over
    if not listed.jobs:
        st.html(EMPTY)
        site.offer_compare("Measure a model")
    if not jobs:
        return
    rows, pages = st.container(), -(-len(jobs) // PAGE_LENGTH)
    # Another number of pages makes a new widget: the page chosen may be there no more.
    page = st.pagination(pages, key=f"jobs-page-{pages}") if pages > 1 else 1
    first = (page - 1) * PAGE_LENGTH
    with rows:
        _section("Done", jobs[first : first + PAGE_LENGTH], listed, of=len(jobs))


def _ids(jobs: Sequence[JobSummary]) -> list[str]:
    return [job.id for job in jobs]


def _section(title: str, jobs: Sequence[JobSummary], listed: Listed, of: int | None = None) -> None:
    if not jobs:
        return
    st.header(markdown(f"{title} · {of or len(jobs)}"), anchor=False)
    for job in jobs:
        _row(job, listed.forecast(job))


def _row(job: JobSummary, forecast: Forecast) -> None:
    with st.container(
        border=True, key=f"job-{job.id}", horizontal=True, vertical_alignment="center"
    ):
        with st.container(gap=None, width="stretch"):
            site.link_to_job(job.id, Markdown("**{}**").format(title(job)))
            st.html(_lines(job, forecast))
        if visitor.may_change(job):
            with st.container(horizontal=True, gap="small", width="content"):
                _actions(job)


def title(job: JobSummary) -> str:
    """Return the title of a comparison: the user's, else that of its model."""
    return job.name or _models(job)


def _models(job: JobSummary) -> str:
    return progress.models(ModelSpec(job.model), job.models)


def _lines(job: JobSummary, forecast: Forecast) -> Markup:
    """Return the request, the progress, and a bar where it runs."""
    return fragments.render(
        "job.html",
        facts=facts(job),
        state=job.state,
        standing=standing(job, forecast),
        share=round(100 * job.share),
    )


def facts(job: JobSummary) -> str:
    """Return the request in short: `Phone app, 17 variants, asked for by you, 3 min ago`."""
    parts = [
        TARGETS[job.target] if job.target else "",
        _models(job) if job.name else "",
        wording.count(job.cells, "variant"),
        f"asked for by {visitor.called(job.owner, job.asked_by)}",
        wording.ago(time.time() - job.created),
        ON_SCHEDULER if job.location == "cluster" else "",
    ]
    return ", ".join(filter(None, parts))


def standing(job: JobSummary, forecast: Forecast) -> str:
    """Return how far a comparison is, or how it ended."""
    return _STANDINGS[job.state](job, forecast)


def _running(job: JobSummary, forecast: Forecast) -> str:
    finished = job.measured + job.failed + job.refused
    left = wording.time_left(forecast.done_in_s)
    return ", ".join(filter(None, [f"{finished} of {job.cells} finished", left]))


def _queued(_: JobSummary, forecast: Forecast) -> str:
    return progress.queue_position(forecast.ahead, forecast.starts_in_s)


def _done(job: JobSummary, _: Forecast) -> str:
    counts = {"measured": job.measured, "failed": job.failed, "not possible": job.refused}
    return ", ".join(f"{number} {what}" for what, number in counts.items() if number)


def _failed(job: JobSummary, forecast: Forecast) -> str:
    return f"Nothing was measured. {job.message or _done(job, forecast)}".strip()


def _cancelled(job: JobSummary, _: Forecast) -> str:
    return f"Stopped, {job.measured} of {job.cells} measured"


_STANDINGS: dict[str, Callable[[JobSummary, Forecast], str]] = {
    "running": _running,
    "queued": _queued,
    "done": _done,
    "failed": _failed,
    "cancelled": _cancelled,
}


def _actions(job: JobSummary) -> None:
    """Draw what its owner may do to a comparison in its present state."""
    service = state.service()
    if job.state in ("queued", "running"):
        _button("Cancel", job, service.cancel)
    elif job.state == "cancelled":
        _button("Go on measuring", job, service.retry)
    elif job.failed:
        _button("Try the failed again", job, service.retry)
    _name(job)
    if job.state not in ("queued", "running"):
        _delete(job)


def _button(label: str, job: JobSummary, act: Callable[[str], object], kind: str = "") -> None:
    st.button(
        markdown(label),
        key=f"{label}-{job.id}",
        type="primary" if kind == "primary" else "secondary",
        on_click=_act,
        args=[act, job.id],
    )


def _act(act: Callable[[str], object], job_id: str) -> None:
    def once() -> None:
        act(job_id)

    progress.guarded(once)


def _name(job: JobSummary) -> None:
    if folds.unfold("Name", f"name-fold-{job.id}"):
        key = f"name-{job.id}"
        st.text_input(
            "Name of this comparison",
            job.name,
            max_chars=LONGEST_NAME,
            key=key,
            placeholder=_models(job),
            on_change=_rename,
            args=[job.id, key],
        )


def _rename(job_id: str, key: str) -> None:
    name = str(st.session_state[key])
    progress.guarded(lambda: state.service().rename(job_id, name))
    folds.close()


def _delete(job: JobSummary) -> None:
    if folds.unfold("Delete", f"delete-fold-{job.id}", "Keep it"):
        st.markdown(DELETE_SENTENCE)
        _button("Delete it", job, state.service().delete, "primary")
