"""A stand-in for `quantcore.compare.Comparisons`: jobs with known views, and what was asked."""

from collections.abc import Sequence
from dataclasses import replace

from quantcore.errors import QuantcoreError, RequestError
from quantcore.results import CellProgress, Comparison, Failure, JobState, JobView
from quantcore.specs import CompareRequest
from tests import canned


def view(
    comparison: Comparison,
    state: JobState = "done",
    *,
    cells: Sequence[CellProgress] = (),
    message: str = "",
) -> JobView:
    """Return the view of a job with this comparison."""
    share = 1.0 if state == "done" else 0.4
    return JobView("job", state, comparison, tuple(cells), share, 95.0, message)


def running(measured: int) -> JobView:
    """Return the typical comparison under way, with this many results so far."""
    whole = canned.typical()
    order: list[canned.VariantResult | Failure] = [*whole.results, *whole.failures]
    states = ["done"] * measured + ["running"] + ["waiting"] * (len(order) - measured - 1)
    cells = [
        CellProgress(index, row.workflow, row.backend, state, "calibrating", 0.5, 14.0)  # type: ignore[arg-type]
        for index, (row, state) in enumerate(zip(order, states, strict=True))
    ]
    so_far = replace(whole, results=whole.results[:measured], failures=())
    return view(so_far, "running", cells=cells)


class FakeComparisons:
    """Answers with the views it was given, and notes what it was asked to do."""

    def __init__(self, **views: JobView) -> None:
        self.views = views
        self.started: list[CompareRequest] = []
        self.cancelled: list[str] = []
        self.retried: list[str] = []
        self.refusal: QuantcoreError | None = None

    def start(self, request: CompareRequest) -> str:
        if self.refusal:
            raise self.refusal
        self.started.append(request)
        return "new"

    def view(self, job_id: str) -> JobView:
        if job_id not in self.views:
            raise RequestError("This comparison is not known here any more.")
        return self.views[job_id]

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    def retry(self, job_id: str) -> str:
        self.retried.append(job_id)
        return job_id
