"""The sandboxed process pool, for untrusted files: its children are locked in, with a proof.

Where the kernel cannot lock children in, programs are refused with the pool's `refusal`, while
numbers and pictures are read by ordinary children, which have limits of memory and time.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from quantcore.sandbox import lockdown
from quantcore.sandbox.fork_server import Call
from quantcore.sandbox.process_pool import ProcessPool
from quantcore.settings import Settings

REMEDY = "Upload the weights as a state dict or safetensors."


@dataclass(frozen=True)
class SandboxedPool:
    """A process pool for untrusted files.

    Attributes:
        pool: its children are locked in, unless there is a refusal.
        refusal: why untrusted programs are not run here; empty where the lock holds.
    """

    pool: ProcessPool
    refusal: str

    @property
    def is_to_be_kept(self) -> bool:
        """Return whether it is alive, and as locked in as a new one would be."""
        return self.pool.is_alive and (not self.refusal or bool(cannot()))


def start(settings: Settings, modules: Sequence[str], calls: Sequence[Call]) -> SandboxedPool:
    """Start a sandboxed process pool, after proving that the lock holds on this machine.

    Args:
        settings: what its children may use.
        modules: imported once, for every child.
        calls: done once, after the imports, for every child.
    """
    limits = settings.memory_limit_bytes, settings.timeout_s
    refusal = cannot() or _sentence(_proof())
    pool = ProcessPool(modules, *limits, calls=calls, locked=not refusal)
    return SandboxedPool(pool, refusal)


def _sentence(proof: lockdown.Proof) -> str:
    return "" if proof.holds else proof.sentence


def cannot() -> str:
    """Return why this machine has no lock, without trying it; empty where it seems to have one."""
    return lockdown.why_unavailable() or ""


def _proof() -> lockdown.Proof:
    """Return the proof of the lock, tried until it has held once in this process.

    It may also fail because the machine is swamped, and that passes.
    """
    with _proof_lock:
        if not _proofs:
            proof = lockdown.prove()
            if not proof.holds:
                return proof
            _proofs.append(proof)
        return _proofs[0]


_proof_lock = threading.Lock()
_proofs: list[lockdown.Proof] = []
