"""Neighbouring layers balanced: the same answers, and ranges that one scale can serve."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from quantcore import models
from quantcore.backends.torch_ao.equalize import equalize
from quantcore.schema import ModelSpec
from tests.support.computing import QUIET, one_thread

pytestmark = QUIET
MODELS = ("mobilenet_v2", "resnet18", "shufflenet_v2_x1_0", "mobilenet_v3_large")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with one_thread():
        yield


def lopsided(activation: nn.Module) -> nn.Sequential:
    """Return two layers whose channels differ by orders of magnitude, as trained ones do."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1, bias=False),
        nn.BatchNorm2d(8),
        activation,
        nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 1, bias=False),
        nn.BatchNorm2d(4),
    )
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.copy_(torch.logspace(-3, 1, 8))
        norm.bias.copy_(torch.randn(8))
    return model.eval()


def spread(weight: Tensor) -> float:
    """Return how many times larger the largest channel's range is than the smallest one's."""
    ranges = weight.flatten(1).abs().amax(1)
    return float(ranges.max() / ranges.min())


def test_answers_stay_and_ranges_meet() -> None:
    model = lopsided(nn.ReLU())
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    images = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        before = model(images)
        assert spread(norm.weight[:, None]) > 1_000
        assert equalize(model) == 2
        assert spread(norm.weight[:, None]) < 100
        torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.Hardswish()], ids=["relu6", "hardswish"])
def test_activations_that_know_absolute_values_are_left_alone(activation: nn.Module) -> None:
    model = lopsided(activation)
    before = model[1].weight.clone()  # type: ignore[union-attr, operator]
    assert equalize(model) == 1
    torch.testing.assert_close(model[1].weight, before)


def test_a_dead_channel_stays_finite() -> None:
    model = lopsided(nn.ReLU())
    with torch.no_grad():
        model[1].weight[0] = 0.0  # type: ignore[index]
    equalize(model)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_model_that_cannot_be_traced_is_left_alone() -> None:
    class Fork(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if images.sum() > 0 else -images

    assert equalize(Fork()) == 0


@pytest.mark.parametrize("name", MODELS)
def test_bundled_models_answer_as_before(name: str) -> None:
    model = models.build_quantizable(ModelSpec(f"bundled/{name}")).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        assert equalize(model) > 0
        torch.testing.assert_close(model(images), before, rtol=1e-3, atol=1e-3)
