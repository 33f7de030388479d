"""A file is chosen, made, downloaded, and is the one whose digest the page shows."""

import hashlib
import json
import re
import zipfile

import pytest
from playwright.sync_api import Page, expect

from scripts.live import LiveServer
from tests.support.looks import expect_accessible

pytestmark = pytest.mark.browser

TINY = "/Export?model=torchvision/shufflenet_v2_x0_5&weights=random&workflow=dynamic&backend=x86"


def test_a_file_is_made_downloaded_and_is_the_one_that_was_verified(
    page: Page, live: LiveServer
) -> None:
    page.goto(live.url + TINY)
    page.get_by_role("button", name="Make the file").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    card = page.get_by_role("region", name="Verification report")
    expect(card).to_contain_text("Every check held")
    expect(card).to_contain_text(re.compile("[0-9a-f]{64}"))
    digest = re.search("[0-9a-f]{64}", card.inner_text())
    assert digest
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Only shufflenet").click()
    download = waiting.value
    assert download.suggested_filename == "shufflenet_v2_x0_5-random-dynamic-x86.ptl"
    content = download.path().read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest[0]
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the bundle").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        (report,) = [name for name in archive.namelist() if name.endswith("verification.json")]
        known = json.loads(archive.read(report))["exported"]["artifact"]["sha256"]
    assert known == digest[0]
    # The address asks for the same file, which is there at once.
    page.reload()
    expect(card).to_contain_text(digest[0])
    expect(page.get_by_role("heading", name="Code that runs it")).to_be_visible()
    expect(page.get_by_test_id("stCode").first).to_be_visible()
    expect_accessible(page)


def test_the_verdict_leads_to_its_export(page: Page, live: LiveServer) -> None:
    page.goto(live.url)
    page.get_by_role("link", name=re.compile("^Export .* on ")).click()
    expect(page).to_have_url(re.compile("/Export"))
    expect(page.get_by_role("button", name="Make the file")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
