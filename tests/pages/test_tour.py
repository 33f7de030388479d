"""The first minute: who is shown the steps, and that nobody is shown them twice."""

import sqlite3
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.settings import Settings
from tests.pages.conftest import Browse
from tests.pages.fakes import FakeComparisons, running, view
from tests.pages.helpers import Open, press
from tests.support import fixtures
from ui.common import seen, state
from ui.compare import tour

pytestmark = pytest.mark.usefixtures("data", "unseen")


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder in which nobody has seen anything, with the folders that a store makes."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "quarantine").mkdir()
    settings = Settings(data=tmp_path)
    fake = FakeComparisons(mine=view(fixtures.typical()), new=running(0))
    monkeypatch.setattr(state, "settings", lambda: settings)
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", fixtures.typical)
    return tmp_path


def said(page: AppTest) -> str:
    """Return what the card says; empty without one."""
    assert not page.exception
    bodies = [block.proto.body for block in page.html]
    return "".join(body for body in bodies if body.startswith('<section class="qw-tour"'))


def test_three_steps_lead_through_the_example_and_never_return(open_page: Open) -> None:
    page = open_page()
    for place, step in enumerate(tour.STEPS, start=1):
        assert f"{place} of 3" in said(page)
        assert step.title in said(page)
        page = press(page, "Next" if place < 3 else "Got it")
    assert said(page) == ""
    assert said(open_page()) == ""


def test_skipping_is_remembered_for_this_browser_only(open_page: Open, browse_as: Browse) -> None:
    assert said(press(open_page(), "Skip")) == ""
    assert said(open_page()) == ""
    browse_as("another")
    assert "1 of 3" in said(open_page())


def test_it_waits_for_who_only_reloads(open_page: Open) -> None:
    press(open_page(), "Next")
    assert "1 of 3" in said(open_page())


@pytest.mark.parametrize("address", [{"job": "mine"}, {"model": "torchvision/resnet18"}])
def test_only_the_example_is_explained(open_page: Open, address: dict[str, str]) -> None:
    assert said(open_page(**address)) == ""


def test_measuring_ends_it(open_page: Open) -> None:
    assert said(press(open_page(), "Measure here")) == ""
    assert said(open_page()) == ""


def test_where_nothing_can_be_kept_the_page_is_as_ever(open_page: Open, data: Path) -> None:
    with sqlite3.connect(data / "visitors.sqlite") as db:
        db.execute(f"PRAGMA user_version = {seen.VISITORS.version + 1}")
    page = open_page()
    assert said(page) == ""
    assert any("qw-verdict" in block.proto.body for block in page.html)
