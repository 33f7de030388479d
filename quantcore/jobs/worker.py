"""What runs inside a Dask worker: one cell at a time, its progress sent to the dispatcher."""

import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from quantcore import uploads
from quantcore.cache import Store
from quantcore.engine import PRELOADED_MODULES, CellContext, is_locked, source_uploads
from quantcore.sandbox import ProcessPool, sandboxed
from quantcore.schema import CompareRequest, Environment, current_environment, digest
from quantcore.settings import Settings

SECONDS_BETWEEN_REPORTS = 0.2
MAX_REMEMBERED_CANCELS = 1_000
TOPIC = "quantcore-progress"
Outcome = TypeVar("Outcome")
# Tells this process from the next one, which may be given the same address and process id.
PROCESS = uuid.uuid4().hex

# Attempts, in the order in which they were cancelled.
_cancelled: dict[str, None] = {}
_pools: dict[bool, sandboxed.SandboxedPool] = {}

# A worker with several threads still measures one cell at a time.
_ONE_AT_A_TIME = threading.Lock()


def resource(environment: Environment) -> str:
    """Return the name of the Dask resource that workers on such a machine have one of."""
    return f"host-{digest(environment)[:16]}"


async def announce(dask_worker: Any) -> Environment:
    """Say which machine this worker is on, and take the resource that goes with it.

    A worker that `python -m quantcore worker` started has it from the beginning.
    """
    environment = current_environment()
    await dask_worker.set_resources(**{resource(environment): 1})
    return environment


async def cancel(attempt_id: str) -> None:
    """Stop an attempt, now or as soon as it starts.

    Called through the client, which waits for no answer; Dask allows that for coroutines only.
    """
    _cancelled[attempt_id] = None
    # Every worker gets this call, also those that never get the attempt.
    while len(_cancelled) > MAX_REMEMBERED_CANCELS:
        _cancelled.pop(next(iter(_cancelled)))


def run_task(
    attempt_id: str,
    request: CompareRequest,
    task: Callable[[CellContext], Outcome],
    settings: Settings | None,
) -> Outcome:
    """Run one task; called by Dask. Without settings, this machine's own are used.

    Raises:
        CancelledError: `cancel` was called with this attempt id.
    """
    settings = settings or Settings.from_env()
    uploads.use(settings.data)
    job = _job(attempt_id, request, settings)
    try:
        with _ONE_AT_A_TIME, _without_deleted_uploads(job):
            return task(job)
    finally:
        _cancelled.pop(attempt_id, None)


@contextmanager
def _without_deleted_uploads(job: CellContext) -> Iterator[None]:
    """Delete what was made of an upload if that was deleted meanwhile."""
    try:
        yield
    finally:
        for upload in source_uploads(job.request):
            if not uploads.is_kept(upload):
                job.store.maintenance.delete_upload(upload)


def dask_setup(_: object) -> None:
    """Leave Ctrl-C to the command this worker is part of; called by Dask as the worker starts.

    A terminal tells every process of the command. What would end here, in the middle of a cell,
    would look like that cell's fault. Children started later inherit this.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _job(attempt_id: str, request: CompareRequest, settings: Settings) -> CellContext:
    pool, refusal = _pool(settings, is_locked(request))
    job = CellContext(
        request=request,
        settings=settings,
        store=_store(settings).with_sources(*source_uploads(request)),
        pool=pool,
        report=_Reporter(attempt_id),
        should_stop=lambda: attempt_id in _cancelled,
        refusal=refusal,
    )
    job.report("starting", 0.0)
    return job


@cache
def _store(settings: Settings) -> Store:
    return Store.open(settings)


def _pool(settings: Settings, is_locked: bool) -> tuple[ProcessPool, str]:
    """Return a living process pool, and why its children are not locked in."""
    started = _pools.get(is_locked)
    if started is not None and not started.is_to_be_kept:
        _pools.pop(is_locked).pool.close()
    if is_locked not in _pools:
        _pools[is_locked] = _start_pool(settings, is_locked)
    return _pools[is_locked].pool, _pools[is_locked].refusal


def _start_pool(settings: Settings, is_locked: bool) -> sandboxed.SandboxedPool:
    if is_locked:
        return sandboxed.start(settings, PRELOADED_MODULES, [uploads.use_call(settings.data)])
    limits = settings.memory_limit_bytes, settings.timeout_s
    pool = ProcessPool(PRELOADED_MODULES, *limits, calls=[uploads.use_call(settings.data)])
    return sandboxed.SandboxedPool(pool, "")


class _Reporter:
    """Sends a cell's progress, a few times a second at most, and every new stage."""

    def __init__(self, attempt_id: str) -> None:
        self._attempt_id = attempt_id
        self._stage = ""
        self._sent_at = 0.0

    def __call__(self, stage: str, share: float) -> None:
        from distributed import get_worker

        now = time.monotonic()
        if stage == self._stage and now - self._sent_at < SECONDS_BETWEEN_REPORTS:
            return
        self._stage, self._sent_at = stage, now
        dask_worker = get_worker()
        message = {"attempt_id": self._attempt_id, "stage": stage, "share": share}
        message |= {"worker": dask_worker.address, "process": PROCESS}
        dask_worker.log_event(TOPIC, message)
