"""A model and images are uploaded, recognised, compared and deleted, and nobody else sees them."""

import io
import re
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from quantcore.jobs import JobQueue
from quantcore.models.torchvision_import import torchvision
from quantcore.settings import Settings
from scripts.live import LiveServer
from tests.conftest import SCREEN
from tests.support.looks import (
    expect_accessible,
    expect_gone,
    expect_no_overflow,
    named_in_address,
)
from tests.untrusted import onnx_files

pytestmark = pytest.mark.browser

CLASSES = ("cat", "dog", "owl")
PICTURES_EACH = 12
NARROW = {"width": 390, "height": 844}


def state_dict() -> bytes:
    """Return the numbers of a small model of three classes, as torch saves them."""
    model = torchvision().models.shufflenet_v2_x0_5(weights=None, num_classes=len(CLASSES))
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getvalue()


def pictures() -> bytes:
    """Return a zip of class folders with a few noisy pictures each."""
    noise, buffer = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in CLASSES:
            for place in range(PICTURES_EACH):
                pixels = noise.integers(0, 255, (64, 64, 3), np.uint8)
                picture = io.BytesIO()
                Image.fromarray(pixels).save(picture, "PNG")
                archive.writestr(f"{name}/{place}.png", picture.getvalue())
    return buffer.getvalue()


def upload_file(page: Page, server: str, place: int, name: str, content: bytes) -> str:
    """Upload a file to one of the two fields; return its token once it is received."""
    page.goto(f"{server}/Models?part=bring")
    expect(page.get_by_text("Only you see it.")).to_be_visible()
    page.locator("input[type=file]").nth(place).set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )
    return named_in_address(page, "upload")


def expect_open_to_everybody(page: Page) -> None:
    """Wait until nothing is wrong for those who hear a page, or who read it on a phone."""
    expect_accessible(page)
    page.set_viewport_size(NARROW)
    expect_no_overflow(page)
    page.set_viewport_size(SCREEN)


def test_an_upload_is_private_until_it_is_deleted_without_a_trace(
    page: Page, open_context: Callable[..., BrowserContext], live: LiveServer
) -> None:
    model = upload_file(page, live.url, 0, "pets.pt", state_dict())
    expect(page.get_by_text("ShuffleNet v2 x0.5 with 3 classes")).to_be_visible()
    labels = page.get_by_role("textbox", name="Labels")
    labels.fill("\n".join(CLASSES))
    labels.press("Control+Enter")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Compare it")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("numbers run from"))).to_be_visible()
    expect_open_to_everybody(page)

    images = upload_file(page, live.url, 1, "pets.zip", pictures())
    expect(page.get_by_text("36 pictures of 3 classes")).to_be_visible()
    expect(page.get_by_text("Every class of these pictures fits a label")).to_be_visible()
    expect(page.get_by_role("list", name="Some of the pictures").locator("img")).not_to_have_count(
        0
    )
    expect_open_to_everybody(page)

    narrow = f"model=upload/{model}&images=upload/{images}&workflows=dynamic&backends=x86"
    page.goto(f"{live.url}/?{narrow}")
    page.get_by_role("button", name="Measure here").click()
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    expect_gone(page, page.get_by_role("button", name="Cancel"))
    expect(page.locator(".qw-table tbody tr")).to_have_count(2)
    shared = page.url

    look_as_somebody_else(open_context().new_page(), live.url, shared, model)

    page.goto(f"{live.url}/Models?part=mine")
    for left in (1, 0):
        page.get_by_role("button", name="Delete", exact=True).first.click()
        page.get_by_role("button", name="Delete it").click()
        expect(page.get_by_role("button", name="Edit")).to_have_count(left)
    expect(page.get_by_text("You have not uploaded anything yet")).to_be_visible()
    assert not list((live.data / "uploads").iterdir())
    queue = JobQueue.open(Settings(data=live.data))
    assert queue.listing.summaries() == []
    queue.close()
    page.goto(shared)
    expect(page.get_by_text("no longer on this server")).to_be_visible()


@pytest.mark.parametrize("is_quantized", [False, True], ids=["float", "quantized"])
def test_an_onnx_model_is_described_compared_and_there_after_a_reload(
    page: Page, live: LiveServer, is_quantized: bool
) -> None:
    graph = onnx_files.quantized() if is_quantized else onnx_files.fixed_batch()
    model = upload_file(page, live.url, 0, "pets.onnx", graph.SerializeToString())
    expect(page.get_by_text("An ONNX model, which only ever runs locked in.")).to_be_visible()
    said = "It is quantized already" if is_quantized else "It was exported for 1 picture a call"
    expect(page.get_by_text(said)).to_be_visible()
    labels = page.get_by_role("textbox", name="Labels")
    labels.fill("\n".join(CLASSES))
    labels.press("Control+Enter")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("img", name=re.compile("numbers run from"))).to_be_visible()
    expect_open_to_everybody(page)

    images = upload_file(page, live.url, 1, "pets.zip", pictures())
    expect(page.get_by_text("36 pictures of 3 classes")).to_be_visible()
    narrow = f"model=upload/{model}&images=upload/{images}&backends=x86,onnxruntime"
    page.goto(f"{live.url}/?{narrow}")
    page.get_by_role("button", name="Measure here").click()
    for _ in ("as it is measured", "after a reload"):
        verdict = page.get_by_role("region", name="Verdict")
        expect(verdict).to_be_visible()
        expect_gone(page, page.get_by_role("button", name="Cancel"))
        expect(verdict).to_contain_text("No verdict" if is_quantized else "float32")
        rows = page.locator(".qw-table tbody tr")
        expect(rows).to_have_count(1 if is_quantized else 3)
        expect(page.get_by_text("x86 takes its models from torch").first).to_be_attached()
        page.reload()


def look_as_somebody_else(page: Page, server: str, shared: str, model: str) -> None:
    """Find nothing of the uploads, except the figures whose link is known."""
    page.goto(f"{server}/Models?part=mine")
    expect(page.get_by_text("You have not uploaded anything yet")).to_be_visible()
    page.goto(f"{server}/Models?part=bring&upload={model}")
    expect(page.get_by_text("This upload is not here")).to_be_visible()
    page.goto(f"{server}/Jobs")
    expect(page.get_by_text("Nothing has been asked for yet")).to_be_visible()
    page.goto(f"{server}/?model=upload/{model}")
    expect(page.get_by_text("names something unknown")).to_be_visible()
    page.goto(shared)
    expect(page.get_by_text("Somebody else uploaded this model")).to_be_visible()
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    expect(page.get_by_role("button", name="Measure here")).to_be_disabled()
