"""All pages together: what they are called, which of them is drawn, and who may see any."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from ui.common import progress, state, theme, visitor
from ui.common.markdown import markdown
from ui.common.state import Parameter

PROJECT = Path(__file__).parents[2]
ENTRY = PROJECT / "ui" / "entry" / "main.py"
COMPARE = PROJECT / "app.py"
PAGES = PROJECT / "pages"
JOBS = PAGES / "Jobs.py"
SWEEP = PAGES / "Sweep.py"
EXPORT = PAGES / "Export.py"
GALLERY = PAGES / "Gallery.py"
MODELS = PAGES / "Models.py"
TRANSFER = PAGES / "Transfer.py"
TRY = PAGES / "Try.py"
ICONS = {
    "Export": ":material/package_2:",
    "Gallery": ":material/compare:",
    "Jobs": ":material/checklist:",
    "Models": ":material/category:",
    "Sweep": ":material/stacks:",
    "Transfer": ":material/school:",
    "Try": ":material/image_search:",
}
LOGIN_TITLE = "Log in"
LOGIN_SENTENCE = "This site is for those who log in."


def run() -> None:
    """Draw the page that the address names, or ask who the visitor is where the site wants that."""
    closed = visitor.must_log_in()
    pages = [
        # Without icons: until a page sets its own, Streamlit would fetch them from a public host.
        st.Page(COMPARE, title="Compare", default=True),
        *(st.Page(path, title=path.stem) for path in sorted(PAGES.glob("*.py"))),
    ]
    page = st.navigation(pages, position="hidden" if closed else "sidebar")
    if closed:
        _ask_to_log_in()
        return
    if visitor.is_logged_in():
        _offer_to_log_out()
    page.run()


def begin(title: str, subtitle: str, held: Sequence[Parameter]) -> list[str] | None:
    """Draw a page's head, and set its widgets to the values in the address.

    Args:
        title: of the page.
        subtitle: one sentence under it.
        held: what the address of this page holds.

    Returns:
        The unknown names in the address; None where the server cannot keep comparisons, which the
        page then says: nothing else can be drawn.
    """
    theme.open_page(title, subtitle)
    progress.check_settings()
    if state.problem():
        progress.show_notices()
        return None
    return state.read_address(held)


def link_to_job(job_id: str, label: str) -> None:
    """Draw a link to the first page that shows this comparison."""
    st.page_link(COMPARE, label=markdown(label), icon="", query_params={"job": job_id})


def offer_compare(label: str) -> None:
    """Draw a button that leads to the first page as it is at a first visit."""
    if st.button(markdown(label), type="primary", icon=":material/speed:"):
        st.switch_page(COMPARE)


def link_to_jobs() -> None:
    """Draw a link to the list of comparisons, with how many wait or run."""
    count = state.open_jobs()
    st.page_link(
        JOBS, label=markdown(f"Jobs · {count}" if count else "Jobs"), icon=ICONS[JOBS.stem]
    )


def link_to_models() -> None:
    """Draw a link to all models, and to the upload of the visitor's own."""
    st.page_link(
        MODELS,
        label=markdown(MODELS.stem),
        icon=ICONS[MODELS.stem],
        query_params=state.target_address(),
    )


def link_to_sweep() -> None:
    """Draw a link to where several models and settings are asked for in one go."""
    st.page_link(
        SWEEP,
        label=markdown(SWEEP.stem),
        icon=ICONS[SWEEP.stem],
        query_params=state.target_address(),
    )


def link_to_export(label: str, address: Mapping[str, str]) -> None:
    """Draw a link to where a variant is made a file for an app."""
    st.page_link(EXPORT, label=markdown(label), icon=ICONS[EXPORT.stem], query_params=dict(address))


def link_to_trial(label: str, address: Mapping[str, str]) -> None:
    """Draw a link to where one picture is asked of every variant."""
    st.page_link(TRY, label=markdown(label), icon=ICONS[TRY.stem], query_params=dict(address))


def link_to_gallery(label: str, address: Mapping[str, str]) -> None:
    """Draw a link to the pictures on which a variant and float32 differ."""
    st.page_link(
        GALLERY, label=markdown(label), icon=ICONS[GALLERY.stem], query_params=dict(address)
    )


def _ask_to_log_in() -> None:
    theme.set_up_page(LOGIN_TITLE)
    theme.header("Quantization what-if", LOGIN_SENTENCE)
    st.button(LOGIN_TITLE, type="primary", icon=":material/login:", on_click=st.login)


def _offer_to_log_out() -> None:
    with st.sidebar:
        st.caption(markdown(f"Logged in as {visitor.current().name}"))
        st.button("Log out", icon=":material/logout:", on_click=st.logout)
