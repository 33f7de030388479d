"""The lock in which untrusted files are parsed and run.

A child process that is about to open such a file calls `enter`: from there on it reads what Python
and the libraries need and what its `Lock` names, writes only into its scratch folders, and can
neither start a process, nor reach another one, nor the network, whatever the file makes it do.
`prove` tries a list of forbidden things inside a lock and says whether it holds on this machine.
docs/security.md says what that promises, and what it does not.
"""

from quantcore.sandbox.lockdown.actions import Attempt, attempts
from quantcore.sandbox.lockdown.enter import enter
from quantcore.sandbox.lockdown.lock import Lock
from quantcore.sandbox.lockdown.proof import Proof, evaluate, prove, why_unavailable
from quantcore.sandbox.lockdown.runtime import quiet_environment, runtime_paths
from quantcore.sandbox.lockdown.scratch import discard, used_bytes

__all__ = [
    "Attempt",
    "Lock",
    "Proof",
    "attempts",
    "discard",
    "enter",
    "evaluate",
    "prove",
    "quiet_environment",
    "runtime_paths",
    "used_bytes",
    "why_unavailable",
]
