"""A page that is run in this process, and what the tests of several pages read off it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.support.processes import PATIENCE_S

PROJECT = Path(__file__).parents[2]
APP = "app.py"
EMPTY: Mapping[str, object] = {}
Open = Callable[..., AppTest]


def run_page(file: str = APP, session: Mapping[str, object] = EMPTY, **address: str) -> AppTest:
    """Run a page at an address, as a visitor whose session holds this."""
    page = AppTest.from_file(str(PROJECT / file), default_timeout=PATIENCE_S)
    page.query_params.update(address)
    for key, value in session.items():
        page.session_state[key] = value
    return page.run()


def press(page: AppTest, label: str) -> AppTest:
    return next(button for button in page.button if button.label == label).click().run()


def buttons(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def captions(page: AppTest) -> str:
    return "\n".join(each.value for each in page.caption).replace("\\", "")


def html(page: AppTest) -> str:
    assert not page.exception
    return "\n".join(element.proto.body for element in page.html)
