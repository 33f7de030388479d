"""A stand-in for `quantcore.service.Service`: jobs with known views, and what was asked."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from quantcore.errors import QuantcoreError, RequestError
from quantcore.jobs import Forecast, Host, JobSummary
from quantcore.jobs.comparisons import Outlook
from quantcore.schema import CellProgress, CompareRequest, Comparison, Failure, JobState, JobView
from quantcore.settings import Settings
from quantcore.untrusted import InspectionView
from quantcore.uploads import Upload, Uploads
from tests.support import fixtures
from ui.common import visitor

ME = visitor.of_browser("me").owner


def view(
    comparison: Comparison,
    state: JobState = "done",
    *,
    cells: Sequence[CellProgress] = (),
    message: str = "",
    owner: str = ME,
) -> JobView:
    """Return the view of a job with this comparison; it is the visitor's own unless told."""
    share = 1.0 if state == "done" else 0.4
    return JobView("job", state, comparison, tuple(cells), share, 95.0, message, owner=owner)


def running(measured: int) -> JobView:
    """Return the typical comparison under way, with this many results so far."""
    whole = fixtures.typical()
    order: list[fixtures.VariantResult | Failure] = [*whole.results, *whole.failures]
    states = ["done"] * measured + ["running"] + ["waiting"] * (len(order) - measured - 1)
    cells = [
        CellProgress(index, row.workflow, row.backend, state, "calibrating", 0.5, 14.0)  # type: ignore[arg-type]
        for index, (row, state) in enumerate(zip(order, states, strict=True))
    ]
    so_far = replace(whole, results=whole.results[:measured], failures=())
    return view(so_far, "running", cells=cells)


def waiting(ahead: int, starts_in_s: float | None) -> JobView:
    """Return the typical comparison while others are measured, which share a cell with it."""
    cells = [
        CellProgress(place, cell.workflow, cell.backend, "waiting", elsewhere=place == 1)
        for place, cell in enumerate(running(0).cells)
    ]
    asked = replace(fixtures.typical(), results=(), failures=())
    found = view(asked, "queued", cells=cells)
    return replace(found, share=0.0, ahead=ahead, starts_in_s=starts_in_s)


class FakeInspections:
    """Shows the looks it was given, and notes what it was asked to do."""

    def __init__(self) -> None:
        self.views: dict[str, InspectionView] = {}
        self.started: list[Upload] = []
        self.cancelled: list[str] = []
        self.refused = ""
        # What a look that starts is at, until a test says more.
        self.first: Callable[[Upload], InspectionView] = lambda upload: InspectionView(
            upload, state="running", stage="reading the numbers", share=0.4
        )

    def start(self, upload: Upload) -> None:
        self.started.append(upload)
        self.views[upload.token] = self.first(upload)

    def view(self, token: str) -> InspectionView | None:
        return self.views.get(token)

    def cancel(self, token: str) -> None:
        self.cancelled.append(token)
        self.views[token] = replace(self.views[token], state="cancelled")

    def programs_refused(self) -> str:
        return self.refused


class FakeComparisons:
    """Answers with the views it was given, and notes what it was asked to do."""

    def __init__(self, **views: JobView) -> None:
        self.views = views
        self.started: list[CompareRequest] = []
        self.asked: dict[str, object] = {}
        self.listed: list[JobSummary] = []
        self.places: dict[str, Forecast] = {}
        self.cancelled: list[str] = []
        self.retried: list[str] = []
        self.measured_again: list[str] = []
        self.refusal: QuantcoreError | None = None
        # Of a folder that is not there: there are no uploads, except where a test makes some.
        self.uploads = Uploads(Settings(data=Path("nowhere")))
        self.inspections = FakeInspections()

    def delete_upload(self, token: str) -> None:
        self.uploads.delete(token)

    def start(
        self,
        request: CompareRequest | Sequence[CompareRequest],
        *,
        owner: str,
        asked_by: str,
        host: Host,
        name: str = "",
    ) -> str:
        if self.refusal:
            raise self.refusal
        self.started += [request] if isinstance(request, CompareRequest) else request
        self.asked = {"owner": owner, "asked_by": asked_by, "host": host, "name": name}
        return "new"

    def outlook(self, requests: Sequence[CompareRequest], host: Host | None = None) -> Outlook:
        if self.refusal:
            raise self.refusal
        return Outlook(sum(len(each.variants) for each in requests), 2, 150.0)

    def view(self, job_id: str) -> JobView:
        if job_id not in self.views:
            raise RequestError("This comparison is not known here any more.")
        return self.views[job_id]

    def summaries(self) -> list[JobSummary]:
        return self.listed

    def hosts(self) -> list[Host]:
        raise AssertionError("nobody asked for the machines")

    def line(self) -> dict[str, Forecast]:
        return self.places

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    def retry(self, job_id: str) -> str:
        self.retried.append(job_id)
        return job_id

    def measure_again(self, job_id: str) -> str:
        if self.refusal:
            raise self.refusal
        self.measured_again.append(job_id)
        return job_id
