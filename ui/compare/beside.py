"""Another machine's figures of the same variants, laid beside those shown, never among them."""

from collections.abc import Mapping
from functools import partial

import streamlit as st

from quantcore import wording
from quantcore.draw import tables
from quantcore.jobs import Host
from quantcore.schema import JobView, VariantResult
from quantcore.wording import NONE
from ui.common import state, visitor

BESIDE = "beside"
MAX_OFFERED = 10
HELP = (
    "Latency and speed-up of the same variants as another machine measured them, in columns of "
    "their own. The verdict and the plot stay with the machine shown."
)

Cells = Mapping[tuple[object, ...], VariantResult]


def choose(job: JobView) -> JobView | None:
    """Draw the choice where other machines measured this model too; return what is chosen."""
    if job.is_open:
        return None
    chosen = st.session_state.get(BESIDE)
    offered = _offered(job, chosen)
    if chosen is not None and chosen not in offered:
        st.info(
            "The link lays a comparison beside this one that is not of this model on another "
            "machine, so it is left out."
        )
        chosen = None
    if offered:
        options = [None, *offered]
        chosen = st.selectbox(
            "Lay beside",
            options,
            index=options.index(chosen),
            key=f"beside-{state.visit()}",
            format_func=lambda job_id: sentence(offered[job_id]) if job_id else "Nothing",
            help=HELP,
        )
    st.session_state[BESIDE] = chosen
    return offered[chosen] if chosen else None


def sentence(job: JobView) -> str:
    """Return machine, day and requester of a comparison, in words."""
    where, day = job.comparison.environment.sentence(), wording.day(job.comparison.created)
    return f"{where}, on {day}, asked for by {visitor.called(job.owner, job.asked_by)}"


def _offered(job: JobView, chosen: str | None) -> dict[str, JobView]:
    """Return the newest comparisons of this model that other machines measured, and the chosen."""
    host = Host(job.comparison.environment).digest
    model = job.comparison.request.model.name
    fitting = [
        summary.id
        for summary in state.service().summaries()
        if (summary.model, summary.models) == (model, 1) and summary.measured
        if summary.host != host and visitor.may_see(summary)
    ]
    offered = [
        *fitting[:MAX_OFFERED],
        *(each for each in fitting[MAX_OFFERED:] if each == chosen),
    ]
    return {each: view for each in offered if (view := state.view(each))}


def columns(job: JobView) -> tuple[tables.Column, ...]:
    """Return the columns that hold the other machine's latency and speed-up."""
    environment = job.comparison.environment
    cells = {_identity(row): row for row in job.comparison.results}
    where = f"on {environment.cpu}"
    whole = environment.sentence()
    return (
        tables.Column(
            "Latency there", where, f"Median time of one call on {whole}.", partial(_latency, cells)
        ),
        tables.Column(
            "Speed-up there",
            where,
            f"How many times faster than float32 on {whole}.",
            partial(_speedup, cells),
        ),
    )


def _identity(row: VariantResult) -> tuple[object, ...]:
    """Return the key that rows of the same variant under equal conditions share."""
    settings = tuple(sorted((key, repr(value)) for key, value in row.settings.items()))
    return row.model, row.workflow, row.backend, settings, row.batch, row.image_size


def _latency(cells: Cells, row: VariantResult, _: VariantResult | None) -> tables.Figure:
    other = cells.get(_identity(row))
    if other is None:
        return tables.Figure(NONE, "not measured there")
    threads = wording.count(other.threads, "thread") if other.threads != row.threads else ""
    return tables.Figure(wording.figure(other.latency_ms.p50, "ms"), threads)


def _speedup(cells: Cells, row: VariantResult, _: VariantResult | None) -> tables.Figure:
    other = cells.get(_identity(row))
    if other is None or other.is_float:
        return tables.Figure(NONE)
    speedup = other.speedup
    unsettled = "" if speedup.settled else ", unsettled"
    return tables.Figure(
        wording.times(speedup.ratio), f"{speedup.low:.2f} to {speedup.high:.2f}×{unsettled}"
    )
