"""The words of the other pages, each in a sentence: workflows, backends, and figures."""

from collections.abc import Mapping

import streamlit as st

from quantcore.workflows import WORKFLOWS
from ui import tables, theme, titles

SUBTITLE = "What the words on the Compare page mean. Every figure is measured; none is assumed."


def main() -> None:
    """Draw one list for what is done, one for where it runs, one for what is measured."""
    theme.set_up_page("Words")
    theme.header("Words", SUBTITLE)
    reference = WORKFLOWS["float32"]
    _list("Workflows", {reference.title: reference.summary, **titles.workflow_summaries()})
    _list("Backends", titles.backend_summaries())
    _list("Figures", {column.title: column.help for column in tables.COLUMNS})


def _list(heading: str, meanings: Mapping[str, str]) -> None:
    st.header(heading)
    st.markdown("\n".join(f"- **{word}**: {meaning}" for word, meaning in meanings.items()))


main()
