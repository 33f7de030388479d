"""Statistics of a float model, on small modules whose answer is known."""

import pytest
import torch
from torch import Tensor, nn

from quantcore.engine.statistics import MAX_IMAGES, float_statistics
from quantcore.schema import MAX_FIGURE, FloatStatistics

CHANNELS, WIDTH = 8, 32


class Net(nn.Module):
    """A depthwise convolution with its batch norm, another convolution, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.pointwise = nn.Conv2d(CHANNELS, WIDTH, 1)
        self.head = nn.Linear(WIDTH, 3)
        nn.init.constant_(self.depthwise.weight, 0.5)
        nn.init.uniform_(self.pointwise.weight, 0.5, 1.0)

    def forward(self, images: Tensor) -> Tensor:
        features = self.pointwise(self.norm(self.depthwise(images)).relu())
        answer: Tensor = self.head(features.mean((2, 3)))
        return answer


def one_layer() -> nn.Module:
    return nn.Sequential(nn.Conv2d(CHANNELS, 4, 1))


def pictures(seed: int, scale: float = 1.0, shift: float = 0.0) -> list[Tensor]:
    """Return 32 pictures in two batches, numbers between -1 and 1 before they are changed."""
    noise = torch.Generator().manual_seed(seed)
    made = torch.rand(32, CHANNELS, 12, 12, generator=noise) * 2 - 1
    return list((made * scale + shift).split(16))


def found(
    calibration: list[Tensor], evaluation: list[Tensor], net: nn.Module | None = None
) -> FloatStatistics:
    return float_statistics((net or Net()).eval(), calibration, evaluation)


def value(extreme: object) -> float:
    figure = getattr(extreme, "value", None)
    assert isinstance(figure, float)
    return figure


def test_plain_pictures_give_nothing_to_remark() -> None:
    plain = found(pictures(1), pictures(2))
    assert (plain.calibration_images, plain.evaluation_images) == (32, 32)
    assert value(plain.outlier) < 2
    assert value(plain.channel) < 2
    assert value(plain.outside) < 0.01
    assert value(plain.shift) < 0.3
    assert plain.depthwise_layers == 1
    assert value(plain.depthwise) == 1


def test_an_outlier_is_found_in_its_layer() -> None:
    calibration = pictures(1)
    calibration[0][3, 2, 5, 5] = -50.0
    outlier = found(calibration, pictures(2)).outlier
    assert outlier is not None
    assert outlier.layer == "depthwise"
    assert outlier.value == pytest.approx(50, rel=0.01)


def test_a_channel_that_reaches_further_is_found() -> None:
    calibration = pictures(1)
    for batch in calibration:
        batch[:, 5] *= 40
    channel = found(calibration, pictures(2)).channel
    assert channel is not None
    assert (channel.layer, round(channel.value)) == ("depthwise", 40)


def test_weights_of_depthwise_layers_are_read_with_the_batch_norm_behind_them() -> None:
    net = Net()
    net.norm.weight.data[2] = 30.0
    assert value(found(pictures(1), pictures(2), net).depthwise) == pytest.approx(30, rel=0.01)
    assert found(pictures(1), pictures(2), one_layer()).depthwise is None


def test_brighter_evaluation_pictures_lie_outside_the_range() -> None:
    brighter = found(pictures(1), pictures(2, scale=2.0), one_layer())
    assert value(brighter.outside) == pytest.approx(0.5, abs=0.02)
    assert value(found(pictures(1), pictures(2, scale=0.5), one_layer()).outside) == 0


def test_pictures_of_another_mean_are_apart_even_within_the_range() -> None:
    wide = pictures(1, scale=4.0)
    narrow = pictures(2, scale=0.5, shift=2.0)
    apart = found(wide, narrow, one_layer())
    assert value(apart.outside) == 0
    assert value(apart.shift) > 5


def test_what_is_no_number_is_no_figure() -> None:
    calibration = pictures(1)
    calibration[0][0, 0, 0, 0] = torch.inf
    statistics = found(calibration, pictures(2))
    assert value(statistics.outlier) <= MAX_FIGURE
    dead = found([torch.zeros_like(batch) for batch in pictures(1)], pictures(2))
    assert value(dead.outlier) >= 0


def test_a_few_pictures_are_enough() -> None:
    assert MAX_IMAGES <= 64
    one = [pictures(1)[0][:1]]
    assert found(one, one).calibration_images == 1
