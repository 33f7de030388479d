from quantcore.sandbox.outbox import Outbox
from quantcore.sandbox.process_pool import (
    PROJECT,
    Child,
    ProcessPool,
    Progress,
    ShouldStop,
    Watch,
    never_stop,
    not_an_answer,
)
from quantcore.sandbox.sandboxed import Worker

__all__ = [
    "PROJECT",
    "Child",
    "Outbox",
    "ProcessPool",
    "Progress",
    "ShouldStop",
    "Watch",
    "Worker",
    "never_stop",
    "not_an_answer",
]
