"""The pictures of the pages: named once each, small, and those that the README shows among them."""

import io
import re
from itertools import product
from pathlib import Path

from PIL import Image

from quantcore.jobs import JobQueue, shipped_comparison
from quantcore.settings import Settings
from scripts import screenshots
from scripts.serve import PROJECT

NAMES = [shot.name for scene in screenshots.SCENES for shot in scene.shots]


def test_no_two_states_share_a_name() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_the_readme_shows_pictures_that_are_made() -> None:
    made = {
        f"docs/screenshots/{name}-{width_px}-{scheme}.png"
        for name, width_px, scheme in product(NAMES, screenshots.HEIGHTS_PX, screenshots.SCHEMES)
    }
    shown = re.findall(r"docs/screenshots/[\w.-]+", (PROJECT / "README.md").read_text())
    assert shown
    assert set(shown) <= made


def test_a_picture_keeps_its_size_and_loses_bytes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").rotate(30).save(buffer, "PNG")
    screenshots.write_small(buffer.getvalue(), tmp_path / "small.png")
    with Image.open(tmp_path / "small.png") as image:
        assert (image.size, image.mode) == ((256, 256), "P")
    assert (tmp_path / "small.png").stat().st_size < len(buffer.getvalue())


def test_the_comparison_that_failed_in_part_keeps_the_rest(settings: Settings) -> None:
    comparison = shipped_comparison()
    queue = JobQueue.open(settings)
    screenshots.write_partly_failed(queue, comparison, "me")
    (summary,) = queue.listing.summaries()
    queue.close()
    assert (summary.state, summary.failed) == ("done", 1)
    assert summary.measured == len(comparison.results) - 1
    assert summary.refused == len(comparison.failures)
