"""The answer, from top to bottom: where it is from, the plot, the table, the refusals, the method."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from quantcore.decide import Verdict, decide
from quantcore.results import Comparison, Failure, VariantResult
from ui import charts, tables, words
from ui.state import Shown

PLOT_CONFIG = {"displayModeBar": False, "responsive": True, "scrollZoom": False}
ICON = ":material/download:"
ORIGINS = {"shipped": "Shipped example", "earlier": "Earlier results", "current": "Measured"}
AXIS_HELP = {
    "x": "The figure that runs from left to right.",
    "y": "The figure that runs from bottom to top.",
}


def answer(shown: Shown) -> None:
    """Draw a comparison from where it is from to how it was measured."""
    comparison = shown.comparison
    provenance(shown)
    if comparison.results:
        found = decide(comparison)
        verdict(found, comparison.results)
        plot(comparison.results, found.front)
        table(comparison.results, found.ship)
    failures(shown.failures)
    method(comparison)
    downloads(comparison)


def empty(title: str) -> None:
    """Say what will stand here, and which button brings it."""
    st.html(
        f'<div class="qw-empty"><h2>{escape(title)} has not been measured yet</h2>'
        "<p>The plot of its size, speed and accuracy will be here, one mark for each 8-bit version. "
        "Press <b>Measure here</b> to fill it in.</p></div>"
    )


def provenance(shown: Shown) -> None:
    """Say what machine and day the figures are true of."""
    comparison = shown.comparison
    where = ", not on this machine" if shown.origin == "shipped" else ""
    st.html(
        f'<p class="qw-provenance"><span class="qw-tag">{ORIGINS[shown.origin]}</span>Measured on '
        f"{escape(comparison.environment.sentence())}, on {words.day(comparison.created)}{where}.</p>"
    )


def verdict(found: Verdict, results: Sequence[VariantResult]) -> None:
    """Say in one sentence what to ship, and in a fold why not the others."""
    rows = {row.key: row for row in results}
    st.html(tables.verdict(found, rows))
    if found.others:
        with st.expander("Why not the others?", type="compact", key="others"):
            st.html(tables.others(found, rows))


def plot(results: Sequence[VariantResult], front: Sequence[str]) -> None:
    """Draw the plot with its axis choices and its legend beside it, or below it when narrow."""
    chart, side = st.columns([3.4, 1], gap="medium")
    with side:
        across, up = _choose_axes()
    up, note = charts.drawable(up, results)
    across, other_note = charts.drawable(across, results)
    if across == up:
        across = "latency" if up != "latency" else "size"
    with side:
        st.html(tables.legend(results))
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
        up, across = [
            st.selectbox(
                label,
                list(charts.AXES),
                key=key,
                format_func=lambda name: charts.AXES[name].title,
                help=AXIS_HELP[key],
            )
            for label, key in (("Up", "y"), ("Across", "x"))
        ]
    return str(across), str(up)


def table(results: Sequence[VariantResult], ship: str | None) -> None:
    """Draw every variant with its figures, what to know of single rows, and all raw figures."""
    st.subheader("Every variant", anchor=False)
    st.html(tables.results(results, ship))
    remarks = tables.notes(results)
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
    _failure_list("Failed", broken)
    details = [row.details for row in broken if row.details]
    if details:
        with st.expander("Technical details", type="compact"):
            st.code("\n\n".join(details), language=None, wrap_lines=True)
    _failure_list("Not possible here", [row for row in rows if row.refused])


def _failure_list(title: str, rows: Sequence[Failure]) -> None:
    if rows:
        st.subheader(title, anchor=False)
        st.html(tables.failures(rows))


def downloads(comparison: Comparison) -> None:
    """Offer the comparison as files, made only when asked for."""

    def csv() -> str:
        from quantcore.report import to_csv

        return to_csv(comparison)

    name = comparison.request.model.name.replace("/", "-").replace("@", "-")
    with st.container(horizontal=True, key="downloads"):
        st.download_button(
            "Download CSV", csv, f"{name}.csv", "text/csv", on_click="ignore", icon=ICON
        )
        st.download_button(
            "Download JSON",
            comparison.to_json,
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
    request, environment = comparison.request, comparison.environment
    measure, images = request.measure, request.images
    some = comparison.results[0] if comparison.results else None
    side = f"{some.image_size} px" if some else "the model's own size"
    judged = some.accuracy.images if some and some.accuracy else images.evaluation_images
    sets = ", ".join(environment.instruction_sets) or "none that matter here"
    libraries = ", ".join(f"{name} {number}" for name, number in environment.libraries.items())
    return f"""
- **The file that ships.** Each variant is converted, saved, and loaded afresh in a process of its own. \
Every size is of that file, every latency and accuracy of that file loaded.
- **Latency.** {words.count(measure.batch, "image")} a call at {side}, \
{words.count(measure.threads, "thread")}. Rounds of calls alternate with float32's, at least \
{measure.min_rounds}, until the speed-up is known to ±{100 * measure.target_interval:.0f} % or \
{measure.time_budget_s:.0f} s are over; then it says “unsettled”. Warm-up calls are not counted.
- **float32** is served the best way the same runtime can: frozen and optimized for inference.
- **Accuracy** is the share of {judged:,} labelled images named right, none of them used to calibrate \
or train. Every variant sees the same images. Intervals are 95 % (Wilson's).
- **In 8 bits** counts the multiply-adds that really run in 8 bits, read from the file itself.
- **Peak memory** is the most the process held above what the runtime holds before the file is loaded.
- **Machine.** {environment.sentence()}; instruction sets {sets}; {environment.memory_gib} GiB of \
memory; {environment.operating_system}; Python {environment.python}; {libraries}.
"""
