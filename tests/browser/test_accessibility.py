"""Every page for everybody: in both themes, without a mouse, without eyes, and on a phone."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Page, expect

from quantcore.cache import Store
from quantcore.images import load_labels
from quantcore.jobs import JobQueue
from quantcore.models import find
from quantcore.schema import ImageSpec, ModelSpec, VariantResult
from quantcore.settings import Settings
from scripts.live import LiveServer, live_server
from scripts.screenshots import wait_until_drawn
from tests.conftest import SCREEN
from tests.support import fixtures, queues
from tests.support.looks import (
    expect_absent,
    expect_accessible,
    expect_gone,
    expect_no_overflow,
    expect_scheme,
)
from ui.common import visitor
from ui.common.server import COOKIE

pytestmark = pytest.mark.browser

NARROW = {"width": 390, "height": 844}
ME = "an-id-of-thirty-two-characters-0"
MAX_TABS = 60
# What is there once a page is drawn to its end.
ENDS = {
    "": "How was this measured?",
    "?job=partly&max_latency=4.5": "How was this measured?",
    "Jobs": "Done · 3",
    "Sweep": "float32 included",
    "Words": "Asking",
    "Models": re.compile("models of"),
    "Models?part=bring": "Only you see it.",
    "Models?part=mine": "You have not uploaded anything yet",
    "Export": "This file has not been made yet",
    "Export?model=bundled/row_lstm&workflow=dynamic&backend=x86&format=onnx": "ONNX has no 8-bit",
    "Gallery?job=told": "surest contradiction first",
    "Transfer": "Upload images first",
    "Try": re.compile("The first pictures|not on this machine"),
}
# What is folded at first, from top to bottom, on the pages where something is.
FOLDS = {
    "": [
        "Settings",
        "Why not the others?",
        "Notes on single variants",
        "All figures, sortable",
        "What if?",
        "How was this measured?",
        "Copy the link or the summary",
    ],
    "?job=partly&max_latency=4.5": [
        "Settings",
        "Why not the others?",
        "Notes on single variants",
        "All figures, sortable",
        "What if?",
        "Technical details",
        "How was this measured?",
        "Copy the link or the summary",
    ],
    "Export": ["Settings"],
    "Export?model=bundled/row_lstm&workflow=dynamic&backend=x86&format=onnx": ["Settings"],
}


def with_answers(data: Path) -> list[VariantResult]:
    """Return float32 and a variant that names other classes on a few pictures."""
    labels = load_labels(ImageSpec(), find(ModelSpec(fixtures.MODEL)))
    assert labels is not None
    before = np.eye(10, dtype=np.float32)[labels] * 4
    after = before.copy()
    after[::97] = np.roll(after[::97], 1, axis=1)
    with Store.open(Settings(data=data)) as store:
        kept = [store.add(partial(save, logits), "logits").sha256 for logits in (before, after)]
    pair = fixtures.float32(), fixtures.result("static", "x86")
    return [replace(row, predictions=sha256) for row, sha256 in zip(pair, kept, strict=True)]


def save(logits: NDArray[np.float32], path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, logits)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with comparisons of this browser: whole, partly failed, and with its answers."""
    data = tmp_path_factory.mktemp("server")
    queue = JobQueue.open(Settings(data=data))
    mine = visitor.of_browser(ME).owner
    whole, partly = fixtures.typical(), fixtures.typical()
    queues.add(queue, "whole", whole.results, owner=mine, title="For Friday")
    broken = fixtures.failure(
        "static", "x86", "It ended.", "Try again.", details="A", refused=False
    )
    rows = [row for row in partly.results if row.workflow != "static"]
    queues.add(queue, "partly", [*rows, broken, *partly.failures[:1]], owner=mine)
    queues.add(queue, "told", with_answers(data), owner=mine)
    queue.close()
    with live_server(data) as running:
        yield running


@pytest.fixture(scope="module")
def window(open_context: Callable[..., BrowserContext], site: LiveServer) -> Page:
    """One window for all of these tests, of one browser that has been here before."""
    context = open_context()
    context.add_cookies([{"name": COOKIE, "value": ME, "url": site.url}])
    return context.new_page()


def focused(page: Page) -> str:
    """Return the role or tag, and the name, of what has the focus."""
    return str(
        page.evaluate(
            "(() => { const e = document.activeElement; return (e.role || e.tagName) + ' ' + "
            "(e.ariaLabel || e.innerText || ''); })()"
        )
    )


def tab_to(page: Page, fits: Callable[[str], bool]) -> None:
    """Press Tab until the focus is on what fits."""
    passed = []
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        if fits(focused(page)):
            return
        passed.append(focused(page)[:40])
    raise AssertionError(f"The focus never came there, only to {passed}")


def unfold(page: Page, folds: list[str]) -> None:
    """Open everything that is folded on a page, which is just this."""
    closed = page.locator("details:not([open]) > summary")
    expect(closed).to_contain_text(folds)
    for fold in folds:
        page.locator("summary", has_text=re.compile(re.escape(fold))).click()
    expect_gone(page, closed)


@pytest.mark.parametrize("address", ENDS, ids=lambda text: text.split("&")[0] or "Compare")
def test_nobody_is_shut_out(window: Page, site: LiveServer, address: str) -> None:
    page = window
    page.set_viewport_size(SCREEN)
    page.emulate_media(color_scheme="light")
    page.goto(f"{site.url}/{address}")
    expect(page.get_by_text(ENDS[address]).first).to_be_visible()
    wait_until_drawn(page)
    unfold(page, FOLDS.get(address, []))
    # What opens fades in, and is pale until then.
    expect_accessible(page)
    page.emulate_media(color_scheme="dark")
    expect_scheme(page, "dark")
    expect_accessible(page)
    page.set_viewport_size(NARROW)
    expect_no_overflow(page)


def test_the_first_steps_are_for_everybody_and_never_return(page: Page, site: LiveServer) -> None:
    page.goto(site.url)
    card = page.get_by_role("region", name="First steps")
    expect(card).to_contain_text("1 of 3")
    tab_to(page, lambda name: name == "BUTTON Next")
    page.keyboard.press("Enter")
    expect(card).to_contain_text("2 of 3")
    expect(page.locator(".st-key-plot")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(card).to_contain_text("3 of 3")
    page.set_viewport_size(NARROW)
    expect_no_overflow(page)
    page.keyboard.press("Enter")
    expect_gone(page, card)
    page.reload()
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    expect_absent(page, card)


def test_a_keyboard_is_enough_and_the_plot_has_words(window: Page, site: LiveServer) -> None:
    page = window
    page.set_viewport_size(SCREEN)
    page.goto(f"{site.url}/?job=whole")
    figure = page.get_by_role("figure", name=re.compile("14 variants: latency"))
    expect(figure).to_be_visible()
    tab_to(page, lambda name: name.endswith("Measure here"))
    tab_to(page, lambda name: name.startswith("INPUT Size, at most"))
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("max_size="))
    expect(page.get_by_role("button", name="Clear the budgets")).to_be_visible()


def test_a_word_is_found_and_linked_to(window: Page, site: LiveServer) -> None:
    page = window
    page.goto(f"{site.url}/Words#opset")
    expect(page.locator("#opset")).to_be_in_viewport()
    page.get_by_role("textbox", name="Find a word").fill("pareto")
    page.keyboard.press("Enter")
    expect_gone(page, page.locator("#opset"))
    expect(page.get_by_role("link", name="Pareto front")).to_be_visible()
