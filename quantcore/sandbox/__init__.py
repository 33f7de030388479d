from quantcore.sandbox.kept_worker import KeptWorker
from quantcore.sandbox.lockdown.runtime import PROJECT, import_path
from quantcore.sandbox.lockdown.scratch import discard
from quantcore.sandbox.outbox import Outbox
from quantcore.sandbox.process_pool import (
    Call,
    Child,
    ProcessPool,
    Progress,
    ShouldStop,
    Watch,
    never_stop,
    not_an_answer,
    progress_sender,
)
from quantcore.sandbox.sandboxed import Worker

__all__ = [
    "PROJECT",
    "Call",
    "Child",
    "KeptWorker",
    "Outbox",
    "ProcessPool",
    "Progress",
    "ShouldStop",
    "Watch",
    "Worker",
    "discard",
    "import_path",
    "never_stop",
    "not_an_answer",
    "progress_sender",
]
