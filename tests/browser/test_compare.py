"""The first page in a real browser: filled, narrow, in both themes, and measuring for real."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from scripts.live import live_server
from tests.support import fixtures

pytestmark = pytest.mark.browser

SLOW_MS = 60_000
NARROW = {"width": 390, "height": 844}
TINY = "?model=torchvision/shufflenet_v2_x0_5&weights=random&workflows=dynamic&backends=x86&x=size"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose shipped comparison has known figures."""
    bundle = tmp_path_factory.mktemp("bundle")
    (bundle / "comparison.json").write_text(fixtures.typical().to_json())
    data = tmp_path_factory.mktemp("server")
    with live_server(data, QUANTCORE_BUNDLED=str(bundle)) as running:
        yield running.url


def open_filled(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=SLOW_MS)


def overflow_px(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def test_first_visit_is_filled(page: Page, site: str) -> None:
    open_filled(page, site)
    expect(page.get_by_text("not on this machine")).to_be_visible()
    expect(page.get_by_role("heading", name="Ship QAT on oneDNN")).to_be_visible()
    expect(page.locator(".qw-table tbody tr")).to_have_count(14)
    expect(page.get_by_role("figure", name=re.compile("14 variants: latency"))).to_be_visible()
    assert overflow_px(page) <= 0


def test_axes_survive_a_reload(page: Page, site: str) -> None:
    open_filled(page, site)
    page.get_by_role("combobox", name=re.compile("Up")).click()
    page.get_by_role("option", name="Peak memory").click()
    expect(page.locator(".ytitle", has_text="Peak memory")).to_be_visible(timeout=SLOW_MS)
    expect(page).to_have_url(re.compile("y=memory"))
    page.reload()
    expect(page.locator(".ytitle", has_text="Peak memory")).to_be_visible(timeout=SLOW_MS)


def test_narrow_shows_cards_and_never_scrolls_sideways(browser: Browser, site: str) -> None:
    context = browser.new_context(viewport=NARROW)
    page = context.new_page()
    open_filled(page, site)
    expect(page.locator(".qw-table thead")).to_be_hidden()
    card = page.locator(".qw-table tbody tr").nth(1)
    expect(card).to_contain_text("Ready-quantized")
    assert card.bounding_box()["width"] <= NARROW["width"]
    assert overflow_px(page) <= 0
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_accessibility_issue(browser: Browser, site: str, theme: str) -> None:
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    open_filled(page, site)
    for fold in ("Settings", "Why not the others?", "How was this measured?"):
        page.get_by_text(fold, exact=True).click()
    expect(page.get_by_text("Images and timing")).to_be_visible()
    found = Axe().run(page).response["violations"]
    assert [issue["id"] for issue in found if issue["impact"] in {"serious", "critical"}] == []
    context.close()


def test_the_download_holds_every_cell(page: Page, site: str) -> None:
    open_filled(page, site)
    with page.expect_download(timeout=SLOW_MS) as download:
        page.get_by_role("button", name="CSV .csv").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert download.value.suggested_filename == "bundled-mobilenet_v2.csv"
    assert len(lines) == 1 + 17


def test_a_tiny_request_is_measured_by_keyboard(page: Page, site: str) -> None:
    page.goto(site + TINY)
    expect(page.get_by_text("has not been measured yet")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Measure here").press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".qw-table tbody tr")).to_have_count(2, timeout=2 * SLOW_MS)
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden(timeout=SLOW_MS)
    expect(page.get_by_text("Measured here", exact=True)).to_be_visible()
    page.reload()
    expect(page.locator(".qw-table tbody tr")).to_have_count(2, timeout=SLOW_MS)
