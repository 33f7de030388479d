"""What runs inside a Dask worker: one cell at a time, its progress sent to who is listening."""

import time
from functools import cache

from quantcore.children import Nursery
from quantcore.engine import NURSERY_MODULES, Job, run_cell
from quantcore.results import Failure, VariantResult
from quantcore.settings import Settings
from quantcore.specs import CompareRequest, Variant
from quantcore.store import Store

SECONDS_BETWEEN_REPORTS = 0.2
TOPIC = "quantcore-progress"

_cancelled: set[str] = set()
_nurseries: list[Nursery] = []


async def cancel(ticket: str) -> None:
    """Stop the cell with this ticket, now or as soon as it starts.

    Called through the client, which waits for no answer; Dask allows that for coroutines only.
    """
    _cancelled.add(ticket)


def run_ticket(
    ticket: str, request: CompareRequest, variant: Variant, settings: Settings
) -> VariantResult | Failure:
    """Run one cell; called by Dask.

    Raises:
        CancelledError: `cancel` was called with this ticket.
    """
    job = Job(
        request=request,
        settings=settings,
        store=_store(settings),
        nursery=_nursery(),
        report=_Reporter(ticket),
        should_stop=lambda: ticket in _cancelled,
    )
    return run_cell(job, variant)


@cache
def _store(settings: Settings) -> Store:
    return Store.open(settings)


def _nursery() -> Nursery:
    """Return a living nursery: the one before, unless something ended it."""
    if _nurseries and not _nurseries[0].is_alive:
        _nurseries.pop().close()
    if not _nurseries:
        _nurseries.append(Nursery(NURSERY_MODULES))
    return _nurseries[0]


class _Reporter:
    """Sends a cell's progress, a few times a second at most, and every new stage."""

    def __init__(self, ticket: str) -> None:
        self._ticket = ticket
        self._stage = ""
        self._sent_at = 0.0

    def __call__(self, stage: str, share: float) -> None:
        from distributed import get_worker

        now = time.monotonic()
        if stage == self._stage and now - self._sent_at < SECONDS_BETWEEN_REPORTS:
            return
        self._stage, self._sent_at = stage, now
        get_worker().log_event(TOPIC, {"ticket": self._ticket, "stage": stage, "share": share})
