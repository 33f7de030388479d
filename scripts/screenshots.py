"""Photograph every page, wide and narrow, light and dark: `python -m scripts.screenshots [DIR]`."""

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser

from scripts.live import LiveServer, live_browser, live_server
from scripts.serve import PROJECT

FOLDER = PROJECT / "docs" / "screenshots"
WIDTHS_PX = (1_440, 390)
HEIGHT_PX = 900
SETTLED_MS = 1_500
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def page_names() -> list[str]:
    """Return the names of the pages, as their addresses have them, the first page's empty."""
    files = sorted((PROJECT / "pages").glob("*.py"))
    return ["", *(file.stem.lstrip("0123456789_") for file in files)]


def photograph(
    browser: Browser, server: LiveServer, name: str, scheme: Scheme, width_px: int, folder: Path
) -> Path:
    """Write one page as a picture and return its path."""
    path = folder / f"{name or 'compare'}-{scheme}-{width_px}.png"
    context = browser.new_context(
        viewport={"width": width_px, "height": HEIGHT_PX}, color_scheme=scheme
    )
    page = context.new_page()
    page.goto(f"{server.url}/{name}")
    page.get_by_role("heading").first.wait_for()
    # Charts are drawn, and fade in, after the page's text is there.
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=path)
    context.close()
    return path


def main() -> None:
    """Photograph everything into the folder asked for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        live_server(Path(data)) as server,
        live_browser() as browser,
    ):
        for name, scheme, width_px in product(page_names(), SCHEMES, WIDTHS_PX):
            print(photograph(browser, server, name, scheme, width_px, folder))


if __name__ == "__main__":
    main()
