"""What a test sees of a page in a browser, once it has come to rest."""

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.support.processes import PATIENCE_S, soon

PATIENCE_MS = 1_000 * PATIENCE_S
SERIOUS = ("serious", "critical")
# The code of a widget is fetched when the first of its kind is drawn.
_DRAWN = (
    "[data-testid=stApp][data-test-script-state=notRunning]:not(:has([data-testid=stSkeleton]))"
)
_OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
# Spinners turn for ever; everything else fades or slides and ends.
_MOVING = """document.getAnimations().filter(
  each => each.playState === "running" && each.effect.getComputedTiming().endTime !== Infinity
).length"""


def expect_at_rest(page: Page) -> None:
    """Wait until nothing fades or slides any more."""
    assert soon(lambda: page.evaluate(_MOVING) == 0), "something goes on moving"


def choose(page: Page, label: str, option: str) -> None:
    """Choose in a drop-down list, once it is in view: an open list closes when its page scrolls."""
    box = page.get_by_role("combobox", name=label)
    box.scroll_into_view_if_needed()
    # The event of scrolling comes before the next frame is drawn.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box.click()
    page.get_by_role("option", name=option).click()


def is_drawn(page: Page) -> bool:
    """Return whether the page's script has come to its end, and no widget's place is empty."""
    return page.locator(_DRAWN).count() == 1


def expect_absent(page: Page, locator: Locator) -> None:
    """Wait until the page is drawn to its end; expect that this is not on it."""
    assert soon(lambda: is_drawn(page)), "the page is never drawn to its end"
    # What the page before left behind is taken out just after.
    expect(locator).to_have_count(0, timeout=1_000)


def expect_gone(page: Page, locator: Locator) -> None:
    """Wait until what was on the page, or may have been, is not on it once it is drawn."""
    assert soon(lambda: is_drawn(page) and not locator.count()), "it stays on the page"


def expect_hidden(locator: Locator) -> None:
    """Wait until this is in the document, and nobody sees any of it."""
    expect(locator).not_to_have_count(0)
    expect(locator.filter(visible=True)).to_have_count(0)


def expect_no_overflow(page: Page) -> None:
    """Wait until the page is no wider than its window."""
    assert soon(lambda: page.evaluate(_OVERFLOW) <= 0), f"{page.evaluate(_OVERFLOW)} px too wide"


def expect_accessible(page: Page, *, seriously: bool = True) -> None:
    """Wait until axe finds nothing, or nothing serious, on a page that is at rest."""
    expect_at_rest(page)
    issues: list[str] = []

    def is_clean() -> bool:
        issues[:] = _issues(page, seriously)
        return not issues

    assert soon(is_clean, within_s=20), issues


def expect_scheme(page: Page, scheme: str) -> None:
    """Wait until the app is drawn in the light or the dark theme."""
    scheme_of = "getComputedStyle(document.querySelector('.stApp')).colorScheme"
    assert soon(lambda: page.evaluate(scheme_of) == scheme)


def named_in_address(page: Page, parameter: str) -> str:
    """Return the value of a parameter once the address has it."""
    page.wait_for_url(re.compile(rf"[?&]{parameter}="))
    found = re.search(rf"[?&]{parameter}=([\w-]+)", page.url)
    assert found
    return found[1]


def _issues(page: Page, seriously: bool) -> list[str]:
    """Return what axe finds: the rule, and where."""
    return [
        f"{issue['id']}: {node['target']} {node.get('failureSummary', '')}"
        for issue in Axe().run(page).response["violations"]
        if not seriously or issue["impact"] in SERIOUS
        for node in issue["nodes"]
    ]
