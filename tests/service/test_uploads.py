"""Uploads, compared end to end through the sandboxed worker, and gone afterwards."""

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from quantcore import report
from quantcore.cache import Store
from quantcore.decide import decide, references
from quantcore.engine import CellContext, plan
from quantcore.errors import RequestError
from quantcore.exports import exports
from quantcore.formats import FORMATS
from quantcore.jobs import worker
from quantcore.models.torchvision_import import torchvision
from quantcore.playground import Answer, PlaygroundSpec
from quantcore.schema import (
    TARGETS,
    CompareRequest,
    Comparison,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Variant,
)
from quantcore.service import Service
from quantcore.settings import Settings
from tests.support.processes import soon
from tests.untrusted import onnx_files

CLASSES = ("blue", "green", "red")
PICTURES_EACH = 12
WAIT_S = 240
FEW: dict[str, dict[str, Setting]] = {"static": {"calibration_images": 4, "observer": "minmax"}}
VERY_QUICK = MeasureSpec(starts=2, rounds=1, time_budget_s=0.5)


def network() -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = torchvision().models.get_model(
        "shufflenet_v2_x0_5", weights=None, num_classes=len(CLASSES)
    )
    return module.eval()


def program() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(network(), torch.zeros(2, 3, 64, 64)), buffer)
    return buffer.getvalue()


def exported() -> bytes:
    buffer = io.BytesIO()
    batch = torch.export.Dim("batch", min=1, max=64)
    made = torch.export.export(
        network(), (torch.zeros(2, 3, 64, 64),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(made, buffer)
    return buffer.getvalue()


def pictures() -> bytes:
    noise, buffer = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for channel, name in enumerate(reversed(CLASSES)):
            for place in range(PICTURES_EACH):
                pixels = noise.integers(0, 90, (64, 64, 3), np.uint8)
                pixels[..., channel] += 150
                picture = io.BytesIO()
                Image.fromarray(pixels).save(picture, "PNG")
                archive.writestr(f"{name}/{place}.png", picture.getvalue())
    return buffer.getvalue()


@dataclass(frozen=True)
class Desk:
    """A data folder with uploads."""

    service: Service
    settings: Settings

    def add_upload(self, name: str, content: bytes, size: int = 64) -> str:
        """Return the token of what was looked at and taken, a model for pictures of `size` px."""
        upload = self.service.uploads.receive(name, [content], "me")
        self.service.inspections.start(upload)
        view = self.service.inspections.wait(upload.token, WAIT_S)
        assert view.state == "done", view.problem
        found = view.upload
        if found.model is not None:
            model = replace(found.model, labels=CLASSES, image_size=size, resize_size=size)
            self.service.uploads.describe(found.token, model=model)
        return found.token

    def compared(
        self,
        model: str,
        images: str,
        workflows: tuple[str, ...],
        backends: tuple[str, ...] = ("x86",),
    ) -> Comparison:
        request = plan(
            ModelSpec(f"upload/{model}"),
            workflows,
            backends,
            FEW,
            ImageSpec(f"upload/{images}", evaluation_images=12),
            VERY_QUICK,
        )
        job_id = self.service.start(request, owner="me")
        view = self.service.view(job_id)
        while view.is_open:
            view = self.service.wait(job_id, WAIT_S)
        return view.comparison


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    settings = Settings(data=tmp_path_factory.mktemp("data"))
    with closing(Service(settings)) as service:
        yield Desk(service, settings)


@pytest.fixture(scope="module")
def images(desk: Desk) -> str:
    return desk.add_upload("colours.zip", pictures())


def artifacts(settings: Settings) -> list[Path]:
    return [path for path in (settings.data / "artifacts").rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [program, exported])
def test_a_program_is_compared_and_leaves_nothing(
    desk: Desk, images: str, content: Callable[[], bytes]
) -> None:
    token = desk.add_upload("ours.pt", content())
    found = desk.compared(token, images, ("static", "dynamic", "qat"))
    assert [(row.workflow, row.accuracy is not None) for row in found.results] == [
        ("float32", True),
        ("static", True),
        ("dynamic", True),
    ]
    static = found.results[1]
    assert static.artifact.size_bytes < found.results[0].artifact.size_bytes
    assert static.int8_share > 0.9
    assert static.fidelity_images == 12
    (refused,) = found.failures
    assert "without its source" in refused.reason
    assert artifacts(desk.settings)
    desk.service.delete_upload(token)
    assert not artifacts(desk.settings)
    assert desk.service.summaries() == []
    assert not (desk.settings.data / "uploads" / token).exists()
    with Store.open(desk.settings) as store:
        assert store.maintenance.entries() == []
    with pytest.raises(RequestError, match="no longer here"):
        desk.compared(token, images, ("static",))


def test_a_graph_is_compared_without_torch_and_leaves_nothing(desk: Desk, images: str) -> None:
    token = desk.add_upload("ours.onnx", onnx_files.fixed_batch().SerializeToString(), size=32)
    found = desk.compared(token, images, ("static", "qat"), ("x86", "onnxruntime"))
    assert [(row.workflow, row.backend) for row in found.results] == [
        ("float32", "onnxruntime"),
        ("static", "onnxruntime"),
    ]
    reference, static = found.results
    assert reference.agreement == 1.0
    assert static.speedups.keys() == {"onnxruntime"}
    assert static.int8_share == 1.0
    assert static.sqnr_db is not None
    assert static.sqnr_db > 15.0
    refused = {(row.workflow, row.backend): row.reason for row in found.failures}
    assert all("torch" in refused[name, "x86"] for name in ("static", "qat"))
    assert "without its source" in refused["qat", "onnxruntime"]
    assert references(found.results) == {row.key: reference for row in found.results}
    assert decide(found).headline
    assert "float32" in report.to_html(found)
    desk.service.delete_upload(token)
    assert not artifacts(desk.settings)
    assert desk.service.summaries() == []


def test_a_graph_in_8_bits_is_measured_as_it_is(desk: Desk, images: str) -> None:
    token = desk.add_upload("ours.onnx", onnx_files.quantized().SerializeToString(), size=32)
    found = desk.compared(
        token, images, ("static", "dynamic", "pretrained"), ("x86", "onnxruntime")
    )
    (row,) = found.results
    assert (row.workflow, row.backend) == ("pretrained", "onnxruntime")
    assert row.accuracy is not None
    assert row.latency_ms.p50 > 0
    assert (row.agreement, row.sqnr_db, row.speedups) == (None, None, {})
    assert not row.has_speedup
    assert 0.9 < row.int8_share < 1.0, "the convolution is in 8 bits, the last layer is not"
    assert len(found.failures) == 5
    reasons = {(each.workflow, each.backend): each.reason for each in found.failures}
    assert "came in 8 bits already" in reasons["static", "onnxruntime"]
    assert "No verdict" in decide(found).headline
    for target in (None, *TARGETS):
        first = plan(ModelSpec(f"upload/{token}"), target=target).variants
        assert {each.workflow for each in first if not each.is_float} == {"pretrained"}
    for written in (report.to_html(found), report.to_markdown(found)):
        assert "1.0×" not in written
    desk.service.delete_upload(token)
    assert not artifacts(desk.settings)


def test_a_graph_for_one_size_says_so_of_another(desk: Desk, images: str) -> None:
    token = desk.add_upload("ours.onnx", onnx_files.fixed_batch().SerializeToString(), size=64)
    found = desk.compared(token, images, ("static",), ("onnxruntime",))
    assert not found.results
    assert {row.reason for row in found.failures} == {
        "This ONNX model takes pictures of 32 px, and no others."
    }
    desk.service.delete_upload(token)


def test_a_graph_is_exported_as_it_was_measured(desk: Desk) -> None:
    token = desk.add_upload("ours.onnx", onnx_files.fixed_batch().SerializeToString(), size=32)
    model, variant = ModelSpec(f"upload/{token}"), Variant("float32", "onnxruntime")
    for name, chosen in FORMATS.items():
        support = exports.supports(exports.planned(model, variant, name, {}))
        assert support.ok == (name == "onnx")
        assert support.ok or (chosen.title in support.reason or "ONNX" in support.reason)
    desk.service.delete_upload(token)


def test_weights_are_trained_further_on_uploaded_pictures(desk: Desk, images: str) -> None:
    buffer = io.BytesIO()
    torch.save(network().state_dict(), buffer)
    token = desk.add_upload("ours.pth", buffer.getvalue())
    spec = exports.planned(
        ModelSpec(f"upload/{token}"),
        Variant("static", "x86", tuple(FEW["static"].items())),
        "onnx",
        {},
        ImageSpec(f"upload/{images}", evaluation_images=12),
    )
    assert exports.supports(spec).ok
    found = desk.compared(token, images, ("static",))
    assert len(found.results) == 2
    assert found.results[0].is_float
    assert found.results[0].statistics is not None
    tried_locked_in(desk, found)
    desk.service.delete_upload(images)
    assert not artifacts(desk.settings)


def tried_locked_in(desk: Desk, found: Comparison) -> None:
    """Ask the files one of the pictures, and look at two, which no ordinary process may open."""
    playground, spec = desk.service.playground, found.request.images
    first, second = playground.thumbnails(spec, found.request.model.name, [0, 1], 16)
    assert first != second
    with Image.open(io.BytesIO(first), formats=["PNG"]) as picture:
        assert picture.size == (16, 16)
    view = playground.wait(playground.start(PlaygroundSpec(found.results, spec, 0)), WAIT_S)
    assert [type(answer) for answer in view.answers] == [Answer, Answer], view
    for kept in (playground.readers.locked, playground.decoders.kept):
        assert kept.worker is not None
        assert kept.worker.pool.locked
    assert not playground.readers.children


def test_a_program_has_no_format_that_needs_its_source(desk: Desk) -> None:
    token = desk.add_upload("ours.pt", program())
    for format, is_offered in (("onnx", False), ("mobile", True), ("torchscript", True)):
        spec = exports.planned(ModelSpec(f"upload/{token}"), Variant("float32", None), format, {})
        assert exports.supports(spec).ok == is_offered


def test_what_was_deleted_while_a_worker_was_busy_leaves_nothing(desk: Desk) -> None:
    kept = desk.service.uploads.receive("ours.pt", [b"weights"], "me")
    gone = desk.service.uploads.receive("theirs.pt", [b"weights"], "me")
    with Store.open(desk.settings) as store:
        for upload, left in ((kept, [kept.name]), (gone, [])):
            request = CompareRequest(ModelSpec(upload.name), ())
            job = SimpleNamespace(request=request, store=store.with_sources(upload.name))
            with worker._without_deleted_uploads(cast(CellContext, job)):
                job.store.put("result", upload.token, "{}")
                if upload is gone:
                    desk.service.delete_upload(upload.token)
                    job.store.put("result", "another", "{}")
            assert store.maintenance.source_uploads() == left
            desk.service.delete_upload(upload.token)
        assert store.maintenance.source_uploads() == []


def test_what_a_killed_process_left_to_remove_is_removed(desk: Desk) -> None:
    with Store.open(desk.settings) as store:
        store.with_sources("upload/" + "a" * 32).put("result", "left", "{}")
        desk.service.sweep_uploads()
        assert store.maintenance.source_uploads() == []


def test_an_export_of_what_was_deleted_is_not_remembered(desk: Desk) -> None:
    token = desk.add_upload("ours.pt", program())
    model = ModelSpec(f"upload/{token}")
    spec = exports.planned(model, Variant("float32", None), "torchscript", {})
    desk.service.exports.start(spec, "me")
    desk.service.delete_upload(token)
    assert desk.service.exports.latest(spec) is None
    with Store.open(desk.settings) as store:
        assert soon(lambda: not store.maintenance.source_uploads())
