"""From a file to what is kept of it, and back to a model that answers the same."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file

from quantcore.errors import RequestError
from quantcore.models import uploads
from quantcore.models.architectures import AUXILIARY, drop_auxiliary, options
from quantcore.untrusted import inspect
from quantcore.untrusted.examine import examine, preload
from quantcore.untrusted.examined import Examined
from tests.untrusted import files, onnx_files

PROJECT = Path(__file__).parents[2]
BUILT = ("resnet18", "mnasnet0_5", "googlenet", "densenet121", "mobilenet_v3_small")
TIMED = """
import sys, time
from pathlib import Path
start = time.perf_counter()
from quantcore.untrusted.examine import examine
for name in sys.argv[2:]:
    examine(Path(name), Path(sys.argv[1]))
    print(Path(name).name, f"{time.perf_counter() - start:.2f} s", "torch" in sys.modules)
    start = time.perf_counter()
"""


def examined(folder: Path, content: bytes, name: str = "a.pt") -> Examined:
    """Return the facts of a file, after a way through JSON as between processes."""
    path = folder / name
    path.write_bytes(content)
    preload(inspect(path).kind)
    model_facts = examine(path, folder)
    written: TypeAdapter[Examined] = TypeAdapter(Examined)
    assert written.validate_json(written.dump_json(model_facts)) == model_facts
    return model_facts


@pytest.mark.parametrize("name", BUILT)
def test_the_model_built_again_answers_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = files.build(name, 5, **options(name))
    model_facts = examined(tmp_path, files.saved({"state_dict": model.state_dict(), "epoch": 1}))
    assert [(c.architecture, c.classes) for c in model_facts.candidates] == [(name, 5)]
    if name in AUXILIARY:
        assert any("Auxiliary" in note for note in model_facts.notes)
    drop_auxiliary(model, name)
    assert model_facts.parameters == sum(parameter.numel() for parameter in model.parameters())
    pictures = torch.rand(2, 3, 64, 64)
    again = uploads.assembled(name, 5, tmp_path / model_facts.file)
    assert not again.training
    with torch.no_grad():
        torch.testing.assert_close(again(pictures), model(pictures), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v3_large"])
def test_the_twin_answers_the_same(name: str, tmp_path: Path) -> None:
    model = files.build(name, 5, **options(name))
    model_facts = examined(tmp_path, files.saved(model.state_dict()))
    pictures = torch.rand(2, 3, 64, 64)
    plain = uploads.assembled(name, 5, tmp_path / model_facts.file)
    twin = uploads.empty_twin(name, 5).eval()
    twin.load_state_dict(plain.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(twin(pictures), plain(pictures), rtol=1e-3, atol=1e-5)


def test_weights_of_another_architecture_are_not_built(tmp_path: Path) -> None:
    model_facts = examined(tmp_path, files.torch_zip())
    for name, classes in (("resnet18", 3), (files.SMALL, 4)):
        with pytest.raises(RequestError, match="do not fit"):
            uploads.assembled(name, classes, tmp_path / model_facts.file)


def test_a_vision_transformer_is_built_for_its_own_size(tmp_path: Path) -> None:
    """Names and sizes only: the numbers would be hundreds of megabytes."""
    from quantcore.models.uploads import _size_option

    positions, patches = torch.empty(1, 17, 8), torch.empty(8, 3, 16, 16)
    sizes = {uploads.POSITIONS: positions, uploads.PATCHES: patches}
    assert _size_option(sizes) == {"image_size": 64}


def test_weights_are_written_in_float32_under_todays_names(tmp_path: Path) -> None:
    state = files.small_state()
    halved = {f"module.{key}": t.half() if t.is_floating_point() else t for key, t in state.items()}
    model_facts = examined(tmp_path, files.saved({"model": halved, "ema": state, "lr": 0.1}))
    written = load_file(tmp_path / model_facts.file)
    assert set(written) == set(state)
    for name, tensor in written.items():
        assert tensor.dtype == state[name].dtype
        assert tensor.equal(halved[f"module.{name}"].to(tensor.dtype))
    told = " ".join(model_facts.notes)
    for word in ("taken from model", "averaged copy", "(ema)", "lr", "module.", "half precision"):
        assert word in told


def test_the_averaged_copy_is_taken_where_there_is_no_other(tmp_path: Path) -> None:
    model_facts = examined(tmp_path, files.saved({"ema": files.small_state(), "epoch": 3}))
    assert model_facts.candidates[0].architecture == files.SMALL


def test_of_several_parts_the_one_that_is_known_is_taken(tmp_path: Path) -> None:
    weights = {"class_weights": torch.ones(3)}
    value = {"weights": weights, "critic": files.small_state(), "other": {"a.b": torch.ones(2, 2)}}
    model_facts = examined(tmp_path, files.saved(value))
    assert model_facts.candidates[0].architecture == files.SMALL
    assert "The weights were taken from critic." in model_facts.notes


def test_torchscript_is_tried_until_a_size_works(tmp_path: Path) -> None:
    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(64, 8, batch_first=True)
            self.head = torch.nn.Linear(8, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answers: torch.Tensor = self.head(self.lstm(images.mean(1))[0][:, -1])
            return answers

    labels = '["cat", "dog", "cow", "hen"]'
    model_facts = examined(tmp_path, files.scripted(Fixed(), **{"labels.json": labels}))
    assert (model_facts.kind, model_facts.file) == ("torchscript", "model.pt")
    assert (model_facts.image_size, model_facts.channels, model_facts.outputs) == (64, 3, 4)
    assert model_facts.labels == ("cat", "dog", "cow", "hen")
    assert model_facts.dynamic_layers == {"Linear": 1, "LSTM": 1}
    assert (tmp_path / "model.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()


def test_torchscript_for_grey_pictures_says_so(tmp_path: Path) -> None:
    model_facts = examined(tmp_path, files.scripted(files.Tiny(channels=1)))
    assert (model_facts.channels, model_facts.outputs, model_facts.any_batch) == (1, 4, True)


def test_torchscript_that_fixes_the_batch_says_so(tmp_path: Path) -> None:
    class One(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)).view(1, 3)

    model_facts = examined(tmp_path, files.scripted(One()))
    assert not model_facts.any_batch


def test_torchscript_already_in_8_bits_is_refused(tmp_path: Path) -> None:
    from torch.ao import quantization

    model = quantization.quantize_dynamic(files.Tiny(), {torch.nn.Linear})
    with pytest.raises(RequestError, match="already in 8 bits"):
        examined(tmp_path, files.scripted(model))


@pytest.mark.parametrize("free", [True, False])
def test_an_exported_program_becomes_torchscript(free: bool, tmp_path: Path) -> None:
    model = files.Tiny().eval()
    model_facts = examined(tmp_path, files.exported(model, free=free), "a.pt2")
    assert (model_facts.kind, model_facts.file) == ("exported_program", "model.pt")
    assert (model_facts.image_size, model_facts.outputs, model_facts.any_batch) == (32, 4, True)
    pictures = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        again = torch.jit.load(str(tmp_path / model_facts.file))
        torch.testing.assert_close(again(pictures), model(pictures))


def test_an_exported_transformer_keeps_its_batch_free(tmp_path: Path) -> None:
    from quantcore.models.small import vit_tiny

    torch.manual_seed(0)
    model = vit_tiny().eval()
    model_facts = examined(tmp_path, files.exported(model, size=64), "a.pt2")
    assert model_facts.any_batch
    assert model_facts.dynamic_layers["Linear"] >= 9


def test_a_program_exported_in_training_mode_is_refused(tmp_path: Path) -> None:
    model = torch.nn.Sequential(files.Tiny(), torch.nn.Dropout()).train()
    with pytest.raises(RequestError, match="training mode"):
        examined(tmp_path, files.exported(model), "a.pt2")


def test_weights_are_examined_without_torch(tmp_path: Path) -> None:
    for name in ("resnet18", "resnet50"):
        (tmp_path / f"{name}.pth").write_bytes(files.saved(files.build(name, 1_000).state_dict()))
    done = subprocess.run(
        [sys.executable, "-c", TIMED, str(tmp_path), *map(str, sorted(tmp_path.glob("*.pth")))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    print(done.stdout)  # noqa: T201
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["False", "False"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (files.torch_zip, "torch_zip"),
        (files.legacy, "torch_legacy"),
        (files.safetensors, "safetensors"),
        (files.torchscript, "torchscript"),
        (files.pt2, "exported_program"),
        (lambda: onnx_files.model().SerializeToString(), "onnx"),
        (lambda: files.plain_zip({"cats/a.JPG": b"x", "dogs/b.png": b"y"}), "pictures"),
    ],
)
def test_a_file_is_known_by_its_content(content, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content())
    assert inspect(path).kind == kind


def test_a_pickled_module_is_refused_with_two_lines_of_code(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(files.saved(files.build("resnet18", 3)))
    with pytest.raises(RequestError) as caught:
        inspect(path)
    assert "torchvision.models.resnet.ResNet" in caught.value.reason
    assert 'torch.save(model.state_dict(), "model.pt")' in caught.value.remedy
