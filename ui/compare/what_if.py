"""The suggested variants with one other setting, and the button that measures them as well."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from quantcore import wording
from quantcore.decide import Evidence, Verdict, nearest_in_8_bits
from quantcore.draw import titles
from quantcore.engine import image_size, suggested_variants, suggestions, variant_of
from quantcore.errors import QuantcoreError
from quantcore.jobs import Host
from quantcore.models import find
from quantcore.schema import CompareRequest, Variant, VariantResult
from ui.common import hosts, owned_uploads, widgets
from ui.common.markdown import markdown, reason_and_remedy
from ui.common.state import Shown

HELP = (
    "Each is the same workflow with one setting changed, or 16 bits. They are measured like all "
    "others."
)


def draw(shown: Shown, evidence: Evidence, recommendation: Verdict) -> None:
    """Offer variants one setting away from the recommended or nearest 8-bit variant."""
    row = nearest_in_8_bits(evidence, recommendation)
    request = _request(shown, row) if row is not None else None
    if row is None or request is None or row.workflow not in suggestions.CHANGES:
        return
    if not owned_uploads.may_measure(request):
        return
    title = f"What if? Other settings of {titles.variant(row.workflow, row.backend)}"
    with st.expander(markdown(title), key="what-if", on_change="rerun") as fold:
        if fold.open:
            try:
                _offer(shown, request, row, _lost(evidence, row))
            # The pictures' folder may be gone.
            except QuantcoreError as error:
                st.error(reason_and_remedy(error.reason, error.remedy))


def _request(shown: Shown, row: VariantResult) -> CompareRequest | None:
    """Return the request that the row answers; None where its model is not known here any more."""
    comparison = shown.comparison
    try:
        variant_of(row)
        requests = [
            request
            for request in (comparison.request, *comparison.also)
            if request.model.name == row.model
            and image_size(request, find(request.model)) == row.image_size
            and (request.measure.threads, request.measure.batch) == (row.threads, row.batch)
        ]
    except QuantcoreError:
        return None
    # Where two differ only in the number of evaluation pictures, either will do.
    return next(iter(requests), None)


def _lost(evidence: Evidence, row: VariantResult) -> float | None:
    """Return the points that a row lost against float32, if known."""
    index = evidence.index(row.key)
    lost = None if index is None else evidence.candidates[index].lost
    return lost.value if lost else None


def _offer(shown: Shown, request: CompareRequest, row: VariantResult, lost: float | None) -> None:
    offered = [
        each
        for each in suggested_variants(row, request, shown.comparison.environment, lost)
        if each.variant not in request.variants
    ]
    if not offered:
        st.caption("Every setting one step away is measured already.")
        return
    chosen = st.pills(
        "Also measure it with …",
        range(len(offered)),
        selection_mode="multi",
        default=list(range(len(offered))),
        format_func=lambda index: markdown(offered[index].sentence),
        key="what-if-chosen",
        help=HELP,
        wrap=True,
    )
    more = [offered[index].variant for index in chosen]
    if st.button(
        markdown(f"Measure {wording.count(len(more), 'more variant')}"),
        icon=":material/speed:",
        disabled=not more,
        key="what-if-measure",
    ):
        _measure(shown, request, row, more)


def _measure(
    shown: Shown, request: CompareRequest, row: VariantResult, more: Sequence[Variant]
) -> None:
    """Start the comparison with these variants added; what was measured here returns at once."""
    # The shipped example is not cached: only float32, this variant and the chosen are measured.
    variants = request.variants if shown.job else (request.variants[0], variant_of(row))
    host = Host(shown.comparison.environment, shown.job.location) if shown.job else hosts.here()
    extended = replace(request, variants=tuple(dict.fromkeys((*variants, *more))))
    widgets.start([extended], host)
    st.rerun()
