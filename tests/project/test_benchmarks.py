"""The small parts of the benchmarks: how a figure is printed, and the recipe's helpers."""

import json
import math

import pytest
import torch
from torch import nn

from benchmarks import grid, house, recipe
from benchmarks.__main__ import BENCHMARKS, run
from benchmarks.lines import INDENT, Figure, absent, at_least, at_most, count, near, note, shown

# Those that open pages, and the rest.
SERVED = ("page", "uploads")
OTHERS = [name for name in BENCHMARKS if name not in SERVED]


@pytest.mark.parametrize(
    ("figure", "mark"),
    [
        (at_most("time", 0.5, "x", 0.5), "yes"),
        (at_most("time", 0.501, "x", 0.5), "no"),
        (at_least("gain", 2.5, "x", 2.5), "yes"),
        (at_least("gain", 2.49, "x", 2.5), "no"),
        (near("size", 3.975, "MB", 3.98, 0.02), "yes"),
        (near("size", 3.999, "MB", 3.98, 0.01), "no"),
        (at_most("time", math.nan, "x", 0.5), "no"),
        (at_least("gain", math.nan, "x", 2.5), "no"),
        (shown("time", 12.0, "s"), "-"),
    ],
)
def test_a_limit_counts_as_reached_only_when_it_is(figure: Figure, mark: str) -> None:
    assert str(figure).split()[0] == mark


def test_a_line_holds_figure_limit_and_what_it_is_held_against() -> None:
    line = str(at_most("wall time", 0.414, "x", 0.5, "the recipe"))
    assert " ".join(line.split()) == "yes 0.41 x at most 0.50 x wall time; against the recipe"


def test_only_figures_with_a_limit_are_counted() -> None:
    lines = [
        str(at_most("one", 1, "s", 2)),
        str(at_most("two", 3, "s", 2)),
        str(shown("three", 3, "s")),
        absent("four", "its process died"),
        note("no such thing"),
        "",
        "GRID. The full grid",
    ]
    assert count(lines) == (1, 2)


def test_every_benchmark_has_a_title_of_its_own() -> None:
    assert len({each.title for each in BENCHMARKS.values()}) == len(BENCHMARKS)


# In a class of its own each time, so that no process has to run them all.
@pytest.mark.parametrize("name", SERVED)
@pytest.mark.browser
class TestServed:
    def test_the_benchmark_runs(self, name: str) -> None:
        runs(name)


@pytest.mark.parametrize("name", OTHERS[::2])
class TestOneHalf:
    def test_the_benchmark_runs(self, name: str) -> None:
        runs(name)


@pytest.mark.parametrize("name", OTHERS[1::2])
class TestOtherHalf:
    def test_the_benchmark_runs(self, name: str) -> None:
        runs(name)


def runs(name: str) -> None:
    """Run a benchmark at its smallest size, and expect figures and no failure."""
    printed = list(run(name, small=True))
    marks = {line.split(maxsplit=1)[0] for line in printed if not line.startswith(INDENT)}
    assert marks <= {"yes", "no", "-"}
    assert marks, printed
    assert not [line for line in printed if line.split()[1:2] == ["none"]]


def test_a_benchmark_that_ends_early_would_be_seen() -> None:
    assert absent("scaling", "ended early").split()[1] == "none"


def test_the_house_has_a_floor_for_every_room() -> None:
    floors = house.floors_by_room()
    assert floors["errors"] == 0
    assert floors["cli"] == max(floors.values())
    assert set(range(max(floors.values()))) <= set(floors.values())


def test_the_recipe_sees_pictures_as_the_app_does() -> None:
    from quantcore.images import load_images
    from quantcore.models import find
    from quantcore.schema import ImageSpec, ModelSpec

    split = load_images(ImageSpec(), find(ModelSpec("bundled/mobilenet_v2"))).evaluation
    mine, labels = next(split.batches(7))
    theirs, their_labels = next(recipe.Images("evaluation").batches(7, 7))
    assert labels is not None
    torch.testing.assert_close(theirs, mine)
    assert their_labels.tolist() == labels.tolist()


def test_the_recipe_takes_all_pictures_asked_for_and_no_more() -> None:
    sizes = [len(labels) for _, labels in recipe.Images("calibration").batches(70, 32)]
    assert sizes == [32, 32, 6]


def test_the_recipe_weighs_weights() -> None:
    big, small = nn.Linear(1_000, 1_000, bias=False), nn.Linear(1, 1, bias=False)
    weights = recipe.state_dict_bytes(big) - recipe.state_dict_bytes(small)
    assert weights == pytest.approx(4 * (1_000_000 - 1), abs=200)


def test_the_recipe_counts_right_answers() -> None:
    class AlwaysThree(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.one_hot(torch.full((len(images),), 3), recipe.CLASSES)

    effort = recipe.Effort(evaluation_images=200)
    _, labels = next(recipe.Images("evaluation").batches(200, 200))
    assert recipe.top1(AlwaysThree(), effort) == (labels == 3).double().mean().item()


def test_rows_of_app_and_recipe_stand_side_by_side() -> None:
    from tests.support.fixtures import typical

    comparison = typical()
    row = next(each for each in comparison.results if each.workflow == "static")
    by_hand = [{"workflow": "static", "engine": row.backend, "top1": 0.5, "latency_ms": 9.0}]
    lines = list(grid._side_by_side(comparison, json.loads(json.dumps(by_hand))))
    assert len(lines) == len(comparison.results)
    assert sum("recipe 0.5000" in line for line in lines) == 1
