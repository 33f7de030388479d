"""The zip for the app team: what is in it, and that its check tells a good file from another."""

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Literal
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from quantcore.cache import Store
from quantcore.engine.convert import preparation
from quantcore.exports import bundle, exports
from quantcore.exports.bundle.snippets import check
from quantcore.formats import FORMATS, openvino_packages
from quantcore.images import prepare
from quantcore.models import ModelInfo, find
from quantcore.sandbox import ProcessPool
from quantcore.schema import ModelSpec, VerificationReport
from quantcore.settings import Settings
from tests.support import report_fixtures
from tests.support.exports import MOBILENET, job_of, planned, static

FILES = {
    "README.md",
    "labels.txt",
    "verification.json",
    "verification.html",
    "sample.png",
    "expected.json",
    "check.py",
}
# The program in C++ takes the pixels of a picture that somebody else decoded.
MAIN = """
#include <fstream>
#include <iostream>
#include <iterator>

int main() {
    std::ifstream file("pixels", std::ios::binary);
    std::vector<uint8_t> pixels{std::istreambuf_iterator<char>(file), {}};
    std::cout << best(Classifier().scores(pixels)).front();
}
"""
Monkey = pytest.MonkeyPatch
RUNNABLE = ("torchscript", "mobile", "onnx", "openvino")


def packed(card: VerificationReport, folder: Path, sample: bool = True) -> zipfile.ZipFile:
    file, picture = folder / "file", folder / "picture"
    file.write_bytes(b"the model")
    picture.write_bytes(report_fixtures.picture())
    name = exports.file_name(card.spec)
    content = bundle.pack(card, name, file, picture if sample else None)
    return zipfile.ZipFile(io.BytesIO(content))


def names(archive: zipfile.ZipFile) -> set[str]:
    return {Path(name).name for name in archive.namelist()}


@pytest.mark.parametrize("format", FORMATS)
def test_the_zip_holds_file_code_picture_and_proof_in_one_folder(
    format: str, tmp_path: Path
) -> None:
    card = report_fixtures.card(report_fixtures.spec(format))
    name = exports.file_name(card.spec)
    archive = packed(card, tmp_path)
    assert names(archive) == FILES | {name}
    assert len({Path(entry).parent for entry in archive.namelist()}) == 1
    folder = Path(archive.namelist()[0]).parent.name
    assert bundle.pack_name(name) == f"{folder}.zip"
    assert archive.read(f"{folder}/{name}") == b"the model"
    labels = archive.read(f"{folder}/labels.txt").decode().splitlines()
    assert labels == card.provenance["labels"]
    top5 = json.loads(archive.read(f"{folder}/expected.json"))["top5"]
    assert [guess["label"] for guess in top5][:2] == ["Ankle boot", "Sneaker"]
    assert VerificationReport.from_json(archive.read(f"{folder}/verification.json")) == card


def test_the_same_file_and_proof_make_the_same_bytes(tmp_path: Path) -> None:
    card = report_fixtures.card()
    first, second = (packed(card, tmp_path) for _ in range(2))
    assert [(each.CRC, each.date_time) for each in first.infolist()] == [
        (each.CRC, each.date_time) for each in second.infolist()
    ]


def test_a_file_that_does_not_load_has_no_picture_and_nothing_to_rerun(tmp_path: Path) -> None:
    card = report_fixtures.dead()
    archive = packed(card, tmp_path, sample=False)
    left = {"sample.png", "expected.json", "check.py"}
    assert names(archive) == FILES - left | {exports.file_name(card.spec)}
    text = archive.read(next(name for name in archive.namelist() if name.endswith("README.md")))
    assert b"**Do not ship it.**" in text
    for name in left:
        assert name.encode() not in text, "the README speaks of what is not there"


@pytest.mark.parametrize("format", FORMATS)
def test_code_names_the_file_its_size_and_its_numbers(format: str) -> None:
    card = report_fixtures.card(report_fixtures.spec(format))
    name = exports.file_name(card.spec)
    found = bundle.snippets(card, name)
    assert [each for each in bundle.LANGUAGES if each in found] == list(found)
    assert "python" in found
    assert len(found) > 1
    for language, code in found.items():
        assert name in code or (Path(name).stem in code and "forResource" in code)
        if format == "torchscript" and language != "python":
            assert "for servers and desktops" in code
            assert all(line.startswith("//") for line in code.splitlines())
            continue
        assert re.search(r"\b64\b", code)
        assert "0.286" in code
        assert not re.search(r"\$[a-z_]{3,}", code), "a placeholder was left"
    compile(found["python"], "snippet.py", "exec")


@pytest.mark.parametrize("format", FORMATS)
def test_the_check_is_a_program_of_about_twenty_lines(format: str) -> None:
    card = report_fixtures.card(report_fixtures.spec(format))
    text = check(card, exports.file_name(card.spec))
    compile(text, "check.py", "exec")
    assert len(text.splitlines()) <= 25


def test_the_proof_reads_without_anything_else(tmp_path: Path) -> None:
    text = bundle.to_html(report_fixtures.card(), "<b>odd</b>.ptl")
    assert "&lt;b&gt;odd&lt;/b&gt;.ptl" in text
    assert "<b>odd</b>" not in text
    assert not re.search(r"(?:src|href)=", text)
    assert "Every check held" in text
    assert "Do not ship this file" in bundle.to_html(report_fixtures.broken(), "a.ptl")


def test_no_code_names_a_function_that_has_two_forms_on_android() -> None:
    for format in ("mobile", "onnx", "executorch"):
        code = bundle.snippets(report_fixtures.card(report_fixtures.spec(format)), "a.x")["kotlin"]
        assert "Color::" not in code
        assert "val channels: List<(Int) -> Int> =" in code


def test_what_runs_the_file_is_pinned_as_the_card_has_it() -> None:
    found = bundle.snippets(report_fixtures.card(report_fixtures.spec("executorch")), "a.pte")
    assert "org.pytorch:executorch-android:1.4.0" in found["kotlin"]
    assert "branch swiftpm-1.4.0" in found["swift"]
    assert "executorch==1.4.1" in found["python"]
    onnx = bundle.snippets(report_fixtures.card(report_fixtures.spec("onnx")), "a.onnx")
    assert "onnxruntime==1.32.0" in onnx["python"]


def test_a_model_that_takes_blue_first_is_given_it_in_every_language() -> None:
    card = report_fixtures.card()
    made = {**card.provenance, "greyscale": False, "channels": "BGR"}
    found = bundle.snippets(replace(card, provenance=made), "a.ptl")
    assert "listOf({ it and 255 }, { it shr 8 and 255 }, { it shr 16 and 255 })" in found["kotlin"]
    assert "bytes[4 * pixel + 2 - channel]" in found["swift"]
    assert "picture.split()[::-1]" in found["python"]
    for language in ("kotlin", "swift"):
        assert "Blue, green and red in planes" in found[language]


@pytest.mark.parametrize(("least", "has_pod"), [("1.11", True), ("1.13", True), ("2.0", False)])
def test_a_pod_is_named_only_where_it_is_new_enough(least: str, has_pod: bool) -> None:
    card = report_fixtures.card()
    needs = f"PyTorch Mobile {least} or newer (bytecode 8)"
    found = bundle.snippets(replace(card, exported=replace(card.exported, runs_on=needs)), "a.ptl")
    assert ("pod 'LibTorch-Lite', '~> 1.13.0'" in found["swift"]) == has_pod
    assert ("PyTorch Mobile 2.0 or newer" in found["swift"]) != has_pod
    assert all(line.startswith("//") for line in found["swift"].split("\n\n")[0].splitlines())


def seen_by(info: ModelInfo, side: int | None, picture: Path) -> NDArray[np.float32]:
    """Return the tensor `[3, S, S]` that the code in Python makes of a picture."""
    side = side or info.image_size
    made = {
        "labels": list(info.labels),
        "image_size": side,
        "mean": list(info.mean),
        "std": list(info.std),
        "channels": "BGR" if info.channels == "BGR" else "RGB",
        **preparation(info, side),
    }
    # Without a sample of its own the code asks for the user's picture.
    card = replace(report_fixtures.card(report_fixtures.spec("onnx")), sample=None, provenance=made)
    code = bundle.snippets(card, "a.onnx")["python"]
    given: list[NDArray[np.float32]] = []

    def run(_names: object, feeds: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        given.append(feeds["images"])
        return [np.zeros((1, info.classes), np.float32)]

    code = code.replace("import onnxruntime\n", "")
    assert '"picture.jpg"' in code
    code = code.replace('"picture.jpg"', repr(str(picture)))
    runtime = Mock()
    runtime.InferenceSession.return_value.run = run
    exec(code, {"onnxruntime": runtime})
    return given[0][0]


@pytest.mark.parametrize(
    ("model", "side", "channels"),
    [
        ("torchvision/resnet18", None, "RGB"),
        ("torchvision/resnet18", 97, "RGB"),
        ("torchvision/resnet18", 97, "BGR"),
        ("torchvision/efficientnet_b0", None, "RGB"),
        ("bundled/mobilenet_v2", None, "grey"),
        ("bundled/mobilenet_v2", 96, "grey"),
    ],
)
@pytest.mark.parametrize("size", [(640, 427), (333, 500)])
def test_the_code_prepares_a_picture_as_it_was_for_the_proof(
    model: str,
    side: int | None,
    channels: Literal["RGB", "BGR", "grey"],
    size: tuple[int, int],
    tmp_path: Path,
    monkeypatch: Monkey,
) -> None:
    monkeypatch.chdir(tmp_path)
    info = replace(find(ModelSpec(model)), channels=channels)
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in info.labels))
    small = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    picture.save(tmp_path / "large.png")
    expected = prepare(picture, info, side or info.image_size)
    got = seen_by(info, side, tmp_path / "large.png")
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 2 / 255 / min(info.std)


def test_the_readme_says_how_pictures_are_prepared(tmp_path: Path) -> None:
    card = report_fixtures.card()
    made = {**card.provenance, "image_size": 224, "resize_size": 256, "interpolation": "bicubic"}
    card = replace(card, provenance=made)
    archive = packed(card, tmp_path)
    name = next(name for name in archive.namelist() if name.endswith("README.md"))
    text = archive.read(name).decode()
    assert "shorter side is scaled to 256 px (bicubic" in text
    assert "224 × 224 px, is cut out" in text
    assert "made grey" in text


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, pool: ProcessPool) -> dict[str, Path]:
    """The unzipped bundle of a static mobilenet_v2 in every format that runs here.

    QNNPACK's layers round biases, which OpenVINO's files cannot: those are of its own backend.
    """
    root = tmp_path_factory.mktemp("bundles")
    settings = Settings(data=root / "data", quota_gb=1.0, threads=1)
    folders = {}
    with Store.open(settings) as store:
        for format in RUNNABLE:
            backend = "openvino" if format == "openvino" else "qnnpack"
            spec = planned(MOBILENET, static(backend), format)
            card = exports.make(job_of(spec, store, pool, settings), spec)
            assert card.sample
            digests = card.exported.artifact.sha256, card.sample.artifact.sha256
            name = exports.file_name(spec)
            with store.using(*digests) as (file, picture):
                content = bundle.pack(card, name, file, picture)
            zipfile.ZipFile(io.BytesIO(content)).extractall(root)
            folders[format] = root / bundle.pack_name(name).removesuffix(".zip")
    return folders


def run(script: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program as who unzipped it would: elsewhere, with nothing of this project at hand."""
    return subprocess.run(
        [sys.executable, "-I", script],
        cwd=script.parent,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("format", RUNNABLE)
def test_the_check_of_an_unzipped_bundle_passes_there(
    bundles: dict[str, Path], format: str
) -> None:
    done = run(bundles[format] / "check.py")
    assert done.returncode == 0, done.stderr
    expected = json.loads((bundles[format] / "expected.json").read_text())["top5"]
    assert expected[0]["label"] in done.stdout
    assert expected[0]["share"] > 0.5, "the picture is told clearly"


@pytest.mark.parametrize("format", ["mobile", "onnx", "openvino"])
def test_the_code_of_the_readme_names_the_expected_class_first(
    bundles: dict[str, Path], format: str
) -> None:
    script = bundles[format] / "snippet.py"
    script.write_text(code(bundles[format], "python"))
    done = run(script)
    assert done.returncode == 0, done.stderr
    expected = json.loads((bundles[format] / "expected.json").read_text())["top5"]
    assert done.stdout.splitlines()[0].endswith(expected[0]["label"])


@pytest.mark.skipif(shutil.which("g++") is None, reason="There is no compiler for C++ here.")
def test_the_program_in_cpp_names_the_expected_class_first(bundles: dict[str, Path]) -> None:
    folder, package = bundles["openvino"], Path(openvino_packages.openvino().__file__).parent
    with zipfile.ZipFile(next(folder.glob("*.ir.zip"))) as archive:
        archive.extractall(folder)
    with Image.open(folder / "sample.png") as picture:
        (folder / "pixels").write_bytes(picture.convert("RGB").tobytes())
    (folder / "program.cpp").write_text(code(folder, "cpp") + MAIN)
    (library,) = (package / "libs").glob("libopenvino.so.*")
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "program.cpp", "-o", "program"]
    paths = ["-isystem", package / "include", library, f"-Wl,-rpath,{library.parent}"]
    subprocess.run([*command, *paths], cwd=folder, check=True, timeout=240)
    done = subprocess.run(
        [folder / "program"], cwd=folder, check=True, capture_output=True, text=True, timeout=60
    )
    expected = json.loads((folder / "expected.json").read_text())["top5"]
    labels = (folder / "labels.txt").read_text().splitlines()
    assert labels[int(done.stdout)] == expected[0]["label"]


def code(folder: Path, language: str) -> str:
    """Return the program in that language from a bundle's README."""
    text = (folder / "README.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def test_the_check_tells_another_file(bundles: dict[str, Path]) -> None:
    folder = bundles["onnx"]
    (file,) = folder.glob("*.onnx")
    whole = file.read_bytes()
    try:
        file.write_bytes(whole + b"\0")
        done = run(folder / "check.py")
    finally:
        file.write_bytes(whole)
    assert done.returncode == 1
    assert "not the file that was verified" in done.stderr


def test_the_check_tells_other_answers(bundles: dict[str, Path]) -> None:
    folder = bundles["onnx"]
    path = folder / "verification.json"
    text = path.read_text()
    card = json.loads(text)
    card["sample"]["guesses"][0]["share"] -= 0.1
    try:
        path.write_text(json.dumps(card))
        done = run(folder / "check.py")
    finally:
        path.write_text(text)
    assert done.returncode == 1
    assert "It answers otherwise." in done.stderr
