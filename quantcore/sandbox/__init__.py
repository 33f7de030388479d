"""Child processes: the pool they are forked in, their outbox of files, and the lock around them."""

from quantcore.sandbox.child import Child
from quantcore.sandbox.fork_server import Call
from quantcore.sandbox.kept_worker import KeptWorker
from quantcore.sandbox.lockdown.runtime import PROJECT, import_path
from quantcore.sandbox.lockdown.scratch import discard
from quantcore.sandbox.outbox import Outbox
from quantcore.sandbox.process_pool import ProcessPool
from quantcore.sandbox.protocol import (
    Progress,
    ShouldStop,
    Watch,
    ignore_progress,
    never_stop,
    not_an_answer,
    progress_sender,
)
from quantcore.sandbox.sandboxed import SandboxedPool

__all__ = [
    "PROJECT",
    "Call",
    "Child",
    "KeptWorker",
    "Outbox",
    "ProcessPool",
    "Progress",
    "SandboxedPool",
    "ShouldStop",
    "Watch",
    "discard",
    "ignore_progress",
    "import_path",
    "never_stop",
    "not_an_answer",
    "outbox",
    "progress_sender",
    "sandboxed",
]
