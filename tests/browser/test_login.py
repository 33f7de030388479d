"""A site that is only for who logs in, with a provider on the loopback address."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from quantcore.jobs import JobQueue
from quantcore.settings import Settings
from scripts.live import live_server
from tests.support import fixtures, queues
from tests.support.looks import expect_absent
from tests.support.provider import identity_provider

pytestmark = pytest.mark.browser


def test_who_logs_in_sees_the_pages_and_is_called_by_name(page: Page, tmp_path: Path) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    (home / ".streamlit").mkdir(parents=True)
    queue = JobQueue.open(Settings(data=data))
    queues.add(queue, "over", fixtures.one_variant().results, asked_by="Grace Hopper")
    queue.close()
    with identity_provider("Ada Lovelace") as secrets:
        (home / ".streamlit" / "secrets.toml").write_text(secrets)
        with live_server(data, HOME=str(home)) as server:
            page.goto(f"{server.url}/Jobs")
            button = page.get_by_role("button", name="Log in")
            expect(button).to_be_visible()
            expect_absent(page, page.get_by_text("MobileNet v2"))
            expect_absent(page, page.get_by_role("heading", name="Jobs"))
            button.click()
            expect(page.get_by_role("button", name="Measure here")).to_be_visible()
            page.get_by_test_id("stMain").get_by_role("link", name=re.compile("^Jobs")).click()
            expect(page.get_by_text("asked for by Grace Hopper")).to_be_visible()
            page.get_by_test_id("stExpandSidebarButton").click()
            expect(page.get_by_text("Logged in as Ada Lovelace")).to_be_visible()
            page.get_by_role("button", name="Log out").click()
            expect(page.get_by_role("button", name="Log in")).to_be_visible()
