"""What a Dask worker keeps between cells, apart from any cluster."""

import pytest

from quantcore.jobs import worker
from tests.support.coroutines import run


def test_only_so_many_cancelled_attempts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_cancelled", {})
    monkeypatch.setattr(worker, "MAX_REMEMBERED_CANCELS", 3)
    # Every worker gets every cancel, also of attempts that run on another one.
    for number in range(10):
        run(worker.cancel(f"attempt {number}"))
    assert list(worker._cancelled) == ["attempt 7", "attempt 8", "attempt 9"]
