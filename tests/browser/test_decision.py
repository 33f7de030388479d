"""From a first visit to a decision that is shared: budget, gallery, link, report."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.live import LiveServer

pytestmark = pytest.mark.browser

SLOW_MS = 60_000
SCREEN = {"width": 1_440, "height": 900}


def skip_the_tour(page: Page) -> None:
    skip = page.get_by_role("button", name="Skip")
    expect(skip).to_be_visible(timeout=SLOW_MS)
    skip.click()
    expect(skip).to_have_count(0, timeout=SLOW_MS)


def test_a_first_visit_ends_in_a_decision_that_others_see(
    browser: Browser, live: LiveServer, tmp_path: Path
) -> None:
    mine = browser.new_context(viewport=SCREEN, accept_downloads=True)
    page = mine.new_page()
    page.goto(live.url)
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_be_visible(timeout=SLOW_MS)
    skip_the_tour(page)
    first = verdict.inner_text()

    # A budget changes the verdict, the count and the address.
    slider = page.get_by_role("slider", name=re.compile("Size, at most"))
    slider.focus()
    for _ in range(120):
        if "QNNPACK" in verdict.inner_text():
            break
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(50)
    expect(page).to_have_url(re.compile("max_size="), timeout=SLOW_MS)
    expect(verdict).to_contain_text("QNNPACK", timeout=SLOW_MS)
    assert verdict.inner_text() != first

    # The pictures behind it.
    address = page.url
    page.get_by_role("link", name="See where it and float32 differ").click()
    expect(page.get_by_text(re.compile(r"They differ on"))).to_be_visible(timeout=SLOW_MS)
    assert page.locator(".qw-gallery li").count() > 3
    page.get_by_text("Only float32 right").click()
    expect(page).to_have_url(re.compile("kind=float32"), timeout=SLOW_MS)
    page.go_back()
    page.go_back()
    expect(verdict).to_contain_text("QNNPACK", timeout=SLOW_MS)

    # The same view in another browser.
    theirs = browser.new_context(viewport=SCREEN).new_page()
    theirs.goto(address)
    expect(theirs.get_by_role("region", name="Verdict")).to_contain_text("QNNPACK", timeout=SLOW_MS)

    # The report, opened from a disk without a network.
    with page.expect_download(timeout=SLOW_MS) as waiting:
        page.get_by_role("button", name="Report .html").click()
    report = tmp_path / "report.html"
    waiting.value.save_as(report)
    offline = browser.new_context(viewport=SCREEN, offline=True).new_page()
    asked: list[str] = []
    offline.on("request", lambda request: asked.append(request.url))
    offline.goto(report.as_uri())
    expect(offline.get_by_role("region", name="Verdict")).to_contain_text("QNNPACK")
    expect(offline.locator(".js-plotly-plot .scatterlayer").first).to_be_visible()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
