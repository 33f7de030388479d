"""A comparison that outlives pages, browsers and servers."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from quantcore.jobs import JobQueue
from quantcore.schema import JobState
from quantcore.settings import Settings
from scripts.live import live_server
from tests.support.looks import (
    expect_absent,
    expect_accessible,
    expect_no_overflow,
    named_in_address,
)
from tests.support.processes import is_gone, soon

pytestmark = pytest.mark.browser

NARROW = {"width": 390, "height": 844}
TINY = "?model=torchvision/shufflenet_v2_x0_5&weights=random&workflows=dynamic&backends=x86&x=size"


@contextmanager
def reading(data: Path) -> Iterator[JobQueue]:
    queue = JobQueue.open(Settings(data=data))
    try:
        yield queue
    finally:
        queue.close()


def state_of(data: Path, job_id: str) -> JobState:
    with reading(data) as queue:
        return queue.jobs.get(job_id).state


def test_a_job_outlives_its_page_and_a_killed_server(
    open_context: Callable[..., BrowserContext], tmp_path: Path
) -> None:
    page, other = open_context().new_page(), open_context(viewport=NARROW).new_page()
    with live_server(tmp_path) as first:
        page.goto(first.url + TINY)
        page.get_by_role("button", name="Measure here").click()
        job_id = named_in_address(page, "job")
        expect(page.get_by_role("link", name="Jobs · 1")).to_be_visible()
        page.reload()
        expect(page.get_by_role("button", name="Cancel")).to_be_visible()
        # Somebody else has the link.
        other.goto(f"{first.url}?job={job_id}")
        expect(other.get_by_text("Asked for by another visitor")).to_be_visible()
        expect_absent(other, other.get_by_role("button", name="Cancel"))
        other.goto(f"{first.url}/Jobs")
        expect(other.get_by_text("asked for by another visitor")).to_be_visible()
        expect_absent(other, other.get_by_role("button", name="Cancel"))
        expect_no_overflow(other)
        os.kill(first.pid, signal.SIGKILL)
        assert soon(lambda: is_gone(first.pid))
        assert state_of(tmp_path, job_id) == "running"
    page.goto("about:blank")
    other.goto("about:blank")
    with live_server(tmp_path) as second:
        # No browser has asked anything of this server.
        assert soon(lambda: state_of(tmp_path, job_id) == "done")
        page.goto(f"{second.url}/Jobs")
        page.get_by_role("link", name="ShuffleNet").click()
        expect(page.locator(".qw-table tbody tr")).to_have_count(2)
        expect_absent(page, page.get_by_text("Asked for by"))
        assert named_in_address(page, "job") == job_id


def test_the_list_names_deletes_and_is_accessible(page: Page, tmp_path: Path) -> None:
    with live_server(tmp_path) as server:
        page.goto(server.url + TINY)
        page.get_by_role("button", name="Measure here").click()
        job_id = named_in_address(page, "job")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_test_id("stMain").get_by_role("link", name=re.compile("^Jobs")).click()
        expect(page.get_by_role("heading", name="Done · 1")).to_be_visible()
        expect_accessible(page)
        page.get_by_role("button", name="Name").press("Enter")
        page.get_by_label("Name of this comparison").fill("For Friday")
        page.get_by_label("Name of this comparison").press("Enter")
        expect(page.get_by_role("link", name="For Friday")).to_be_visible()
        page.get_by_role("button", name="Delete").press("Enter")
        page.get_by_role("button", name="Delete it").press("Enter")
        expect(page.get_by_text("Nothing has been asked for yet")).to_be_visible()
        page.goto(f"{server.url}?job={job_id}")
        expect(page.get_by_text("no longer on this server")).to_be_visible()
