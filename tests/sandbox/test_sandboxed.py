"""The locked-in worker: when its proof is tried again, and when a new one is started."""

from dataclasses import dataclass
from typing import cast

import pytest

from quantcore.sandbox import ProcessPool, Worker, lockdown, sandboxed


@dataclass
class Standing:
    """Stands for a process pool."""

    is_alive: bool = True


def worker(refusal: str, *, alive: bool = True) -> Worker:
    return Worker(cast(ProcessPool, Standing(alive)), refusal)


def test_a_proof_is_tried_until_the_lock_has_held(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [lockdown.Proof(False, "It did not answer."), lockdown.Proof(True, "It holds.")]
    monkeypatch.setattr(sandboxed, "_held", [])
    monkeypatch.setattr(lockdown, "prove", lambda: outcomes.pop(0))
    assert [sandboxed._proven().holds for _ in range(3)] == [False, True, True]


def test_a_worker_that_was_refused_in_passing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxed, "cannot", lambda: "")
    assert worker("").is_to_be_kept
    assert not worker("It did not answer.").is_to_be_kept
    assert not worker("", alive=False).is_to_be_kept
    monkeypatch.setattr(sandboxed, "cannot", lambda: "This kernel has no Landlock.")
    assert worker("This kernel has no Landlock.").is_to_be_kept
