"""The first page as a visitor meets it: a real server, a real browser."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from playwright.sync_api import Page, ViewportSize

from benchmarks.app import cold_folder
from benchmarks.lines import Figure, at_most, note
from quantcore.cache import Store
from quantcore.models import bundled_file
from quantcore.settings import Settings
from scripts.live import live_browser, live_server

CHART = ".js-plotly-plot .scatterlayer .point"
CHART_LIMIT_S, MEMORY_LIMIT_MB, DELAY_LIMIT_S = 3.0, 250.0, 1.0
WINDOW: ViewportSize = {"width": 1_440, "height": 900}
# Quick to convert, and without shipped figures, so that every row in the table was measured here.
TINY = "?model=torchvision/shufflenet_v2_x0_5&weights=random&workflows=dynamic&backends=x86,onednn"
ROWS = 3
POLL_S = 0.05
TIMEOUT_S = 900.0

# Notes when the table first has one row, two, three: seconds since 1970, as `time.time` counts.
WATCH_TABLE = """() => {
  window.rowsSeen = [];
  const look = () => {
    const rows = document.querySelectorAll(".qw-table tbody tr").length;
    while (window.rowsSeen.length < rows) window.rowsSeen.push(Date.now() / 1000);
  };
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
}"""


def lines() -> Iterator[Figure | str]:
    """Yield the time to the first chart, the delay of results, and the server's memory."""
    with live_browser() as browser, cold_folder() as data, live_server(data) as server:
        answered = time.monotonic()
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(1_000 * TIMEOUT_S)
        if bundled_file("comparison.json").exists():
            page.goto(server.url, wait_until="commit")
            page.locator(CHART).first.wait_for()
            yield at_most(
                "from the server's answer to the first chart in Chromium",
                time.monotonic() - answered,
                "s",
                CHART_LIMIT_S,
                "the aim",
            )
        else:
            yield note("The shipped comparison is not in this copy: no first chart to time.")
        yield from _delays(page, server.url, data)
        rss_mb = psutil.Process(server.pid).memory_info().rss / 1e6
        yield at_most(
            "resident memory of the web process after use",
            rss_mb,
            "MB",
            MEMORY_LIMIT_MB,
            "the aim",
        )


def _delays(page: Page, url: str, data: Path) -> Iterator[Figure | str]:
    """Measure something small from the page; yield how long after the store the page has a row."""
    page.goto(f"{url}/{TINY}")
    button = page.get_by_role("button", name="Measure here")
    button.wait_for()
    page.evaluate(WATCH_TABLE)
    with _landings(data) as landed:
        button.click()
        page.wait_for_function(f"() => window.rowsSeen.length >= {ROWS}")
        seen: list[float] = page.evaluate("window.rowsSeen")
    delays = [shown_at - done_at for shown_at, done_at in zip(seen, landed, strict=False)]
    each = ", ".join(f"{delay:.2f} s" for delay in delays)
    yield note(f"Rows of a small comparison, each after it was stored: {each}")
    yield at_most(
        "from a worker's result to the page showing it, the slowest of three rows",
        max(delays),
        "s",
        DELAY_LIMIT_S,
        "the aim",
    )


@contextmanager
def _landings(data: Path) -> Iterator[list[float]]:
    """Yield a list that grows with each result that lands in the store: seconds since 1970.

    A result counts from the look before the one that found it, so delays err on the long side.
    """
    landed: list[float] = []
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=[data, landed, ended])
    watcher.start()
    try:
        yield landed
    finally:
        ended.set()
        watcher.join()


def _watch(data: Path, landed: list[float], ended: threading.Event) -> None:
    looked = time.time()
    with Store.open(replace(Settings.from_env(), data=data)) as store:
        while not ended.wait(POLL_S):
            now = time.time()
            results = sum(entry.kind == "result" for entry in store.maintenance.entries())
            landed.extend([looked] * (results - len(landed)))
            looked = now
