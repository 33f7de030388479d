"""The offer to measure once more what was timed on a busy machine."""

import streamlit as st

from quantcore import wording
from ui.common import progress, state, visitor
from ui.common.markdown import markdown
from ui.common.state import Shown

HELP = (
    "Other programs, or others on the same host, slowed the processor down meanwhile. Only the "
    "timing is repeated; files and answers are kept."
)


def draw(shown: Shown) -> None:
    """Offer it where the visitor may change the comparison and it is over."""
    job = shown.job
    busy = sum(row.machine_busy for row in shown.comparison.results)
    if not busy or job is None or job.is_open or not visitor.may_change(job):
        return
    with st.container(horizontal=True, vertical_alignment="center", key="busy"):
        were = "was" if busy == 1 else "were"
        st.caption(
            markdown(f"{wording.count(busy, 'variant')} {were} timed while the machine was busy."),
            width="content",
        )
        st.button(
            markdown(f"Measure {'it' if busy == 1 else 'them'} again"),
            icon=":material/refresh:",
            help=HELP,
            key="measure-again",
            on_click=_again,
            args=[job.id],
        )


def _again(job_id: str) -> None:
    progress.guarded(lambda: state.service().measure_again(job_id))
