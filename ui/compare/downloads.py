"""What is shown as files to take along, and the address to share."""

from collections.abc import Callable, Sequence

import streamlit as st

from quantcore.decide import Budgets
from quantcore.report import to_csv, to_html, to_json, to_summary, to_svg
from quantcore.schema import Comparison
from ui.common import state
from ui.common.markdown import markdown
from ui.common.state import Shown

ICON = ":material/download:"
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


def draw(shown: Shown, limits: Budgets) -> None:
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
                markdown(f"{label} .{suffix}"),
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
            st.code(forms["Summary"][2](), language=None, wrap_lines=True)


def _report(
    make: Callable[..., str],
    comparison: Comparison,
    limits: Budgets,
    link: str,
    name: str,
    visible: Sequence[str],
) -> Callable[[], str]:
    return lambda: make(comparison, limits, link, name=name, visible=visible)
