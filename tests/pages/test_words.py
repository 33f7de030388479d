from pathlib import Path

from streamlit.testing.v1 import AppTest

from quantcore.backends import BACKENDS
from quantcore.workflows import WORKFLOWS
from ui import tables

PAGE = Path(__file__).parents[2] / "pages" / "Words.py"


def test_every_workflow_backend_and_figure_is_explained() -> None:
    page = AppTest.from_file(PAGE, default_timeout=60).run()
    text = "\n".join(block.value for block in page.markdown)
    assert not page.exception
    for entry in (*WORKFLOWS.values(), *BACKENDS.values()):
        assert f"**{entry.title}**: {entry.summary}" in text
    for column in tables.COLUMNS:
        assert column.help in text
