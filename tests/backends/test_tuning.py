"""Which layers stay in float: found in few trials, judged on pictures nobody trained on."""

from collections.abc import Collection

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from quantcore.backends import tuning
from quantcore.images import ImageData, Split
from quantcore.workflows import Static

CLASSES = 4


class Plain:
    """Pictures whose only value is their index."""

    def picture(self, index: int) -> Image.Image:
        """Return none of them."""
        raise NotImplementedError(index)

    def tensors(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """Return `[N, 3, 1, 1]`."""
        return torch.from_numpy(indices).float().reshape(-1, 1, 1, 1).expand(-1, 3, 1, 1)


def split(start: int, count: int) -> Split:
    indices = np.arange(start, start + count)
    return Split(Plain(), indices, indices % CLASSES, f"from {start}")


def data(*, qat: int = 4_000, held_out: int = 1_000) -> ImageData:
    return ImageData(
        calibration=split(500, 64),
        qat=split(1_000, qat) if qat else None,
        qat_held_out=split(5_000, held_out) if qat else None,
        evaluation=split(9_000, 10),
        class_names=tuple("abcd"),
        labelled=True,
        name="plain",
    )


class Model:
    """Answers right where it is float, and wrong for a share of pictures that each layer costs."""

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs = costs
        self.asked: list[tuple[int, int]] = []

    def exact(self, asked: Split) -> tuning.Logits:
        return np.eye(CLASSES, dtype=np.float32)[asked.indices % CLASSES]

    def trial(self, kept: Collection[str], asked: Split) -> tuning.Logits:
        self.asked.append((len(kept), len(asked)))
        cost = sum(cost for name, cost in self.costs.items() if name not in kept)
        logits = self.exact(asked)
        wrong = asked.indices % 1_000 < round(1_000 * cost)
        # A little of each cost shows in every answer, as rounding does.
        return np.where(wrong[:, None], logits[:, ::-1], logits * np.float32(1 + cost))

    def found(self, options: Static, images: ImageData) -> tuple[tuple[str, ...], float | None]:
        return tuning.kept_float(
            tuple(self.costs), self.exact, self.trial, images, options, lambda *_: None
        )


def costly(count: int, **costs: float) -> Model:
    return Model({f"layer{index}": costs.get(f"layer{index}", 1e-6) for index in range(count)})


@pytest.mark.parametrize("count", [3, 15, 16, 17, 53, 300])
def test_the_layers_that_hurt_most_are_found_wherever_they_stand(count: int) -> None:
    worst, second = f"layer{count - 1}", f"layer{count // 3}"
    model = costly(count, **{worst: 0.05, second: 0.02})
    kept, loss = model.found(Static(keep_float="auto", max_loss_points=0.5), data())
    assert kept == (worst, second)
    assert loss == 0


@pytest.mark.parametrize("count", [16, 53, 152])
def test_trials_are_far_fewer_than_layers(count: int) -> None:
    model = costly(count, layer3=0.05)
    model.found(Static(keep_float=1), data())
    ranking = [pictures for _, pictures in model.asked if pictures == tuning.RANKING]
    assert len(ranking) <= 16 + -(-count // 8)


def test_a_model_that_is_good_enough_is_asked_once() -> None:
    model = costly(53, layer3=0.004)
    assert model.found(Static(keep_float="auto", max_loss_points=0.5), data()) == ((), 0.4)
    assert len(model.asked) == 1


def test_no_more_layers_stay_in_float_than_the_limit_needs() -> None:
    costs = {f"layer{index}": 0.01 for index in range(7)}
    model = costly(20, **costs)
    kept, loss = model.found(Static(keep_float="auto", max_loss_points=1.5), data())
    assert set(kept) < set(costs)
    assert (len(kept), loss) == (6, 1.0)


def test_a_number_keeps_the_limit_by_more_than_chance() -> None:
    costs = {"layer0": 0.02, "layer1": 0.004}
    model = costly(20, **costs)
    # 4 of 1,000 pictures: 0.4 points give or take 0.2.
    assert model.found(Static(keep_float="auto", max_loss_points=0.7), data()) == (("layer0",), 0.4)
    kept, loss = model.found(Static(keep_float="auto", max_loss_points=0.5), data())
    assert (set(kept), loss) == (set(costs), 0.0)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_loss_is_told_with_its_standard_error(labelled: bool) -> None:
    exact = np.eye(2, dtype=np.float32)[np.arange(100) % 2]
    rounded = np.concatenate([exact[:10, ::-1], exact[10:]])
    labels = np.arange(100) % 2 if labelled else None
    loss, error = tuning.loss_points(exact, rounded, labels)
    assert loss == pytest.approx(10)
    assert error == pytest.approx(100 * np.sqrt(0.1 * 0.9 / 100))


def test_where_no_number_keeps_the_limit_the_least_loss_is_taken() -> None:
    model = costly(4, layer1=0.05)
    model.costs["elsewhere"] = 0.03
    found = tuning.kept_float(
        ("layer0", "layer1", "layer2", "layer3"),
        model.exact,
        model.trial,
        data(),
        Static(keep_float="auto", max_loss_points=0.5),
        lambda *_: None,
    )
    assert found == (("layer1",), 3.0)


def test_nothing_is_tried_where_nothing_is_asked() -> None:
    model = costly(4)
    assert model.found(Static(), data()) == ((), None)
    assert not model.asked


@pytest.mark.parametrize(
    ("qat", "held_out", "first"), [(4_000, 1_000, 5_000), (200, 30, 1_000), (0, 0, 500)]
)
def test_a_loss_is_estimated_on_pictures_held_out_where_they_are_enough(
    qat: int, held_out: int, first: int
) -> None:
    assert tuning.choosing(data(qat=qat, held_out=held_out)).indices[0] == first
