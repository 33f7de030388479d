"""Uploads from the file to the record, in the real sandboxed worker."""

import pickle
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from quantcore.errors import QuantcoreError
from quantcore.models.torchvision_import import torchvision
from quantcore.sandbox import sandboxed
from quantcore.settings import Settings
from quantcore.untrusted import Inspections, InspectionView
from quantcore.untrusted.examined import Examined
from quantcore.untrusted.kept import keep_model
from quantcore.uploads import Uploads
from tests.untrusted import malformed, malformed_pictures, onnx_files

WAIT_S = 120
CLASSES = 3


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uploads(settings: Settings) -> Uploads:
    return Uploads(settings)


@pytest.fixture(scope="module")
def inspections(settings: Settings, uploads: Uploads) -> Iterator[Inspections]:
    found = Inspections(settings, uploads)
    yield found
    found.close()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    module: nn.Module = torchvision().models.get_model(
        "shufflenet_v2_x0_5", weights=None, num_classes=CLASSES
    )
    return module.eval()


def looked_at(inspections: Inspections, uploads: Uploads, path: Path) -> InspectionView:
    upload = uploads.receive(path.name, [path.read_bytes()], "me")
    inspections.start(upload)
    view = inspections.wait(upload.token, WAIT_S)
    assert not view.is_open
    return view


def kept(uploads: Uploads, view: InspectionView) -> set[str]:
    place = uploads.folder(view.upload.token)
    return {path.name for path in place.rglob("*")} if place.exists() else set()


def test_weights_are_recognised_and_only_numbers_are_kept(
    inspections: Inspections, uploads: Uploads, network: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "ours.pth"
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 9}, path)
    view = looked_at(inspections, uploads, path)
    model = view.upload.model
    assert (view.state, view.problem) == ("done", None)
    assert model is not None
    assert (model.form, model.architecture) == ("state_dict", "torchvision/shufflenet_v2_x0_5")
    assert (model.classes, model.labels) == (CLASSES, ("class 0", "class 1", "class 2"))
    assert view.candidates[0] == model.architecture
    assert kept(uploads, view) == {"record.json", "weights.safetensors"}


def test_a_program_is_tried_and_kept_as_it_came(
    inspections: Inspections, uploads: Uploads, network: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "ours.pt"
    torch.jit.trace(network, torch.zeros(2, 3, 64, 64)).save(path)
    view = looked_at(inspections, uploads, path)
    model = view.upload.model
    assert view.problem is None
    assert model is not None
    assert (model.form, model.architecture, model.classes) == ("torchscript", None, CLASSES)
    assert model.is_program
    assert kept(uploads, view) == {"record.json", "model.pt"}


def test_a_program_for_other_pictures_gets_a_remedy(
    inspections: Inspections, uploads: Uploads, tmp_path: Path
) -> None:
    class Grey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, CLASSES, 3)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.layer(pictures).mean((2, 3))
            return answer

    path = tmp_path / "grey.pt"
    torch.jit.trace(Grey().eval(), torch.zeros(2, 1, 64, 64)).save(path)
    view = looked_at(inspections, uploads, path)
    assert view.state == "failed"
    assert view.problem is not None
    assert "1 channel" in view.problem.reason


@pytest.mark.parametrize("content", ["module", "text"])
def test_what_is_refused_is_not_kept(
    inspections: Inspections, uploads: Uploads, network: nn.Module, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "ours.pt"
    if content == "module":
        torch.save(network, path)
    else:
        path.write_bytes(pickle.dumps("hello"))
    view = looked_at(inspections, uploads, path)
    assert view.state == "failed"
    assert view.problem is not None
    assert "torch.save(model.state_dict()" in view.problem.remedy
    assert kept(uploads, view) == set()


def test_a_program_that_never_ends_is_stopped(
    inspections: Inspections, uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            count = 0
            while bool((pictures < 1e9).all()):
                count += 1
            return pictures.mean((2, 3)) * count

    path = tmp_path / "endless.pt"
    torch.jit.script(Endless()).save(path)
    monkeypatch.setattr(inspections, "limits", replace(inspections.limits, timeout_s=3.0))
    view = looked_at(inspections, uploads, path)
    assert view.problem is not None
    assert "took longer than 3 s" in view.problem.reason
    assert kept(uploads, view) == set()


def test_a_cancelled_look_leaves_nothing(
    inspections: Inspections, uploads: Uploads, network: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "ours.pth"
    torch.save(network.state_dict(), path)
    upload = uploads.receive(path.name, [path.read_bytes()], "me")
    inspections.start(upload)
    inspections.cancel(upload.token)
    view = inspections.wait(upload.token, WAIT_S)
    assert view.state == "cancelled"
    assert not uploads.folder(upload.token).exists()


def test_a_file_that_was_taken_is_not_looked_at_again_and_can_be_forgotten(
    inspections: Inspections, uploads: Uploads, network: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "ours.pth"
    torch.save(network.state_dict(), path)
    token = looked_at(inspections, uploads, path).upload.token
    # As from a second tab, where it is not known yet that it was taken.
    inspections.start(uploads.get(token))
    assert inspections.wait(token, WAIT_S).state == "done"
    assert uploads.get(token).model is not None
    inspections.forget(token)
    assert inspections.view(token) is None


PROGRAM = Examined(
    kind="torchscript",
    file="model.pt",
    candidates=(),
    parameters=10,
    outputs=3,
    channels=3,
    image_size=64,
    any_batch=True,
)


@pytest.mark.parametrize(
    ("claimed", "said"),
    [
        ({"outputs": 10**9}, "1,000,000,000 classes"),
        ({"outputs": -1}, "no answer"),
        ({"image_size": 10**12}, "no answer"),
        ({"parameters": 10**400}, "no answer"),
        ({"notes": ("A note.",) * 1_000}, "no answer"),
        ({"labels": ("x" * 10**6, "b", "c")}, "no answer"),
        ({"dynamic_layers": {"Linear": -1}}, "no answer"),
        ({"file": "../record.json"}, "no answer"),
        ({"file": "model.onnx"}, "no answer"),
        ({"mean": (0.5, 0.5)}, "no answer"),
        ({"mean": (0.5, 0.5, 1e300)}, "no answer"),
        ({"std": (0.5, 0.5, 0.0)}, "no answer"),
    ],
)
def test_what_a_child_claims_beyond_measure_is_refused(
    tmp_path: Path, claimed: dict[str, Any], said: str
) -> None:
    folder, place = tmp_path / "scratch", tmp_path / "place"
    for each in (folder, place):
        each.mkdir()
    (folder / "model.pt").write_bytes(b"program")
    (tmp_path / "record.json").write_bytes(b"another's")
    with pytest.raises(QuantcoreError, match=said):
        keep_model(replace(PROGRAM, **claimed), folder, place)
    assert not list(place.iterdir())
    model, _ = keep_model(PROGRAM, folder, place)
    assert model.labels == ("class 0", "class 1", "class 2")


def test_without_a_lock_programs_are_refused_and_numbers_are_not(
    uploads: Uploads,
    settings: Settings,
    network: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandboxed, "cannot", lambda: "This kernel has no Landlock.")
    inspections = Inspections(settings, uploads)
    try:
        assert inspections.programs_refused() == "This kernel has no Landlock."
        program, weights = tmp_path / "ours.pt", tmp_path / "ours.pth"
        torch.jit.trace(network, torch.zeros(2, 3, 64, 64)).save(program)
        torch.save(network.state_dict(), weights)
        graph = tmp_path / "ours.onnx"
        graph.write_bytes(onnx_files.model().SerializeToString())
        for locked in (program, graph):
            refused = looked_at(inspections, uploads, locked).problem
            assert isinstance(refused, QuantcoreError)
            assert refused.reason.startswith("This kernel has no Landlock.")
            assert "state dict" in refused.remedy
        assert looked_at(inspections, uploads, weights).state == "done"
    finally:
        inspections.close()


def inspected(
    inspections: Inspections, uploads: Uploads, content: bytes, name: str
) -> InspectionView:
    upload = uploads.receive(name, [content], "me")
    inspections.start(upload)
    return inspections.wait(upload.token, WAIT_S)


def every_one_gets_its_sentence(
    inspections: Inspections, uploads: Uploads, folder: Path, numbers: range
) -> None:
    """Upload malformed models and zips; check that each is refused, and the server is as it was."""
    workers = set()
    for number in numbers:
        if number % 3:
            path, family, about = malformed.make(number, folder)
            content, name = path.read_bytes(), path.name
            path.unlink()
        else:
            (content, family, about), name = malformed_pictures.make(number), "pictures.zip"
        if not content:
            # Refused before anybody looks at it.
            with pytest.raises(QuantcoreError, match="0 bytes"):
                uploads.receive(name, [content], "me")
            continue
        view = inspected(inspections, uploads, content, name)
        told = f"{number}, {family}: {view.problem}"
        assert view.state == "failed", told
        assert view.problem is not None
        assert view.problem.remedy, told
        assert re.search(about, view.problem.reason), told
        assert kept(uploads, view) == set(), told
        assert inspections._worker.worker is not None
        workers.add(id(inspections._worker.worker))
    assert len(workers) == 1, "a worker was lost"
    assert not (folder / malformed.MARK).exists(), "a pickle was obeyed"


def test_malformed_files_each_get_their_sentence(
    inspections: Inspections, uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_MARK", str(tmp_path))
    every_one_gets_its_sentence(inspections, uploads, tmp_path, range(36))


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_five_hundred_malformed_files_each_get_their_sentence(
    inspections: Inspections, uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_MARK", str(tmp_path))
    every_one_gets_its_sentence(inspections, uploads, tmp_path, range(500))
