"""The plot of a comparison: the choice of its axes, its legend, and exported files in it."""

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from quantcore import wording
from quantcore.decide import Budgets
from quantcore.draw import axes, charts, exported, lists
from quantcore.schema import Rows, current_environment
from ui.common import state
from ui.common.evaluated import recommended
from ui.common.markdown import markdown
from ui.common.once import once
from ui.common.state import Shown
from ui.export import recorded

PLOT_CONFIG = {"displayModeBar": False, "responsive": True, "scrollZoom": False}
EXPORTED_HELP = (
    "Files that were made of these variants on the Export page: their size, their latency in the "
    "runtime that takes them, and their accuracy."
)
AXIS_HELP = {
    "x": "The figure that runs from left to right.",
    "y": "The figure that runs from bottom to top.",
}


def draw(shown: Shown, limits: Budgets) -> None:
    """Draw the plot with its axis choices and its legend beside it, or below it when narrow."""
    results = shown.results
    chart, side = st.columns([3.4, 1], gap="medium")
    with side:
        across, up = _choose_axes()
        files = _choose_exported(shown)
    up, note = axes.drawable(up, results)
    across, other_note = axes.drawable(across, results)
    if across == up:
        across = "latency" if up != "latency" else "size"
    drawn = Rows(charts.with_both(results, across, up))
    with side:
        st.html(once(lists.legend, drawn))
    with chart, st.container(key="plot"):
        for text in filter(None, [note, other_note, _not_drawn(len(results) - len(drawn))]):
            st.caption(markdown(text))
        st.plotly_chart(
            _figure(results, across, up, limits, files),
            config=PLOT_CONFIG,
            key="scatter",
            alt=once(charts.describe, results, across, up),
        )
    if files:
        st.caption(
            "Open coloured marks are exported files, each timed in its own runtime. "
            "Of a file that failed a check only the line below is shown."
        )
        st.html(exported.table(files))


def _figure(
    results: Rows, across: str, up: str, limits: Budgets, files: Sequence[recorded.ExportedRow]
) -> go.Figure:
    front = recommended(results, limits).front
    if not limits.limits() and not files:
        return once(charts.plot, results, across, up, front)
    # One visitor's own: not worth the memory of keeping it.
    figure = charts.limited(
        once(charts.plot, results, across, up), results, across, up, front, limits
    )
    if files:
        charts.add_exported(figure, exported.named(files), across, up, results)
    return figure


def _choose_exported(shown: Shown) -> Sequence[recorded.ExportedRow]:
    """Draw the choice to see exported files, where this machine may have made some; return them."""
    if shown.comparison.environment != current_environment():
        return ()
    wanted = st.toggle("Exported files", key="exported", help=EXPORTED_HELP)
    files = recorded.exported_of(shown) if wanted else []
    if wanted and not files:
        st.caption("None was made of these variants yet. The Export page makes them.")
    return files


def _not_drawn(count: int) -> str:
    is_or_are = "is" if count == 1 else "are"
    text = (
        f"{wording.count(count, 'variant')} without one of the two figures {is_or_are} not drawn."
    )
    return text if count else ""


def _choose_axes() -> tuple[str, str]:
    with st.container(horizontal=True, key="axes", gap="small"):
        up, across = _choose_axis("Up", "y"), _choose_axis("Across", "x")
    return across, up


def _choose_axis(label: str, name: str) -> str:
    # A widget in a fragment that runs by itself forgets a value set through its key, so the value
    # is kept under another key, and a new address makes a new widget.
    names = list(axes.AXES)
    st.session_state[name] = st.selectbox(
        markdown(label),
        names,
        index=names.index(st.session_state[name]),
        key=f"axis-{name}-{state.visit()}-{state.target()}",
        format_func=lambda axis: axes.AXES[axis].title,
        help=AXIS_HELP[name],
    )
    return str(st.session_state[name])
