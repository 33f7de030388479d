import pytest

from quantcore.schema import Comparison
from tests.support import fixtures


@pytest.mark.parametrize("name", fixtures.NAMED)
def test_every_fixture_is_of_the_public_format(name):
    source = fixtures.NAMED[name]()
    assert Comparison.from_json(source.to_json()) == source
    keys = [row.key for row in (*source.results, *source.failures)]
    asked = sum(len(request.variants) for request in (source.request, *source.also))
    assert len(set(keys)) == len(keys) == asked - source.missing


@pytest.mark.parametrize("name", fixtures.NAMED)
def test_correctness_agrees_with_the_accuracies(name):
    source = fixtures.NAMED[name]()
    right = fixtures.correctness(source)
    labelled_rows = [row for row in source.results if row.accuracy]
    assert right.keys() == {row.key for row in labelled_rows}
    assert all(right[row.key].mean() == pytest.approx(row.accuracy.top1) for row in labelled_rows)


def test_typical_has_seventeen_cells():
    source = fixtures.typical()
    assert len(source.results) + len(source.failures) == 17
