"""What all tests share: settings of their own, fixed chance, a live server, a browser."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, BrowserContext, Page, expect

from quantcore.engine import PRELOADED_MODULES
from quantcore.sandbox import ProcessPool
from quantcore.settings import Settings
from scripts.live import LiveServer, live_browser, live_server
from tests.support.looks import PATIENCE_MS

SEED = 20_231
SCREEN = {"width": 1_440, "height": 900}

# Examples drawn the same way each time: a failure here is a failure everywhere.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run browser tests last: Playwright's event loop then disturbs no other test's."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(autouse=True)
def _fixed_chance() -> None:
    random.seed(SEED)
    np.random.seed(SEED)
    # Importing torch takes seconds; a test that has not done so draws nothing from it.
    if torch := sys.modules.get("torch"):
        torch.manual_seed(SEED)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with an empty data folder and one thread."""
    return Settings(data=tmp_path / "data", quota_gb=1.0, threads=1)


@pytest.fixture(scope="session")
def pool() -> Iterator[ProcessPool]:
    """One process with torch imported, which forks children for all tests."""
    with ProcessPool([*PRELOADED_MODULES, "tests.support.child_functions"]) as running:
        yield running


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of this module's own, with its process and its data folder."""
    with live_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def server(live: LiveServer) -> str:
    """The address of this module's server."""
    return live.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all tests, and patience for what it shows."""
    expect.set_options(timeout=PATIENCE_MS)
    with live_browser() as running:
        yield running


@pytest.fixture(scope="module")
def open_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """A function that opens a fresh window without cookies or storage: a visitor of its own."""
    contexts = []

    def opened(**options: Any) -> BrowserContext:
        context = browser.new_context(**{"viewport": SCREEN} | options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        return context

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Iterator[Page]:
    """A page of a fresh, wide window."""
    context = open_context()
    yield context.new_page()
    context.close()
