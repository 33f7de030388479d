"""The answer from top to bottom: its origin, verdict, plot, table, refusals and method."""

from collections.abc import Callable, Sequence
from html import escape

import plotly.graph_objects as go
import streamlit as st

from quantcore import wording
from quantcore.decide import Budgets, Verdict, labels, nearest_in_8_bits, promise
from quantcore.draw import axes, charts, exported, lists, tables, titles
from quantcore.draw import method as method_text
from quantcore.draw import promises as drawn
from quantcore.report import to_csv, to_html, to_json, to_summary, to_svg
from quantcore.schema import Comparison, Failure, VariantResult, current_environment
from ui.common import budgets, site, state, theme
from ui.common.evaluated import recommended, within_quota
from ui.common.once import Rows, once
from ui.common.state import Shown
from ui.compare import beside, what_if
from ui.export import exporting
from ui.gallery import gallery
from ui.playground import playground

PLOT_CONFIG = {"displayModeBar": False, "responsive": True, "scrollZoom": False}
ICON = ":material/download:"
ORIGINS = {
    "shipped": "Shipped example",
    "earlier": "Earlier results",
    "current": "Measured here",
    "elsewhere": "Measured elsewhere",
}
EXPORTED_HELP = (
    "Files that were made of these variants on the Export page: their size, their latency in the "
    "runtime that takes them, and their accuracy."
)
SHARE_SENTENCE = (
    "The address of this page holds all that you chose: whoever opens it sees the same. The report "
    "is one file that opens without this server."
)
FORM_HELP = {
    "Report": "One HTML file with the verdict, the plot, every figure and how it was measured. "
    "It works offline and prints on A4.",
    "Summary": "A few lines of Markdown for a ticket.",
    "Plot": "The plot as a drawing. The report saves it as PNG, too.",
    "CSV": "Every variant's figures, for a spreadsheet.",
    "JSON": "Everything that was measured, with every sample, for programs.",
}
AXIS_HELP = {
    "x": "The figure that runs from left to right.",
    "y": "The figure that runs from bottom to top.",
}


def answer(shown: Shown) -> None:
    """Draw a comparison from where it is from to how it was measured."""
    comparison = shown.comparison
    provenance(shown)
    limits = budgets.chosen()
    if shown.results:
        found = recommended(shown.results, limits)
        is_early = _is_early(shown)
        if not is_early:
            verdict(shown.results, limits)
            offer_more(shown, found)
        budgets.draw(shown.results, found)
        plot(shown, limits)
        promises(shown, found)
        table(shown, None if is_early else found.ship)
        what_if.draw(shown, within_quota(shown.results), found)
    failures(shown.failures, shown.results)
    method(comparison)
    downloads(shown, limits)


def _is_early(shown: Shown) -> bool:
    """Return whether nothing is measured yet that could ship instead of float32, but will be."""
    is_open = shown.job is not None and shown.job.is_open
    return is_open and all(row.workflow == "float32" for row in shown.results)


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
    machine, day = comparison.environment.sentence(), wording.day(comparison.created)
    said = f"{_scope(comparison)}Measured on {machine}, on {day}"
    if shown.origin in ("shipped", "elsewhere"):
        said += ", not on this machine"
    st.html(
        f'<p class="qw-provenance"><span class="qw-tag">{ORIGINS[shown.origin]}</span>'
        f"{escape(said)}.</p>"
    )


def _scope(comparison: Comparison) -> str:
    """Return how much a sweep holds, since the choices above name its first model only."""
    if not comparison.also:
        return ""
    asked = (comparison.request, *comparison.also)
    models = titles.models(request.model.name for request in asked).values()
    timed = len({(request.images.image_size, request.measure) for request in asked})
    ways = f", each at {timed} image sizes or ways of timing" if timed > 1 else ""
    return f"A sweep of {wording.joined(list(models))}{ways}. "


def verdict(results: Rows, limits: Budgets) -> None:
    """Say in one sentence what to ship, and in a fold why not the others."""
    st.html(once(_verdict, results, limits))
    others = once(_others, results, limits)
    if others:
        with st.expander("Why not the others?", type="compact", key="others"):
            st.html(others)


def offer_more(shown: Shown, found: Verdict) -> None:
    """Link to the file of the variant that the verdict names, and to where it differs."""
    row = next((row for row in shown.results if row.key == found.ship), None)
    if row is None:
        return
    images = shown.comparison.request.images
    address = exporting.link(row, images)
    name = titles.variant(row.workflow, row.backend)
    with st.container(horizontal=True, key="more"):
        if address:
            site.link_to_export(f"Export {name} for an app", address)
        if row.workflow != "float32" and row.predictions is not None:
            site.link_to_gallery("See where it and float32 differ", gallery.link(shown, row.key))
        if playground.may_ask(shown):
            site.link_to_trial("Try one image", playground.link(shown))


def _verdict(results: Rows, limits: Budgets) -> str:
    found = recommended(results, limits)
    return lists.verdict(found, {row.key: row for row in results})


def _others(results: Rows, limits: Budgets) -> str:
    found = recommended(results, limits)
    return lists.others(found, {row.key: row for row in results}) if found.others else ""


def plot(shown: Shown, limits: Budgets) -> None:
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
            st.caption(text)
        st.plotly_chart(
            _figure(results, across, up, limits, files),
            config=PLOT_CONFIG,
            key="scatter",
            alt=once(charts.describe, results, across, up),
        )
    if files:
        st.caption(
            "Open coloured marks are exported files, each timed in its own runtime. "
            "Of a file whose proof failed only the line below is shown."
        )
        st.html(exported.table(files))


def _figure(
    results: Rows, across: str, up: str, limits: Budgets, files: Sequence[exporting.ExportedRow]
) -> go.Figure:
    front = recommended(results, limits).front
    if limits == Budgets() and not files:
        return once(charts.plot, results, across, up, front)
    # One visitor's own: not worth the memory of keeping it.
    figure = charts.limited(
        once(charts.plot, results, across, up), results, across, up, front, limits
    )
    if files:
        charts.add_exported(figure, exported.named(files), across, up, results)
    return figure


def _choose_exported(shown: Shown) -> Sequence[exporting.ExportedRow]:
    """Draw the choice to see exported files, where this machine may have made some; return them."""
    if shown.comparison.environment != current_environment():
        return ()
    wanted = st.toggle("Exported files", key="exported", help=EXPORTED_HELP)
    found = exporting.exported_of(shown) if wanted else []
    if wanted and not found:
        st.caption("None was made of these variants yet. The Export page makes them.")
    return found


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
        label,
        names,
        index=names.index(st.session_state[name]),
        key=f"axis-{name}-{state.visit()}",
        format_func=lambda axis: axes.AXES[axis].title,
        help=AXIS_HELP[name],
    )
    return str(st.session_state[name])


def promises(shown: Shown, found: Verdict) -> None:
    """Hold the recipe's promises against what ships, or against the nearest 8-bit variant."""
    evidence = within_quota(shown.results)
    row = nearest_in_8_bits(evidence, found)
    if row is None:
        return
    names = titles.by_key(shown.results)
    st.subheader("Promise and outcome", anchor=False)
    st.html(
        drawn.promises(
            promise(shown.comparison, row, evidence),
            row,
            names[row.key],
            ships=row.key == found.ship,
        )
    )


def table(shown: Shown, ship: str | None) -> None:
    """Draw every variant with its figures, what to know of single rows, and all raw figures."""
    results = shown.results
    st.subheader("Every variant", anchor=False)
    other = beside.choose(shown.job) if shown.job else None
    if other is None:
        st.html(once(tables.results, results, ship))
    else:
        st.html(tables.results(results, ship, beside.columns(other)))
        st.caption(f"Beside it: {theme.plain(beside.sentence(other))}.")
    remarks = once(lists.notes, results)
    if remarks:
        with st.expander("Notes on single variants", type="compact"):
            st.html(remarks)
    with st.expander(
        "All figures, sortable", type="compact", key="all-figures", on_change="rerun"
    ) as fold:
        if fold.open:
            st.dataframe(tables.figures(results), hide_index=True)


def failures(rows: Sequence[Failure], results: Sequence[VariantResult] = ()) -> None:
    """List the cells without figures beside the `results`: those that cannot be, or that broke."""
    broken = [row for row in rows if not row.refused]
    refused = [row for row in rows if row.refused]
    _failure_list("Not measured", broken, [*refused, *results])
    details = [row.details for row in broken if row.details]
    if details:
        with st.expander("Technical details", type="compact"):
            st.html(lists.technical(details))
    _failure_list("Not possible here", refused, [*broken, *results])


def _failure_list(title: str, rows: Sequence[Failure], others: Sequence[labels.Cell]) -> None:
    if rows:
        st.subheader(title, anchor=False)
        st.html(lists.failures(rows, others))


def downloads(shown: Shown, limits: Budgets) -> None:
    """Offer what is shown as files, made only when asked for, and the address to share."""
    comparison = shown.comparison
    name = comparison.request.model.name.replace("/", "-").replace("@", "-")
    name += "-and-more" if comparison.also else ""
    visible = [row.key for row in shown.results]
    title, link = shown.job.name if shown.job else "", state.link()
    forms = {
        "Report": ("html", "text/html", _report(to_html, comparison, limits, link, title, visible)),
        "Summary": (
            "md",
            "text/markdown",
            _report(to_summary, comparison, limits, link, title, visible),
        ),
        "Plot": ("svg", "image/svg+xml", lambda: to_svg(comparison, limits, visible=visible)),
        "CSV": ("csv", "text/csv", lambda: to_csv(comparison)),
        "JSON": ("json", "application/json", lambda: to_json(comparison)),
    }
    st.subheader("Take it along", anchor=False)
    st.caption(SHARE_SENTENCE)
    with st.container(horizontal=True, key="downloads"):
        for label, (suffix, kind, make) in forms.items():
            st.download_button(
                f"{label} .{suffix}",
                make,
                f"{name}.{suffix}",
                kind,
                on_click="ignore",
                type="primary" if suffix == "html" else "secondary",
                icon=ICON,
                help=FORM_HELP.get(label),
            )
    with st.expander(
        "Copy the link or the summary", type="compact", key="copy", on_change="rerun"
    ) as fold:
        if fold.open:
            st.code(link, language=None, wrap_lines=True)
            st.code(forms["Summary"][2](), language="markdown", wrap_lines=True)


def _report(
    make: Callable[..., str],
    comparison: Comparison,
    limits: Budgets,
    link: str,
    name: str,
    visible: Sequence[str],
) -> Callable[[], str]:
    return lambda: make(comparison, limits, link, name=name, visible=visible)


def method(comparison: Comparison) -> None:
    """Say how the figures were found, in a fold."""
    with st.expander("How was this measured?", key="method"):
        st.markdown(_method(comparison))


def _method(comparison: Comparison) -> str:
    return "\n".join(f"- **{title}.** {text}" for title, text in method_text.paragraphs(comparison))
