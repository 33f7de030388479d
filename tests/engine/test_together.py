"""Rows of one comparison, fitted together: their figures agree whenever each was measured."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from quantcore.engine import timed_together
from quantcore.schema import Comparison
from tests.support import fixtures
from tests.support.timing import Machine

FLOAT_MS = 8.0


def _measured(machine=None, seed=0):
    """Return float32 and three variants as separate cells measured them."""
    rng, machine = np.random.default_rng(seed), machine or Machine(drift=0.2)
    base = fixtures.float32()
    digest = base.artifact.sha256
    rows = [replace(base, turns=machine.moment(rng, {digest: FLOAT_MS}), floats={"torch": digest})]
    for backend, ms in {"x86": 2.0, "fbgemm": 2.2, "qnnpack": 9.0}.items():
        row = fixtures.result("static", backend)
        turns = machine.moment(rng, {row.artifact.sha256: ms, digest: FLOAT_MS})
        rows.append(replace(row, turns=turns, floats={"torch": digest}))
    return rows


def _agree(rows):
    for one, other in combinations(rows, 2):
        by_ms = one.latency_ms.p50 / other.latency_ms.p50
        ratios = [row.speedups.get("torch", row.speedup).ratio for row in (one, other)]
        assert by_ms == pytest.approx(ratios[1] / ratios[0], rel=1e-6)


def test_cells_of_different_moments_agree_once_together():
    alone = [timed_together([row])[0] for row in _measured()]
    with pytest.raises(AssertionError):
        _agree(alone)
    together = timed_together(alone)
    _agree(together)
    assert [row.latency_ms.p50 for row in together[1:]] == pytest.approx([2.0, 2.2, 9.0], rel=0.35)
    assert together[1].speedups["torch"].ratio == pytest.approx(4.0, rel=0.06)


def test_fitting_again_changes_nothing():
    once = timed_together(_measured())
    assert timed_together(once) == once
    comparison = fixtures.comparison(once)
    again = Comparison.from_json(comparison.to_json())
    assert timed_together(again.results) == again.results


def test_the_very_same_rows_are_fitted_once():
    rows = _measured()
    assert timed_together(rows) is timed_together(list(rows))
    assert timed_together([*rows[:-1], replace(rows[-1])]) is not timed_together(rows)


def test_a_busy_cell_is_marked_and_unsettled():
    rows = _measured()
    slow = Machine(bursts=1.0).moment(
        np.random.default_rng(1),
        {rows[1].artifact.sha256: 2.0, rows[0].artifact.sha256: FLOAT_MS},
    )
    together = timed_together([rows[0], replace(rows[1], turns=slow), *rows[2:]])
    assert [row.machine_busy for row in together] == [False, True, False, False]
    assert not together[1].speedup.settled


def test_groups_are_fitted_by_themselves():
    rows = _measured()
    other = [
        replace(fixtures.on(row, fixtures.SMALL), turns=row.turns) for row in _measured(seed=5)
    ]
    both = timed_together([*rows, *other])
    assert both[: len(rows)] == timed_together(rows)


def test_rows_of_earlier_files_no_longer_contradict_themselves():
    contradictory = [
        replace(row, latency_ms=replace(row.latency_ms, p50=row.latency_ms.p50 * factor))
        for row, factor in zip(fixtures.typical().results, (1.2, 0.7, 1.1, 0.9, 1.0), strict=False)
    ]
    once = timed_together(contradictory)
    _agree(once)
    for one, again in zip(once, timed_together(once), strict=True):
        assert again.latency_ms.p50 == pytest.approx(one.latency_ms.p50)
        assert again.latency_ms.drift == one.latency_ms.drift > 0
