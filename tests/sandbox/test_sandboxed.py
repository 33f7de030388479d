"""The sandboxed pool: when its proof is tried again, and when a new pool is started."""

from dataclasses import dataclass
from typing import cast

import pytest

from quantcore.sandbox import ProcessPool, SandboxedPool, lockdown, sandboxed


@dataclass
class FakePool:
    """Stands for a process pool."""

    is_alive: bool = True


def sandboxed_pool(refusal: str, *, alive: bool = True) -> SandboxedPool:
    return SandboxedPool(cast(ProcessPool, FakePool(alive)), refusal)


def test_a_proof_is_tried_until_the_lock_has_held(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [lockdown.Proof(False, "It did not answer."), lockdown.Proof(True, "It holds.")]
    monkeypatch.setattr(sandboxed, "_proofs", [])
    monkeypatch.setattr(lockdown, "prove", lambda: outcomes.pop(0))
    assert [sandboxed._proof().holds for _ in range(3)] == [False, True, True]


def test_a_pool_that_was_refused_in_passing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxed, "cannot", lambda: "")
    assert sandboxed_pool("").is_to_be_kept
    assert not sandboxed_pool("It did not answer.").is_to_be_kept
    assert not sandboxed_pool("", alive=False).is_to_be_kept
    monkeypatch.setattr(sandboxed, "cannot", lambda: "This kernel has no Landlock.")
    assert sandboxed_pool("This kernel has no Landlock.").is_to_be_kept
