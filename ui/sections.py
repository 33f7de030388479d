"""The answer from top to bottom: its origin, verdict, plot, table, refusals and method."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from quantcore.decide import Verdict, recommend, weigh
from quantcore.report import to_csv, to_json
from quantcore.results import Comparison, Failure, VariantResult
from ui import axes, charts, lists, state, tables, words
from ui.state import Shown

PLOT_CONFIG = {"displayModeBar": False, "responsive": True, "scrollZoom": False}
ICON = ":material/download:"
ORIGINS = {"shipped": "Shipped example", "earlier": "Earlier results", "current": "Measured here"}
AXIS_HELP = {
    "x": "The figure that runs from left to right.",
    "y": "The figure that runs from bottom to top.",
}


def answer(shown: Shown) -> None:
    """Draw a comparison from where it is from to how it was measured."""
    comparison = shown.comparison
    provenance(shown)
    if shown.results:
        found = recommend(weigh(shown.results))
        verdict(found, shown.results)
        plot(shown.results, found.front)
        table(shown.results, found.ship)
    failures(shown.failures)
    method(comparison)
    downloads(comparison)


def empty(title: str) -> None:
    """Say what will stand here, and which button brings it."""
    st.html(
        f'<div class="qw-empty"><h2>{escape(title)} has not been measured yet</h2>'
        "<p>The plot of its size, speed and accuracy will be here, one mark for each 8-bit "
        "version. Press <b>Measure here</b> to fill it in.</p></div>"
    )


def provenance(shown: Shown) -> None:
    """Say what machine and day the figures are true of."""
    comparison = shown.comparison
    machine, day = comparison.environment.sentence(), words.day(comparison.created)
    said = f"Measured on {machine}, on {day}"
    if shown.origin == "shipped":
        said += ", not on this machine"
    st.html(
        f'<p class="qw-provenance"><span class="qw-tag">{ORIGINS[shown.origin]}</span>'
        f"{escape(said)}.</p>"
    )


def verdict(found: Verdict, results: Sequence[VariantResult]) -> None:
    """Say in one sentence what to ship, and in a fold why not the others."""
    rows = {row.key: row for row in results}
    st.html(lists.verdict(found, rows))
    if found.others:
        with st.expander("Why not the others?", type="compact", key="others"):
            st.html(lists.others(found, rows))


def plot(results: Sequence[VariantResult], front: Sequence[str]) -> None:
    """Draw the plot with its axis choices and its legend beside it, or below it when narrow."""
    chart, side = st.columns([3.4, 1], gap="medium")
    with side:
        across, up = _choose_axes()
    up, note = axes.drawable(up, results)
    across, other_note = axes.drawable(across, results)
    if across == up:
        across = "latency" if up != "latency" else "size"
    with side:
        st.html(lists.legend(results))
    with chart, st.container(key="plot"):
        for text in filter(None, [note, other_note]):
            st.caption(text)
        st.plotly_chart(
            charts.plot(results, across, up, front),
            config=PLOT_CONFIG,
            key="scatter",
            alt=charts.describe(results, across, up),
        )


def _choose_axes() -> tuple[str, str]:
    with st.container(horizontal=True, key="axes", gap="small"):
        up, across = _choose_axis("Up", "y"), _choose_axis("Across", "x")
    return across, up


def _choose_axis(label: str, name: str) -> str:
    # A widget in a fragment that runs by itself forgets a value set through its key, so the value
    # is kept under another key, and a new address makes a new widget.
    names = list(axes.AXES)
    st.session_state[name] = st.selectbox(
        label,
        names,
        index=names.index(st.session_state[name]),
        key=f"axis-{name}-{state.visit()}",
        format_func=lambda axis: axes.AXES[axis].title,
        help=AXIS_HELP[name],
    )
    return str(st.session_state[name])


def table(results: Sequence[VariantResult], ship: str | None) -> None:
    """Draw every variant with its figures, what to know of single rows, and all raw figures."""
    st.subheader("Every variant", anchor=False)
    st.html(tables.results(results, ship))
    remarks = lists.notes(results)
    if remarks:
        with st.expander("Notes on single variants", type="compact"):
            st.html(remarks)
    with st.expander(
        "All figures, sortable", type="compact", key="all-figures", on_change="rerun"
    ) as fold:
        if fold.open:
            st.dataframe(tables.figures(results), hide_index=True)


def failures(rows: Sequence[Failure]) -> None:
    """List the cells without figures: those that cannot be, and those that broke."""
    broken = [row for row in rows if not row.refused]
    _failure_list("Not measured", broken)
    details = [row.details for row in broken if row.details]
    if details:
        with st.expander("Technical details", type="compact"):
            st.html(lists.technical(details))
    _failure_list("Not possible here", [row for row in rows if row.refused])


def _failure_list(title: str, rows: Sequence[Failure]) -> None:
    if rows:
        st.subheader(title, anchor=False)
        st.html(lists.failures(rows))


def downloads(comparison: Comparison) -> None:
    """Offer the comparison as files, made only when asked for."""
    name = comparison.request.model.name.replace("/", "-").replace("@", "-")
    with st.container(horizontal=True, key="downloads"):
        st.download_button(
            "Download CSV",
            lambda: to_csv(comparison),
            f"{name}.csv",
            "text/csv",
            on_click="ignore",
            icon=ICON,
        )
        st.download_button(
            "Download JSON",
            lambda: to_json(comparison),
            f"{name}.json",
            "application/json",
            on_click="ignore",
            icon=ICON,
        )


def method(comparison: Comparison) -> None:
    """Say how the figures were found, in a fold."""
    with st.expander("How was this measured?", key="method"):
        st.markdown(_method(comparison))


def _method(comparison: Comparison) -> str:
    paragraphs = (*_how(comparison), _machine(comparison))
    return "\n".join(f"- **{title}.** {text}" for title, text in paragraphs)


def _how(comparison: Comparison) -> Sequence[tuple[str, str]]:
    measure, rows = comparison.request.measure, comparison.results
    sides = " or ".join(f"{side} px" for side in sorted({row.image_size for row in rows}))
    judged = max((row.fidelity_images for row in rows), default=0)
    return (
        (
            "The file that ships",
            "Each variant is converted, saved, and loaded afresh in a process of its own. Every "
            "size is of that file, every latency and accuracy of that file loaded.",
        ),
        (
            "Latency",
            f"{words.count(measure.batch, 'image')} a call at {sides or 'the model’s own size'}, "
            f"{words.count(measure.threads, 'thread')}, after a warm-up. Rounds of calls alternate "
            f"with float32’s, at least {measure.min_rounds}, until the speed-up is known to "
            f"±{100 * measure.target_interval:.0f} % or {measure.time_budget_s:.0f} s are over; "
            "then it says “unsettled”.",
        ),
        (
            "float32",
            "Served the best way the same runtime can: frozen, and optimized after loading.",
        ),
        (
            "Accuracy and agreement",
            f"Shares of {words.count(judged, 'image')} that no variant was calibrated or "
            "trained on, the same for all. Intervals are 95 % (Wilson).",
        ),
        ("In 8 bits", "Share of the multiply-adds that run in 8 bits, read from the file itself."),
        (
            "Peak memory",
            "The most the process held above what the runtime holds before it loads the file.",
        ),
    )


def _machine(comparison: Comparison) -> tuple[str, str]:
    environment = comparison.environment
    parts = [
        environment.sentence(),
        f"instruction sets {', '.join(environment.instruction_sets) or 'unknown'}",
        f"{environment.memory_gib} GiB of memory",
        environment.operating_system,
        f"Python {environment.python}",
        *(f"{name} {number}" for name, number in environment.libraries.items() if name != "torch"),
    ]
    return "Machine", f"{'; '.join(parts)}."
