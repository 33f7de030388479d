"""A model file on the command line goes the way of an upload."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from quantcore.api import model_file
from quantcore.errors import RequestError
from quantcore.models.torchvision_import import torchvision
from quantcore.sandbox import PROJECT
from tests.untrusted import onnx_files

CLASSES = ("cat", "dog", "owl")
QUICK = ("--workflows=dynamic", "--backends=x86", "--image-size=64", "--evaluation-images=4")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    network: nn.Module = torchvision().models.get_model(
        "shufflenet_v2_x0_5", weights=None, num_classes=len(CLASSES)
    )
    torch.save(network.state_dict(), folder / "ours.pt")
    torch.save(network, folder / "module.pt")
    (folder / "ours.onnx").write_bytes(onnx_files.model().SerializeToString())
    (folder / "foreign.onnx").write_bytes(onnx_files.foreign_operator().SerializeToString())
    (folder / "labels.txt").write_text("\n".join(CLASSES))
    (folder / "few.json").write_text(json.dumps(["cat", "dog"]))
    return folder


def compare(files: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "quantcore", "compare", *QUICK, "--threads=1", *arguments],
        cwd=PROJECT,
        env=os.environ | {"QUANTCORE_DATA": str(files / "data")},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )


def test_a_file_is_compared_with_its_own_labels_and_known_the_next_time(files: Path) -> None:
    arguments = str(files / "ours.pt"), f"--labels={files / 'labels.txt'}", "--json=-"
    first, again = compare(files, *arguments), compare(files, *arguments)
    assert first.returncode == again.returncode == 0, first.stderr
    assert "ours.pt: torchvision/shufflenet_v2_x0_5, 3 classes" in first.stderr
    assert "ours.pt" not in again.stderr
    one, other = (json.loads(done.stdout) for done in (first, again))
    assert one["results"][0]["model"].startswith("upload/")
    assert [row["cached"] for row in other["results"]] == [True] * len(one["results"])


def test_an_onnx_file_is_compared_in_its_own_runtime(files: Path) -> None:
    done = compare(files, str(files / "ours.onnx"), "--backends=onnxruntime", "--json=-")
    assert done.returncode == 0, done.stderr
    assert "ours.onnx: an ONNX model, 3 classes" in done.stderr
    rows = json.loads(done.stdout)["results"]
    assert [(row["workflow"], row["backend"]) for row in rows] == [
        ("float32", "onnxruntime"),
        ("dynamic", "onnxruntime"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("module.pt",), "torch.save(model.state_dict()"),
        (("missing.pt",), "There is no file"),
        (("labels.txt",), "This is text, not a model."),
        (("foreign.onnx",), "operator Evil of com.example"),
        (("ours.pt", "--labels=few.json"), "names 2 classes, and the model has 3"),
        (("ours.pt", "--labels=ours.pt"), "cannot be read as class names"),
    ],
)
def test_a_refused_file_is_explained_in_sentences(
    files: Path, arguments: tuple[str, ...], said: str
) -> None:
    name, *others = arguments
    named = [f"--labels={files / other.partition('=')[2]}" for other in others]
    done = compare(files, str(files / name), *named)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "is_file"),
    [
        ("./ours", True),
        ("/models/ours", True),
        ("ours.pt", True),
        ("models/ours.safetensors", True),
        ("ours.onnx", True),
        ("bundled/mobilenet_v2", False),
        ("torchvision/resnet18@random", False),
        ("mobilenet_v2", False),
    ],
)
def test_a_file_is_distinguished_from_a_name(name: str, is_file: bool) -> None:
    assert model_file.is_file(name) == is_file


def test_labels_are_lines_or_a_list(files: Path, tmp_path: Path) -> None:
    assert model_file.read_labels(files / "labels.txt") == CLASSES
    assert model_file.read_labels(files / "few.json") == ("cat", "dog")
    (tmp_path / "broken.json").write_text("[")
    with pytest.raises(RequestError, match="class names"):
        model_file.read_labels(tmp_path / "broken.json")
