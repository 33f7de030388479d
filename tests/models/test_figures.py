"""The size and the accuracy that are said of a model are those that a comparison measures."""

from pathlib import Path

import pytest

import quantcore
from quantcore.jobs import shipped_comparison
from quantcore.models import Figures, catalogue, find, offered
from quantcore.schema import ImageSpec, ModelSpec, VariantResult

BUNDLED = [name for name, info in catalogue().items() if info.source == "bundled"]


def figures_of(rows: "tuple[VariantResult, ...]") -> Figures:
    """Return the figures of torch's float32 row, which others are compared with."""
    row = next(row for row in rows if row.is_float and row.backend is None)
    assert row.accuracy is not None
    return Figures(row.artifact.size_bytes, row.accuracy.top1, row.accuracy.images)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_has_the_figures_that_its_float32_row_measures(
    name: str, tmp_path: Path
) -> None:
    comparison = quantcore.compare(name, ["float32"], ["x86"], data=tmp_path)
    assert find(ModelSpec(name)).figures == figures_of(comparison.results)


def test_the_first_page_shows_what_is_said_of_its_model() -> None:
    """In words: its file may be of other libraries, whose versions are written into it."""
    shipped = shipped_comparison()
    said, shown = find(shipped.request.model).figures, figures_of(shipped.results)
    assert said is not None
    assert (said.size, said.accuracy) == (shown.size, shown.accuracy)


def test_figures_are_of_what_a_comparison_evaluates_by_default() -> None:
    for name in BUNDLED:
        figures = find(ModelSpec(name)).figures
        assert figures is not None
        assert figures.images == ImageSpec().evaluation_images


def test_every_model_that_is_offered_has_figures_and_says_of_what() -> None:
    for info in offered().values():
        assert info.figures is not None, info.name
        is_measured = info.source == "bundled"
        assert (info.figures.images is not None) == is_measured
        of = "TorchScript, float32" if is_measured else "published by torchvision"
        assert of in info.figures.size
        assert ("pictures right" if is_measured else of) in info.figures.accuracy


def test_figures_are_said_with_what_they_are_of() -> None:
    measured, published = Figures(8_914_107, 0.911, 2_000), Figures(46_830_453, 0.69758)
    assert measured.size == "8.91 MB as TorchScript, float32"
    assert measured.accuracy == "91.1 % of 2,000 Fashion-MNIST pictures right"
    assert published.size == "46.8 MB of weights, published by torchvision"
    assert published.accuracy == "69.8 % right on ImageNet, published by torchvision"
