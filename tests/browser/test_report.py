"""The report opened from a disk, in a browser that reaches no network, and on paper."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from quantcore import report
from quantcore.decide import Budgets
from quantcore.schema import Comparison
from tests.support import fixtures
from tests.support.looks import expect_accessible, expect_hidden, expect_no_overflow
from tests.support.processes import soon

pytestmark = pytest.mark.browser

WIDE = {"width": 1440, "height": 900}
NARROW = {"width": 390, "height": 844}
# A4 less the margins of the style sheet, at 96 px an inch.
PAPER = {"width": 703, "height": 1000}
MIN_CONTRAST = 4.5
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
NOT_CLIPPED = """part => {
  const box = document.querySelector(part);
  return box.scrollWidth <= box.clientWidth + 1;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of several comparisons as files."""
    found = tmp_path_factory.mktemp("reports")
    budgets = Budgets(size_bytes=5e6, latency_ms=4)
    for name in ("typical", "many", "sweep", "all_failed", "random_weights"):
        html = report.to_html(fixtures.NAMED[name](), budgets, "https://example.org/?job=7")
        (found / f"{name}.html").write_text(html, encoding="utf-8")
    return found


class Opened:
    """A report in a browser without a network: its page, what it asked for, and its complaints."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(file.as_uri())

    @property
    def from_elsewhere(self) -> list[str]:
        """Return what it asked for beside itself and what it holds."""
        own = ("data:", "blob:", "file:")
        return [url for url in self.asked if not url.startswith(own)]


@pytest.fixture
def offline(open_context: Callable[..., BrowserContext]) -> Callable[..., Opened]:
    """What opens a report in a fresh browser context that has no network."""
    return lambda file, **options: Opened(open_context(offline=True, **options).new_page(), file)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("typical", "light"), ("typical", "dark"), ("many", "light"), ("random_weights", "dark")],
)
def test_it_opens_without_a_network(offline, folder, name, scheme):
    opened = offline(folder / f"{name}.html", viewport=WIDE, color_scheme=scheme)
    expect(opened.page.locator("#plot .main-svg").first).to_be_visible()
    points = opened.page.locator("#plot .scatterlayer .point")
    expect(points).to_have_count(len(fixtures.NAMED[name]().results))
    assert opened.from_elsewhere == []
    assert len([url for url in opened.asked if url.startswith("file:")]) == 1
    assert opened.complaints == []
    expect_no_overflow(opened.page)


@pytest.mark.parametrize("name", ["many", "all_failed"])
def test_it_is_read_on_a_telephone(offline, folder, name):
    opened = offline(folder / f"{name}.html", viewport=NARROW)
    expect_no_overflow(opened.page)
    assert opened.complaints == []


def test_a_table_is_cards_on_a_telephone(offline, folder):
    page = offline(folder / "many.html", viewport=NARROW).page
    expect(page.locator(".qw-table tbody tr").first).to_be_visible()
    expect_hidden(page.locator(".qw-table thead"))


@pytest.mark.parametrize(
    ("name", "scheme", "viewport"),
    [
        ("typical", "light", WIDE),
        ("typical", "dark", NARROW),
        ("sweep", "dark", WIDE),
        ("all_failed", "light", NARROW),
    ],
)
def test_no_accessibility_issue(offline, folder, name, scheme, viewport):
    opened = offline(folder / f"{name}.html", viewport=viewport, color_scheme=scheme)
    expect_accessible(opened.page, seriously=False)


def luminance(color: str) -> float:
    channels = [int(part) / 255 for part in color.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_change_of_theme_redraws_the_plot_and_its_texts_stand_out(offline, folder):
    page = offline(folder / "typical.html", viewport=WIDE, color_scheme="light").page
    tick = "getComputedStyle(document.querySelector('#plot .xtick text')).fill"
    label = page.locator("#plot .xtick text").first
    expect(label).to_be_visible()
    before = page.evaluate(tick)
    assert soon(lambda: contrast(page, tick) >= MIN_CONTRAST)
    page.emulate_media(color_scheme="dark")
    expect(label).not_to_have_css("fill", before)
    assert soon(lambda: contrast(page, tick) >= MIN_CONTRAST)


def contrast(page: Page, color: str) -> float:
    """Return the contrast of a colour, given as a script, with the page's background."""
    dark, light = sorted(luminance(page.evaluate(each)) for each in (color, BACKGROUND))
    return (light + 0.05) / (dark + 0.05)


def test_the_plot_answers(offline, folder):
    page = offline(folder / "typical.html", viewport=WIDE).page
    expect(page.locator(".xtitle")).to_have_text("Latency, ms per call (median)")
    page.get_by_role("combobox").select_option(label="File size")
    expect(page.locator(".xtitle")).to_have_text("File size, MB")
    page.locator("#plot .point").first.hover(force=True)
    expect(page.locator("#plot .hovertext")).to_contain_text("Against its own float32")


def saved(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    file = folder / waiting.value.suggested_filename
    waiting.value.save_as(file)
    return file


def test_pictures_and_figures_are_saved_without_a_network(offline, folder, tmp_path):
    opened, source = offline(folder / "typical.html", viewport=WIDE), fixtures.typical()
    picture = saved(opened.page, "Download SVG", tmp_path)
    assert picture.name == "mobilenet-v2-in-8-bits.svg"
    assert "var(" not in picture.read_text()
    assert picture.read_text().count("<title>") == len(source.results)
    with Image.open(saved(opened.page, "Download PNG", tmp_path)) as image:
        assert image.size == (1920, 1120)
        assert len(image.convert("RGB").getcolors(2**24)) > 100
    figures = saved(opened.page, "Figures as CSV", tmp_path)
    assert figures.read_text(encoding="utf-8") == report.to_csv(source)
    everything = saved(opened.page, "Everything as JSON", tmp_path)
    assert Comparison.from_json(everything.read_text(encoding="utf-8")) == source
    assert opened.from_elsewhere == []
    assert opened.complaints == []


@pytest.mark.parametrize("name", ["many", "sweep"])
def test_on_paper_nothing_is_clipped(offline, folder, name):
    page = offline(folder / f"{name}.html", viewport=PAPER, color_scheme="dark").page
    page.emulate_media(media="print")
    expect_no_overflow(page)
    for part in (".qw-scroll", ".rp-picture:not([hidden])", ".qw-verdict", ".rp-method"):
        assert soon(lambda part=part: page.evaluate(NOT_CLIPPED, part)), part
    expect(page.locator(".qw-table thead")).to_be_visible()
    expect(page.locator(".rp-picture svg").first).to_be_visible()
    expect_hidden(page.locator("#plot"))
    expect_hidden(page.locator("button"))
    # Paper is white, whatever the screen is.
    assert soon(lambda: luminance(page.evaluate(BACKGROUND)) == 1)


def test_it_is_printed_on_a4(offline, folder, tmp_path):
    page = offline(folder / "typical.html", viewport=WIDE).page
    file = tmp_path / "report.pdf"
    page.pdf(path=file, prefer_css_page_size=True)
    # A4 in points, as Chromium rounds it.
    assert b"/MediaBox [0 0 594.95996 841.91998]" in file.read_bytes()


def test_without_scripts_the_pictures_are_there(offline, folder):
    page = offline(folder / "typical.html", viewport=WIDE, java_script_enabled=False).page
    expect(page.locator(".rp-picture svg").first).to_be_visible()
    expect_hidden(page.locator(".rp-live"))
    expect_hidden(page.locator("button"))
