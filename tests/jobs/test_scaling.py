"""The benchmark of handing out work, at its smallest size: its stand-ins still fit the worker."""

import pytest

from benchmarks import scaling
from benchmarks.lines import Figure


def test_the_benchmark_of_handing_out_work_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "VARIANTS", 2)
    monkeypatch.setattr(scaling, "WORKERS", (1,))
    figures = [line for line in scaling.lines() if isinstance(line, Figure)]
    assert len(figures) == 1
