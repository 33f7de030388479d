"""A picture is uploaded and every variant names what it sees, as files that stay loaded."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from scripts.live import LiveServer
from tests.support.looks import expect_accessible, expect_gone, expect_no_overflow
from tests.support.processes import descendants, soon

pytestmark = pytest.mark.browser

# Random weights are measured in seconds; what they name is the same in both variants.
TINY = "?model=torchvision/shufflenet_v2_x0_5&weights=random&workflows=dynamic&backends=x86"
NARROW = {"width": 390, "height": 844}


def stripes() -> bytes:
    """Return a colourful picture as a PNG file."""
    across = np.arange(320) // 20 % 2 * 255
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = across, 255 - across
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def readers(server: LiveServer) -> list[int]:
    """Return the processes that keep files loaded: one for float32, one for the backend."""
    assert soon(lambda: len(descendants(server.pid).get("child", [])) == 2)
    return sorted(descendants(server.pid)["child"])


def upload_file(page: Page, content: bytes) -> None:
    page.get_by_role("radio", name="Upload").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": content}
    )


@pytest.fixture
def trying(page: Page, live: LiveServer) -> Page:
    """The page, on two variants that are measured on this server."""
    page.goto(live.url + TINY)
    page.get_by_role("button", name="Measure here").click()
    expect(page).to_have_url(re.compile("job="))
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    expect_gone(page, page.get_by_role("button", name="Cancel"))
    page.goto(page.url.replace("/?", "/Try?"))
    return page


def test_an_uploaded_picture_is_named_by_every_variant(trying: Page, live: LiveServer) -> None:
    page = trying
    upload_file(page, stripes())
    summary = page.get_by_role("region", name="Summary")
    expect(summary).to_be_visible()
    cards = page.get_by_role("list", name="Answers").locator("> li")
    expect(cards).to_have_count(2)
    for card in (cards.first, cards.last):
        expect(card.locator("ol > li")).to_have_count(5)
        expect(card).to_contain_text(re.compile(r"[0-9.]+ ms this call"))
    expect(page.get_by_text("Your picture, 320 × 240 px")).to_be_visible()
    expect_accessible(page)
    loaded = readers(live)
    page.get_by_role("radio", name="Examples").click()
    page.get_by_role("radio", name="3", exact=True).click()
    expect(page.get_by_text(re.compile("Picture 3, "))).to_be_visible()
    expect(cards).to_have_count(2)
    # The address asks for the same picture, and nothing is wider than a phone.
    page.set_viewport_size(NARROW)
    page.reload()
    expect(summary).to_be_visible()
    expect(page.get_by_text(re.compile("Picture 3, "))).to_be_visible()
    expect(cards).to_have_count(2)
    expect_no_overflow(page)
    assert readers(live) == loaded


def test_what_is_no_picture_is_said(trying: Page) -> None:
    upload_file(trying, b"I am a text.")
    alert = trying.get_by_test_id("stAlert")
    expect(alert).to_contain_text("not a JPEG, PNG or WebP picture")
    upload_file(trying, b"")
    expect(alert).to_contain_text("0 bytes")
