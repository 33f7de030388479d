"""What all tests share: settings of their own, fixed chance, a live server, a browser."""

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, BrowserContext, Page, expect

from quantcore.sandbox import ProcessPool
from quantcore.settings import Settings
from scripts.live import LiveServer, live_browser, live_server
from tests.support.looks import PATIENCE_MS

SEED = 20_231
TESTS = Path(__file__).parent
# Folders and files whose tests convert models, start workers, or kill them, for seconds each.
SLOW = (
    "api/test_model_file.py",
    "backends/test_new_backend.py",
    "browser/",
    "cache/test_processes.py",
    "cache/test_remote.py",
    "cli/",
    "engine/test_latency.py",
    "engine/test_pipeline.py",
    "exports/bundle/",
    "exports/test_exports.py",
    "fine_tuning/",
    "formats/",
    "jobs/test_comparisons.py",
    "jobs/test_faults.py",
    "jobs/test_serving.py",
    "jobs/test_sweep.py",
    "jobs/test_terminal.py",
    "jobs/test_workers.py",
    "models/test_torchvision_import.py",
    "playground/",
    "project/test_benchmarks.py",
    "project/test_package.py",
    "sandbox/lockdown/test_attacks.py",
    "sandbox/lockdown/test_lock.py",
    "service/",
    "untrusted/test_examine.py",
    "untrusted/test_malformed.py",
    "untrusted/test_service.py",
    "workflows/",
)
SCREEN = {"width": 1_440, "height": 900}

# Examples drawn the same way each time: a failure here is a failure everywhere.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.load_profile("repeatable")


def pytest_configure() -> None:
    """Time briefly, and give each worker of pytest-xdist a folder of its own for temporary files.

    No test but the timed ones, which say how long they take, asks how narrow an interval is.

    The lock under which a machine measures lies in it, and workers must not wait for each other.
    Nothing imported so far has looked there.
    """
    os.environ["QUANTCORE_TIME_BUDGET_S"] = "0.2"
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = Path(tempfile.gettempdir()) / f"quantcore-{os.getpid()}-{worker}"
        folder.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def pytest_unconfigure() -> None:
    """Remove what `pytest_configure` made."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-fast` leaves out, and run browser tests last.

    Playwright's event loop then disturbs no other test's.
    """
    for item in items:
        if item.path.relative_to(TESTS).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
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
    from quantcore.engine import PRELOADED_MODULES

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
