"""What tests of pages share: a browser with an id of its own, and nothing left of the last test."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.helpers import APP, Open, run_page
from ui.common import hosts, seen, state, visitor
from ui.common.server import COOKIE

Browse = Callable[[str], None]


@pytest.fixture(autouse=True)
def browse_as(monkeypatch: pytest.MonkeyPatch) -> Browse:
    """Look at pages as another visitor; as `me` where a test does not say."""

    def browse_as(name: str) -> None:
        monkeypatch.setattr(visitor, "cookies", lambda: {COOKIE: name})

    browse_as("me")
    state.settings.cache_clear()
    hosts.host_monitor.cache_clear()
    return browse_as


@pytest.fixture(autouse=True)
def familiar(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let visitors have seen what is shown once, but where a test is about that."""
    seen._opened.cache_clear()
    if "unseen" not in request.fixturenames:
        monkeypatch.setattr(seen, "has", lambda *_: True)


@pytest.fixture
def unseen() -> None:
    """Let visitors be new; a test asks for it together with a data folder of its own."""


@pytest.fixture
def fake() -> object:
    """Return nothing for pages to ask; the tests of a page have a stand-in of their own."""
    return None


@pytest.fixture
def open_page(request: pytest.FixtureRequest, fake: object) -> Open:
    """Return what opens a page at an address: the one that a module is about, its `PAGE`."""
    page = getattr(request.module, "PAGE", APP)
    return lambda file=page, **options: run_page(file, **options)


@pytest.fixture
def open_site(request: pytest.FixtureRequest, fake: object) -> Open:
    """Return what opens that page as part of the site, so that it can lead to others."""

    def open_site(**address: str) -> AppTest:
        page = run_page(APP).switch_page(request.module.PAGE)
        page.query_params.clear()
        page.query_params.update(address)
        return page.run()

    return open_site
