"""The answer from top to bottom: its provenance, verdict, plot, table, refusals and method."""

from collections.abc import Sequence

import streamlit as st
from markupsafe import Markup

from quantcore import wording
from quantcore.decide import Budgets, Smallest, Verdict, labels, nearest_in_8_bits, promise
from quantcore.draw import lists, tables, titles
from quantcore.draw import method as method_text
from quantcore.draw import promises as promise_cards
from quantcore.schema import Comparison, Failure, Rows, Target, VariantResult
from ui.common import budgets, fragments, site, state
from ui.common.evaluated import evidence_of, recommended
from ui.common.markdown import Markdown, markdown
from ui.common.once import once
from ui.common.state import Shown
from ui.compare import beside, downloads, measure_again, plot, what_if
from ui.export import form
from ui.gallery import gallery
from ui.playground import playground

PROVENANCES = {
    "shipped": "Shipped example",
    "earlier": "Earlier results",
    "current": "Measured here",
    "elsewhere": "Measured elsewhere",
}


def answer(shown: Shown) -> None:
    """Draw a comparison from where it is from to how it was measured."""
    comparison = shown.comparison
    provenance(shown)
    limits = budgets.chosen()
    if shown.results:
        recommendation = recommended(shown.results, limits, shown.missing)
        verdict(shown.results, limits, shown.missing)
        measure_again.draw(shown)
        offer_more(shown, recommendation)
        budgets.draw(shown.results, recommendation)
        plot.draw(shown, limits)
        promises(shown, recommendation, limits)
        # What comes first so far wears no badge.
        table(shown, None if shown.missing else recommendation.ship)
        what_if.draw(shown, evidence_of(shown.results, limits.smallest), recommendation)
    failures(shown.failures, shown.results)
    method(comparison, limits.smallest)
    downloads.draw(shown, limits)


def empty(title: str) -> None:
    """Say what will be here, and which button to press; or what is to be chosen before."""
    plot = (
        "The plot of the model's size, speed and accuracy will be here, one mark for each version."
    )
    for key, noun in (("workflows", "workflow"), ("backends", "backend")):
        if not st.session_state.get(key):
            st.html(fragments.empty(f"Choose a {noun}", plot))
            return
    st.html(
        fragments.empty(
            f"{title} has not been measured yet",
            plot,
            press="Measure here",
            rest=" to fill it in",
        )
    )


def provenance(shown: Shown) -> None:
    """Say what machine and day the figures are true of."""
    comparison = shown.comparison
    machine, day = comparison.environment.sentence(), wording.day(comparison.created)
    elsewhere = ", not on this machine" if shown.provenance in ("shipped", "elsewhere") else ""
    text = f"{_scope(comparison)}Measured on {machine}, on {day}{elsewhere}"
    st.html(fragments.render("provenance.html", tag=PROVENANCES[shown.provenance], text=text))


def _scope(comparison: Comparison) -> str:
    """Return how much a sweep holds, since the choices above name its first model only."""
    if not comparison.also:
        return ""
    requests = (comparison.request, *comparison.also)
    models = titles.models(request.model.name for request in requests).values()
    timed = len({(request.images.image_size, request.measure) for request in requests})
    ways = f", each at {timed} image sizes or ways of timing" if timed > 1 else ""
    return f"A sweep of {wording.joined(list(models))}{ways}. "


def verdict(results: Rows, limits: Budgets, missing: int) -> None:
    """Say in one sentence what to ship, and in a fold why not the others."""
    target = state.target()
    st.html(once(_verdict, results, limits, missing, target))
    others = once(_others, results, limits, missing, target)
    if others:
        with st.expander("Why not the others?", type="compact", key="others"):
            st.html(others)
            st.caption(markdown(limits.smallest.sentence))


def offer_more(shown: Shown, recommendation: Verdict) -> None:
    """Link to the file of the variant that the verdict names, and to where it differs."""
    row = next((row for row in shown.results if row.key == recommendation.ship), None)
    if row is None:
        return
    images = shown.comparison.request.images
    address = form.link(row, images, state.target())
    name = titles.variant(row.workflow, row.backend)
    with st.container(horizontal=True, key="more"):
        if address:
            site.link_to_export(f"Export {name}", address)
        if not row.is_float and row.predictions is not None:
            site.link_to_gallery("See where it and float32 differ", gallery.link(shown, row.key))
        if playground.may_ask(shown):
            site.link_to_trial("Try one image", playground.link(shown))


def _verdict(results: Rows, limits: Budgets, missing: int, _: Target | None) -> Markup:
    recommendation = recommended(results, limits, missing)
    return lists.verdict(recommendation, {row.key: row for row in results})


def _others(results: Rows, limits: Budgets, missing: int, _: Target | None) -> Markup:
    recommendation = recommended(results, limits, missing)
    return lists.others(recommendation, {row.key: row for row in results})


def promises(shown: Shown, recommendation: Verdict, limits: Budgets) -> None:
    """Hold the recipe's promises against what ships, or against the nearest 8-bit variant."""
    evidence = evidence_of(shown.results, limits.smallest)
    row = nearest_in_8_bits(evidence, recommendation)
    if row is None:
        return
    names = titles.by_key(shown.results)
    st.subheader("Promise and outcome", anchor=False)
    st.html(
        promise_cards.promises(
            promise(shown.comparison, row, evidence),
            row,
            names[row.key],
            ships=row.key == recommendation.ship,
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
        st.caption(markdown(f"Beside it: {beside.sentence(other)}."))
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
        st.subheader(markdown(title), anchor=False)
        st.html(lists.failures(rows, others))


def method(comparison: Comparison, smallest: Smallest) -> None:
    """Say how the figures were found, in a fold."""
    with st.expander("How was this measured?", key="method"):
        st.markdown(markdown(_method(comparison, smallest)))


def _method(comparison: Comparison, smallest: Smallest) -> Markdown:
    lines = (
        Markdown("- **{}.** {}").format(title, text)
        for title, text in method_text.paragraphs(comparison, smallest)
    )
    return Markdown("\n").join(lines)
