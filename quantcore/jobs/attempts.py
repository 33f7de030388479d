"""One attempt at a cell on a Dask worker, and how it ended."""

from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelledError
from dataclasses import dataclass
from typing import Any, Literal

from quantcore.engine import failure
from quantcore.errors import CancelledError, ChildDiedError
from quantcore.jobs.records import Claim
from quantcore.schema import Failure, VariantResult

OnProgress = Callable[[str, float, str], None]
# How an attempt ended: with its row, cancelled, or interrupted by the end of its worker.
Outcome = VariantResult | Failure | Literal["cancelled", "interrupted"]
OnDone = Callable[[Outcome], None]
OnFree = Callable[[], None]


@dataclass
class Attempt:
    """One submitted cell, and who listens to it.

    Attributes:
        future: Dask's.
        process: of the worker that began it; an address alone may be given to the next one.
    """

    claim: Claim
    on_progress: OnProgress
    on_done: Callable[[Any], None]
    on_free: OnFree = lambda: None
    future: Any = None
    process: str = ""
    cancelled: bool = False
    ended: bool = False

    @property
    def key(self) -> str:
        """Return the key of the attempt in Dask."""
        return f"cell-{self.claim.attempt_id}"

    def outcome(self, future: Any) -> Outcome:
        """Return the outcome of the attempt; only here a worker's end becomes a `Failure`."""
        from distributed.scheduler import KilledWorker

        try:
            row: VariantResult | Failure = future.result()
        except CancelledError:
            return "cancelled"
        except FutureCancelledError:
            # It was not cancelled here: the scheduler is gone, and the variant is not the cause.
            return "interrupted"
        except KilledWorker:
            # A cell that only waited on a worker has not killed it.
            return self.killed() if self.process else "interrupted"
        except Exception as error:
            return failure(
                self.claim.request, self.claim.variant, error, self.claim.host.environment
            )
        return row

    def outcome_of_removal(self, removal: dict[str, Any], *, is_last: bool) -> Outcome | None:
        """Return the outcome after a worker was removed; None where it has another worker.

        Args:
            removal: the scheduler's event of the removal.
            is_last: no other worker could run it.
        """
        was_there = self.key in removal["processing-tasks"]
        if was_there and self.process and not removal["expected"]:
            return self.killed()
        # Its figures were not fetched yet, or it had not begun: the cell is not the cause.
        is_undone = was_there or self.key in removal["lost-computed-tasks"]
        return "interrupted" if is_undone or (is_last and not self.process) else None

    def killed(self) -> Failure:
        """Return the failure of a cell whose worker was killed."""
        claim = self.claim
        died = ChildDiedError(
            f"The worker was killed while it was busy with {claim.variant.label}.",
            "A new worker has taken over; run this variant again.",
        )
        return failure(claim.request, claim.variant, died, claim.host.environment)
