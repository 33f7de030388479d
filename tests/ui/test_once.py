"""What is drawn once for all visitors: the same for the same results, anew for others."""

from dataclasses import replace

from quantcore.schema import Rows
from tests.support import fixtures
from ui.common.once import once


def test_the_same_results_are_drawn_once() -> None:
    results = fixtures.typical().results
    drawn: list[Rows] = []

    def draw(rows: Rows, word: str) -> str:
        drawn.append(rows)
        return word

    assert once(draw, Rows(results), "a") == "a"
    assert once(draw, Rows(results), "a") == "a"
    assert len(drawn) == 1
    assert once(draw, Rows(results), "b") == "b"
    assert once(draw, Rows(results[:-1]), "a") == "a"
    assert len(drawn) == 3


def test_results_that_only_look_alike_are_others() -> None:
    first, *others = fixtures.typical().results
    mine = Rows((first, *others))
    assert mine == Rows((first, *others))
    assert mine != Rows((replace(first), *others))
    assert mine != Rows(others)
    assert mine != (first, *others)
