"""The first page in a real browser: filled, narrow, in both themes, and measuring for real."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from scripts.live import live_server
from tests.support import fixtures
from tests.support.looks import (
    choose,
    expect_accessible,
    expect_gone,
    expect_hidden,
    expect_no_overflow,
    expect_scheme,
)
from tests.support.processes import soon

pytestmark = pytest.mark.browser

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
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()


def test_first_visit_is_filled(page: Page, site: str) -> None:
    open_filled(page, site)
    expect(page.get_by_text("not on this machine")).to_be_visible()
    expect(page.get_by_role("heading", name="Ship QAT on oneDNN")).to_be_visible()
    expect(page.locator(".qw-table tbody tr")).to_have_count(14)
    expect(page.get_by_role("figure", name=re.compile("14 variants: latency"))).to_be_visible()
    expect_no_overflow(page)


def test_a_target_survives_a_reload_another_page_and_the_way_back(page: Page, site: str) -> None:
    open_filled(page, site)
    verdict = page.get_by_role("region", name="Verdict")
    page.get_by_text("Phone app", exact=True).click()
    expect(verdict).to_contain_text("in the phone app")
    expect(page).to_have_url(re.compile("target=phone"))
    page.reload()
    expect(verdict).to_contain_text("in the phone app")
    expect_no_overflow(page)
    page.locator(".st-key-top").get_by_role("link", name="Sweep").click()
    # The first page has such a radio too: only its own address and heading tell the other page.
    expect(page).to_have_url(re.compile("/Sweep.*target=phone"))
    expect(page.get_by_role("heading", level=1, name="Sweep")).to_be_visible()
    expect(page.get_by_role("radio", name="Phone app")).to_be_checked()
    page.go_back()
    expect(verdict).to_contain_text("in the phone app")
    page.get_by_text("Server or PC", exact=True).click()
    expect(verdict).to_contain_text("on a server or PC")
    expect(page).to_have_url(re.compile("target=server"))
    page.go_back()
    expect(verdict).to_contain_text("in the phone app")


def test_axes_survive_a_reload(page: Page, site: str) -> None:
    open_filled(page, site)
    choose(page, "Up", "Peak memory")
    expect(page.locator(".ytitle", has_text="Peak memory")).to_be_visible()
    expect(page).to_have_url(re.compile("y=memory"))
    page.reload()
    expect(page.locator(".ytitle", has_text="Peak memory")).to_be_visible()


def test_narrow_shows_cards_and_never_scrolls_sideways(
    open_context: Callable[..., BrowserContext], site: str
) -> None:
    page = open_context(viewport=NARROW).new_page()
    open_filled(page, site)
    expect_hidden(page.locator(".qw-table thead"))
    card = page.locator(".qw-table tbody tr").nth(1)
    expect(card).to_contain_text("Ready-quantized")
    assert soon(lambda: 0 < card.bounding_box()["width"] <= NARROW["width"])
    expect_no_overflow(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_accessibility_issue(
    open_context: Callable[..., BrowserContext], site: str, theme: str
) -> None:
    page = open_context(color_scheme=theme).new_page()
    open_filled(page, site)
    for fold in ("Settings", "Why not the others?", "How was this measured?"):
        page.get_by_text(fold, exact=True).click()
    expect(page.get_by_text("Images and timing")).to_be_visible()
    expect_scheme(page, theme)
    expect_accessible(page)


def test_the_download_holds_every_cell(page: Page, site: str) -> None:
    open_filled(page, site)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV .csv").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert download.value.suggested_filename == "bundled-mobilenet_v2.csv"
    assert len(lines) == 1 + 17


def test_a_tiny_request_is_measured_by_keyboard(page: Page, site: str) -> None:
    page.goto(site + TINY)
    expect(page.get_by_text("has not been measured yet")).to_be_visible()
    page.get_by_role("button", name="Measure here").press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.locator(".qw-table tbody tr")).to_have_count(2)
    expect_gone(page, page.get_by_role("button", name="Cancel"))
    expect(page.get_by_text("Measured here", exact=True)).to_be_visible()
    page.reload()
    expect(page.locator(".qw-table tbody tr")).to_have_count(2)
