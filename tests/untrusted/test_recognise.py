"""All of torchvision's classification architectures, distinguished by names and shapes alone."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch

from quantcore.errors import RequestError
from quantcore.models import catalogue
from quantcore.models.empty import EmptyParameters
from quantcore.models.torchvision_import import torchvision
from quantcore.untrusted.fingerprints import Shape, fingerprints, shapes_of, write_fingerprints
from quantcore.untrusted.recognise import Recognition, recognise, sources
from tests.untrusted.files import shapes

NAMES = sorted(fingerprints())
Shapes = dict[str, Shape]


def plain(name: str) -> Shapes:
    return shapes(name, 1_000)


def parallel(name: str) -> Shapes:
    return {f"module.{key}": shape for key, shape in shapes(name, 1_000).items()}


def few_classes(name: str) -> Shapes:
    return shapes(name, 7)


def lightning(name: str) -> Shapes:
    return {f"model.backbone.{key}": shape for key, shape in shapes(name, 42).items()}


def no_counters(name: str) -> Shapes:
    """As torch before 0.4.1 wrote it, and without what is of use in training only."""
    fingerprint = fingerprints()[name]
    return {
        key: shape
        for key, shape in shapes(name, 12).items()
        if not key.endswith("num_batches_tracked") and not key.startswith(fingerprint.auxiliary)
    }


def compiled(name: str) -> Shapes:
    return {f"_orig_mod.{key}": shape for key, shape in shapes(name, 2).items()}


WAYS: list[Callable[[str], Shapes]] = [
    plain,
    parallel,
    few_classes,
    lightning,
    no_counters,
    compiled,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_architecture_is_recognised(way: Callable[[str], Shapes]) -> None:
    ties, wrong = [], []
    for name in NAMES:
        tensors = way(name)
        found = recognise(tensors)
        right = [c for c in found.candidates if c.architecture == name]
        heads = [
            shape for key, shape in tensors.items() if key.endswith(fingerprints()[name].heads)
        ]
        if not right or right[0].classes not in heads[0]:
            wrong.append(name)
        elif len(found.candidates) > 1:
            ties.append((name, [c.architecture for c in found.candidates]))
        else:
            assert len(sources(tensors, right[0])) >= len(tensors) - 24
    print(f"{way.__name__}: {len(NAMES) - len(wrong)} of {len(NAMES)} right, ties {ties}")  # noqa: T201
    assert len(NAMES) == 80
    assert len(wrong) <= 0.01 * len(NAMES), wrong


def test_no_two_architectures_look_the_same() -> None:
    """Were there two, both would have to be offered; today there are none."""
    looks = {tuple(sorted(fingerprint.shapes.items())) for fingerprint in fingerprints().values()}
    assert len(looks) == len(NAMES)


def test_the_fingerprints_cover_the_catalogue() -> None:
    listed = [i.architecture for i in catalogue().values() if i.source == "torchvision"]
    assert sorted(listed) == NAMES


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "vit_b_32", "swin_v2_t", "maxvit_t"])
def test_fingerprints_are_those_of_torchvision(name: str) -> None:
    assert shapes_of(name) == dict(fingerprints()[name].shapes)


@pytest.mark.soak
def test_writing_the_fingerprints_again_changes_nothing(tmp_path: Path) -> None:
    from quantcore.untrusted.fingerprints import FINGERPRINTS

    write_fingerprints(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == FINGERPRINTS.read_bytes()


def twins() -> Iterator[str]:
    models = torchvision().models
    for name in models.list_models(module=models.quantization):
        yield name.removeprefix("quantized_")


def test_float_twins_are_recognised() -> None:
    for name in twins():
        with EmptyParameters():
            twin = torchvision().models.get_model(f"quantized_{name}", weights=None, num_classes=9)
        found = recognise({key: tuple(t.shape) for key, t in twin.state_dict().items()})
        assert [c.architecture for c in found.candidates] == [name]


def test_a_twin_prepared_for_training_in_8_bits_is_recognised() -> None:
    """Its observers are left out."""
    from torch.ao import quantization

    twin = torchvision().models.get_model("quantized_resnet18", weights=None, num_classes=9)
    twin.qconfig = quantization.get_default_qat_qconfig("x86")
    quantization.prepare_qat(twin.train(), inplace=True)
    found = recognise({key: tuple(tensor.shape) for key, tensor in twin.state_dict().items()})
    assert [c.architecture for c in found.candidates] == ["resnet18"]


def test_older_names_are_read_as_todays() -> None:
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): shape
        for key, shape in shapes("densenet121", 10).items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    best = recognise(old).best
    assert best.architecture == "densenet121"
    assert len(sources(old, best)) == len(old)


def test_a_vision_transformer_tells_its_size() -> None:
    tensors = shapes("vit_b_16", 10) | {"encoder.pos_embedding": (1, 24 * 24 + 1, 768)}
    assert recognise(tensors).best.image_size == 384


def test_one_layer_in_the_place_of_dropout_and_layer_is_the_same_model() -> None:
    tensors = shapes("mobilenet_v2", 10)
    tensors["classifier.weight"] = tensors.pop("classifier.1.weight")
    tensors["classifier.bias"] = tensors.pop("classifier.1.bias")
    best = recognise(tensors).best
    assert sources(tensors, best)["classifier.1.weight"] == "classifier.weight"


def test_the_model_is_taken_before_its_averaged_copy() -> None:
    tensors = shapes("resnet18", 10)
    both = {f"ema_model.{key}": shape for key, shape in tensors.items()}
    both |= {f"model.{key}": shape for key, shape in tensors.items()}
    best = recognise(both).best
    assert best.prefix == "model."
    assert any("ema_model" in note for note in best.notes)


def refusal(tensors: Mapping[str, Shape]) -> str:
    found: Recognition = recognise(tensors)
    with pytest.raises(RequestError) as caught:
        _ = found.best
    assert caught.value.remedy
    return str(caught.value)


def test_grey_pictures_are_named_with_what_to_do() -> None:
    reason = refusal(shapes("resnet18", 10) | {"conv1.weight": (64, 1, 7, 7)})
    assert "ResNet-18" in reason
    assert "1 channel" in reason
    assert "repeat(1, 3, 1, 1) / 3" in reason


def test_what_is_said_to_do_with_grey_weights_keeps_the_answers() -> None:
    weight = torch.rand(4, 1, 3, 3)
    grey = torch.rand(1, 1, 8, 8)
    three = torch.nn.functional.conv2d(grey.repeat(1, 3, 1, 1), weight.repeat(1, 3, 1, 1) / 3)
    torch.testing.assert_close(three, torch.nn.functional.conv2d(grey, weight))


def test_a_replaced_last_layer_is_named() -> None:
    tensors = shapes("resnet50", 10)
    del tensors["fc.weight"], tensors["fc.bias"]
    reason = refusal(tensors | {"fc.1.weight": (256, 2048), "fc.4.weight": (10, 256)})
    assert "fc.1.weight, fc.4.weight" in reason
    assert "TorchScript" in reason
    assert "without its last layer" in refusal(tensors)


def test_further_layers_are_not_passed_over() -> None:
    """A squeeze-and-excitation ResNet has all of a ResNet's names, and other answers."""
    reason = refusal(shapes("resnet50", 10) | {"layer1.0.se.fc.weight": (16, 256)})
    assert "layer1.0.se.fc.weight" in reason
    wrapped = {f"backbone.{key}": shape for key, shape in shapes("resnet50", 10).items()}
    assert "head.weight" in refusal(wrapped | {"head.weight": (5, 10)})


def test_the_nearest_is_named_with_what_is_missing() -> None:
    tensors = shapes("resnet18", 10)
    for block in (0, 1):
        for part in ("conv1", "conv2"):
            del tensors[f"layer1.{block}.{part}.weight"]
    reason = refusal(tensors)
    assert "nearest to ResNet-18" in reason
    assert "4 of its tensors" in reason
    assert "and 1 more" in reason


def test_weights_of_nothing_known_are_refused() -> None:
    assert "no architecture" in refusal({"encoder.weight": (3, 4)})
    assert "no architecture" in refusal({})
