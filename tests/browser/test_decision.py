"""From a first visit to a decision that is shared: budget, gallery, link, report."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from scripts.live import LiveServer
from tests.support.looks import expect_gone

pytestmark = pytest.mark.browser


def skip_the_tour(page: Page) -> None:
    skip = page.get_by_role("button", name="Skip")
    skip.click()
    expect_gone(page, skip)


def test_a_first_visit_ends_in_a_decision_that_others_see(
    page: Page, open_context: Callable[..., BrowserContext], live: LiveServer, tmp_path: Path
) -> None:
    page.goto(live.url)
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_be_visible()
    skip_the_tour(page)
    expect(verdict).not_to_contain_text("Ship Static on OpenVINO")

    # A budget changes the verdict, the count and the address.
    slider = page.get_by_role("slider", name=re.compile("Size, at most"))
    slider.press("Home")
    expect(page).to_have_url(re.compile("max_size="))
    lowest = page.url
    slider.press("ArrowRight")
    expect(page).not_to_have_url(lowest)
    expect(verdict).to_contain_text("Ship Static on OpenVINO")

    # The pictures behind it.
    address = page.url
    page.get_by_role("link", name="See where it and float32 differ").click()
    expect(page.get_by_text(re.compile(r"They differ on"))).to_be_visible()
    # The fourth of them is there: there are more than three.
    expect(page.locator(".qw-gallery li").nth(3)).to_be_visible()
    page.get_by_text("Only float32 right").click()
    expect(page).to_have_url(re.compile("kind=float32"))
    page.go_back()
    page.go_back()
    expect(verdict).to_contain_text("Ship Static on OpenVINO")

    # The same view in another browser.
    theirs = open_context().new_page()
    theirs.goto(address)
    expect(theirs.get_by_role("region", name="Verdict")).to_contain_text("Ship Static on OpenVINO")

    # The report, opened from a disk without a network.
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Report .html").click()
    report = tmp_path / "report.html"
    waiting.value.save_as(report)
    offline = open_context(offline=True).new_page()
    asked: list[str] = []
    offline.on("request", lambda request: asked.append(request.url))
    offline.goto(report.as_uri())
    expect(offline.get_by_role("region", name="Verdict")).to_contain_text("Ship Static on OpenVINO")
    expect(offline.locator(".js-plotly-plot .scatterlayer").first).to_be_visible()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
