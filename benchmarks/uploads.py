"""Uploads: the time until a model is recognised, and the memory a large one costs the server."""

import json
import math
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from playwright.sync_api import expect

from benchmarks.app import cold_folder
from benchmarks.lines import Figure, at_most, note
from quantcore.settings import Settings
from quantcore.untrusted import Inspections, fingerprints
from quantcore.uploads import Uploads
from scripts.live import LiveServer, live_browser, live_server

SMALL, LARGE = "resnet50", "vgg16"
OUTPUTS = 1_000
RECOGNISED_LIMIT_S = 2.0
GROWTH_LIMIT_MB = 100.0
SAMPLE_S = 0.02
SLOW_MS = 300_000
CHUNK = 2**20


def lines(small: str = SMALL, large: str = LARGE) -> Iterator[Figure | str]:
    """Yield the time until a model is recognised, and the growth of the web process."""
    with cold_folder() as folder:
        yield from _recognition(folder, small)
        yield from _large_upload(folder, large)


def _recognition(folder: Path, architecture: str) -> Iterator[Figure | str]:
    settings = replace(Settings.from_env(), data=folder / "looks")
    file = weights(architecture, folder / f"{architecture}.safetensors")
    with closing(Inspections(settings, Uploads(settings))) as inspections:
        first_s = _looked_at(inspections, settings, file)
        yield note(
            f"The first file of a server waits {first_s:.1f} s, its worker's start included."
        )
        again_s = _looked_at(inspections, settings, file)
    what = f"a state dict recognised, {file.stat().st_size / 1e6:.0f} MB"
    yield at_most(what, again_s, "s", RECOGNISED_LIMIT_S, "a pause one notices", digits=2)


def _looked_at(inspections: Inspections, settings: Settings, file: Path) -> float:
    upload = Uploads(settings).receive(file.name, pieces(file))
    began = time.monotonic()
    inspections.start(upload)
    view = inspections.wait(upload.token)
    if view.problem is not None:
        raise view.problem
    return time.monotonic() - began


def _large_upload(folder: Path, architecture: str) -> Iterator[Figure | str]:
    file = weights(architecture, folder / f"{architecture}.safetensors")
    size_mb = file.stat().st_size / 1e6
    with live_server(folder / "server") as server, peak_mb(server) as peak:
        before_mb = peak()
        began = time.monotonic()
        _bring(server, file)
        taken_s = time.monotonic() - began
        grown_mb = peak() - before_mb
    yield note(f"An upload of {size_mb:.0f} MB was received and recognised in {taken_s:.0f} s.")
    what = "web process, growth beyond the file"
    yield at_most(what, grown_mb - size_mb, "MB", GROWTH_LIMIT_MB, "a machine for many", digits=0)


def _bring(server: LiveServer, file: Path) -> None:
    with live_browser() as browser:
        page = browser.new_page()
        page.goto(f"{server.url}/Models?part=bring")
        expect(page.get_by_text("Only you see it.")).to_be_visible(timeout=SLOW_MS)
        page.locator("input[type=file]").first.set_input_files(file)
        page.wait_for_url(re.compile("upload="), timeout=SLOW_MS)
        expect(page.get_by_text(f"with {OUTPUTS:,} classes")).to_be_visible(timeout=SLOW_MS)


@contextmanager
def peak_mb(server: LiveServer) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the most memory the web process has held so far, in MB."""
    process, over = psutil.Process(server.pid), threading.Event()
    most = [process.memory_info().rss]

    def watch() -> None:
        while not over.wait(SAMPLE_S):
            most[0] = max(most[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: most[0] / 1e6
    finally:
        over.set()
        watcher.join()


def weights(architecture: str, path: Path) -> Path:
    """Write a safetensors file with an architecture's names and shapes, and small numbers."""
    shapes = {
        name: [OUTPUTS if side == fingerprints.CLASSES else side for side in shape]
        for name, shape in fingerprints.fingerprints()[architecture].shapes.items()
    }
    header: dict[str, object] = {}
    position = 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        offsets = [position, position + size]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        position += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        piece = struct.pack("<f", 0.01) * (CHUNK // 4)
        for start in range(0, position, CHUNK):
            file.write(piece[: min(CHUNK, position - start)])
    return path


def pieces(path: Path) -> Iterator[bytes]:
    """Yield a file in pieces, as an upload comes."""
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece
