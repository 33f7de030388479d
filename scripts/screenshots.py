"""Photograph every page in each of its states: `python -m scripts.screenshots [DIR] [--only NAME]`.

A server of its own really measures and exports. Only a variant that failed, which cannot be
provoked, is written into its list by hand.
"""

import argparse
import io
import re
import secrets
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from quantcore.jobs import Host, JobQueue, NewCell, NewJob, shipped_comparison
from quantcore.models import bundled_file
from quantcore.schema import CompareRequest, Comparison, Failure, Variant, VariantResult
from quantcore.settings import Settings
from scripts.live import LiveServer, live_browser, live_server
from scripts.serve import PROJECT
from ui.common import visitor
from ui.common.server import COOKIE, ID_BYTES

FOLDER = PROJECT / "docs" / "screenshots"
HEIGHTS_PX = {1_440: 900, 390: 844}
TALL_PX = {1_440: 1_450, 390: 2_100}
COLORS = 256
SETTLED_MS = 1_500
DRAWN_MS = 60_000
DONE_MS = 600_000
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
# Small, and with every kind of row: ready-made, refused, in 8 bits and hardly so.
MEASURED = (
    "?model=bundled/shufflenet_v2_x1_0&workflows=pretrained,dynamic,static&backends=x86,qnnpack"
)
EXPORTED = "Export?model=bundled/shufflenet_v2_x1_0"
UPLOADED = "checkpoints/resnet18.safetensors"
PARTLY = "partly-failed"
FAILED = "static", "onednn"


@dataclass(frozen=True)
class Stage:
    """What scenes are photographed on: a server, and the window of somebody who was here before.

    Attributes:
        me: the id of that browser.
    """

    server: LiveServer
    browser: Browser
    page: Page
    me: str

    def open(self, address: str) -> None:
        """Open a page in the window."""
        self.page.goto(f"{self.server.url}/{address}")


@dataclass(frozen=True)
class Shot:
    """One state of a page.

    Attributes:
        name: of the picture.
        address: of the page.
        sign: a text that is there once the page is drawn.
        tall: the picture shows more than a screen does.
        newcomer: by somebody who was never here.
    """

    name: str
    address: str
    sign: str | re.Pattern[str]
    tall: bool = False
    newcomer: bool = False


def stay(stage: Stage) -> None:
    """Prepare nothing."""


def look_away(stage: Stage) -> None:
    """Skip the first steps, which then never return to this browser."""
    stage.open("")
    stage.page.get_by_role("button", name="Skip").click(timeout=DRAWN_MS)
    expect(stage.page.get_by_role("region", name="First steps")).to_have_count(0, timeout=DRAWN_MS)


def begin(stage: Stage) -> None:
    """Ask for a comparison, and wait for its first figures."""
    stage.open(MEASURED)
    stage.page.get_by_role("button", name="Measure here").click(timeout=DRAWN_MS)
    expect(stage.page.locator(".qw-table tbody tr").nth(1)).to_be_visible(timeout=DONE_MS)


def finish(stage: Stage) -> None:
    """Wait for the comparison to be done, and write another one down of which a part failed."""
    stage.open("Jobs")
    link = stage.page.get_by_role("link", name=re.compile("ShuffleNet"))
    expect(link).to_be_visible(timeout=DRAWN_MS)
    expect(stage.page.get_by_text("Done · 1")).to_be_visible(timeout=DONE_MS)
    queue = JobQueue.open(Settings(data=stage.server.data))
    try:
        write_partly_failed(queue, shipped_comparison(), visitor.of_browser(stage.me).owner)
    finally:
        queue.close()


def write_partly_failed(queue: JobQueue, comparison: Comparison, owner: str) -> None:
    """Write down the shipped comparison as one of this machine, of which a variant failed."""
    request = comparison.request
    broken = [row for row in comparison.results if (row.workflow, row.backend) == FAILED]
    failed = [
        Failure(
            row.key,
            row.model,
            row.workflow,
            row.backend,
            row.settings,
            "The system ended this variant's process, most likely for want of memory.",
            "Close other programs or choose a smaller batch, then try again.",
            "quantcore.errors.ChildDiedError: signal 9 (SIGKILL) while calibrating",
            refused=False,
        )
        for row in broken
    ]
    measured = [row for row in comparison.results if row not in broken]
    rows: list[VariantResult | Failure] = [*measured, *failed, *comparison.failures]
    variants = tuple(
        Variant(row.workflow, row.backend, tuple(sorted(row.settings.items()))) for row in rows
    )
    partial = CompareRequest(request.model, variants, request.images, request.measure)
    cells = [NewCell(row.key, 1.0, row) for row in rows]
    job = NewJob(PARTLY, owner, "", (partial,), Host(comparison.environment), "For Friday")
    queue.jobs.add(job, cells)


def export(stage: Stage) -> None:
    """Make a file, and wait for its report."""
    stage.open(EXPORTED)
    stage.page.get_by_role("button", name="Make the file").click(timeout=DRAWN_MS)
    card = stage.page.get_by_role("region", name="Verification report")
    expect(card).to_be_visible(timeout=DONE_MS)


def upload(stage: Stage) -> None:
    """Upload a model, and wait until it is recognised."""
    stage.open("Models?part=bring")
    expect(stage.page.get_by_text("Only you see it.")).to_be_visible(timeout=DRAWN_MS)
    stage.page.locator("input[type=file]").first.set_input_files(bundled_file(UPLOADED))
    described = stage.page.get_by_text("as the model would see it")
    expect(described).to_be_visible(timeout=DONE_MS)


@dataclass(frozen=True)
class Scene:
    """States that need the same to be done before.

    In an address, `{job}` is what was measured, and `{upload}` what was uploaded.
    """

    prepare: Callable[[Stage], None]
    shots: tuple[Shot, ...]


METHOD = "How was this measured?"
SCENES = (
    Scene(stay, (Shot("compare-first-visit", "", "1 of 3", newcomer=True),)),
    Scene(
        look_away,
        (
            Shot("compare-filled", "", METHOD, tall=True),
            Shot("compare-budgets", "?max_size=3&max_latency=1", "Clear the", tall=True),
            Shot("compare-nothing-qualifies", "?max_size=2&max_latency=0.3", "Allow", tall=True),
            Shot("compare-empty", "?model=torchvision/resnet18", "has not been measured"),
            Shot("jobs-empty", "Jobs", "Nothing has been asked for yet"),
            Shot("sweep", "Sweep", "float32 included"),
            Shot("words", "Words", "Asking"),
            Shot("models", "Models", "ResNet-18"),
            Shot("models-bring", "Models?part=bring", "Only you see it."),
            Shot("models-mine-empty", "Models?part=mine", "You have not uploaded anything yet"),
            Shot("export-not-made", EXPORTED, "has not been made yet"),
            Shot(
                "export-refused",
                "Export?model=bundled/row_lstm&workflow=dynamic&backend=x86&format=onnx",
                "ONNX has no 8-bit LSTM",
            ),
            Shot("transfer-empty", "Transfer", "Upload images first"),
            Shot("try-elsewhere", "Try", re.compile("not on this machine|first pictures")),
        ),
    ),
    Scene(
        upload,
        (
            Shot(
                "models-described",
                "Models?part=bring&upload={upload}",
                "as the model would see it",
                tall=True,
            ),
            Shot("models-mine", "Models?part=mine", "expires in"),
        ),
    ),
    Scene(begin, (Shot("compare-running", "?job={job}", "Cancel", tall=True),)),
    Scene(
        finish,
        (
            Shot("compare-partly-failed", f"?job={PARTLY}", "1 variant failed"),
            Shot("jobs", "Jobs", "Done · 2"),
            Shot("gallery", "Gallery?job={job}", "surest contradiction", tall=True),
            Shot("try", "Try?job={job}&picture=1", "ms this call", tall=True),
        ),
    ),
    Scene(export, (Shot("export-made", EXPORTED, "Report as JSON", tall=True),)),
)


def play(stage: Stage, only: Collection[str], folder: Path) -> list[Path]:
    """Photograph the scenes, in their order, and return the pictures' paths."""
    job = upload = ""
    written: list[Path] = []
    wanted = [[shot for shot in scene.shots if not only or shot.name in only] for scene in SCENES]
    last = max(index for index, shots in enumerate(wanted) if shots)
    for scene, shots in zip(SCENES[: last + 1], wanted, strict=False):
        scene.prepare(stage)
        job = _named_in(stage.page.url, "job") or job
        upload = _named_in(stage.page.url, "upload") or upload
        for shot in shots:
            written += photograph(stage, shot, shot.address.format(job=job, upload=upload), folder)
    return written


def _named_in(url: str, key: str) -> str:
    match = re.search(rf"{key}=([\w-]+)", url)
    return match[1] if match else ""


def photograph(stage: Stage, shot: Shot, address: str, folder: Path) -> list[Path]:
    """Write one state wide and narrow, light and dark, and return the pictures' paths."""
    written = []
    for width_px in HEIGHTS_PX:
        height_px = (TALL_PX if shot.tall else HEIGHTS_PX)[width_px]
        page = stage.browser.new_page() if shot.newcomer else stage.page
        page.set_viewport_size({"width": width_px, "height": height_px})
        page.emulate_media(color_scheme=SCHEMES[0])
        page.goto(f"{stage.server.url}/{address}")
        expect(page.get_by_text(shot.sign).first).to_be_visible(timeout=DRAWN_MS)
        wait_until_drawn(page)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            # Charts are drawn, and fade in, after the page's text is there.
            page.wait_for_timeout(SETTLED_MS)
            path = folder / f"{shot.name}-{width_px}-{scheme}.png"
            write_small(page.screenshot(animations="disabled"), path)
            print(path, flush=True)
            written.append(path)
        if shot.newcomer:
            page.close()
    return written


def wait_until_drawn(page: Page) -> None:
    """Wait until no widget's place is empty, and the plot, if there is one, has its marks."""
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=DRAWN_MS)
    if page.locator(".st-key-plot").count():
        expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=DRAWN_MS)


def write_small(content: bytes, path: Path) -> None:
    """Write a picture with few colours, which takes a third of the bytes."""
    with Image.open(io.BytesIO(content)) as image:
        few = image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def main() -> None:
    """Photograph everything, or what is named, into the folder asked for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    names = [shot.name for scene in SCENES for shot in scene.shots]
    parser.add_argument("--only", nargs="+", choices=names, default=(), metavar="NAME")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    me = secrets.token_urlsafe(ID_BYTES)
    with (
        tempfile.TemporaryDirectory() as data,
        live_server(Path(data)) as server,
        live_browser() as browser,
    ):
        context = browser.new_context()
        context.add_cookies([{"name": COOKIE, "value": me, "url": server.url}])
        written = play(Stage(server, browser, context.new_page(), me), options.only, folder)
    if folder == FOLDER and not options.only:
        for old in set(folder.glob("*.png")) - set(written):
            old.unlink()


if __name__ == "__main__":
    main()
