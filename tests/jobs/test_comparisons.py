"""Comparisons as they run: cancelled, killed in the middle, tried again, closed."""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantcore.engine import FLOAT32, plan
from quantcore.errors import RequestError, SchedulerError, StoreError
from quantcore.jobs import Claim, Host, JobQueue, NewCell, NewJob, views
from quantcore.jobs.attempts import Outcome
from quantcore.schema import (
    CompareRequest,
    ImageSpec,
    JobView,
    MeasureSpec,
    ModelSpec,
    Variant,
    VariantResult,
    current_environment,
)
from quantcore.service import Service
from quantcore.settings import Settings
from tests.support import fixtures
from tests.support.processes import PATIENCE_S, descendants, is_gone, soon

SIDE = 32
MEASURE = MeasureSpec(threads=1, starts=2, rounds=1, time_budget_s=0.2)
TRAINED = ModelSpec("bundled/mobilenet_v2")
RANDOM = ModelSpec("torchvision/shufflenet_v2_x0_5@random")
WAIT_S = 240.0
# Two seconds on an idle machine (`make bench recovery` times it), and more on a busy one.
SOON_S = 10.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Comparisons with a worker that the tests of this module share."""
    service = Service(Settings(tmp_path_factory.mktemp("data")))
    yield service
    service.close()


def request(model: ModelSpec, *variants: Variant, pictures: int = 16) -> CompareRequest:
    return CompareRequest(model, (FLOAT32, *variants), ImageSpec(None, pictures, SIDE), MEASURE)


def slow(seed: int) -> CompareRequest:
    """Return a comparison, another for each seed, with a cell long enough to be cut short."""
    return request(TRAINED, Variant("static", "x86", (("calibration_images", 400 + seed),)))


def finished(service: Service, job_id: str) -> JobView:
    deadline = time.monotonic() + WAIT_S
    view = service.view(job_id)
    while view.is_open:
        assert time.monotonic() < deadline, view.cells
        view = service.wait(job_id, 0.5)
    return view


def until_calibrating(service: Service, job_id: str, index: int) -> None:
    def calibrating() -> bool:
        cell = service.view(job_id).cells[index]
        assert cell.state in ("waiting", "running"), cell
        return cell.stage.startswith("calibrating")

    assert soon(calibrating, WAIT_S)


def cluster_processes(service: Service) -> dict[str, list[int]]:
    cluster = service.workers._links["here"].cluster
    assert cluster is not None
    return descendants(cluster.pid)


def states(view: JobView) -> list[str]:
    return [cell.state for cell in view.cells]


def test_a_comparison_has_a_row_for_every_cell_and_ends(running: Service) -> None:
    asked = plan(RANDOM, ["dynamic", "qat"], ["x86", "qnnpack"], None, ImageSpec(None, 4, SIDE))
    asked = replace(asked, measure=MEASURE)
    view = finished(running, running.start(asked))
    assert (view.state, view.share, view.seconds_left) == ("done", 1.0, None)
    assert states(view) == ["done", "done", "done", "failed", "failed"]
    answered = [
        (row.workflow, row.backend) for row in (*view.comparison.results, *view.comparison.failures)
    ]
    assert sorted(map(str, answered)) == sorted(
        str((each.workflow, each.backend)) for each in asked.variants
    )
    assert all(row.reason and row.remedy for row in view.comparison.failures)
    assert view.comparison.request == asked


def test_what_was_busy_is_measured_once_more_and_nothing_else(
    running: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = running.start(request(RANDOM, Variant("dynamic", "x86")))
    before = finished(running, job_id).comparison.results
    marked = tuple(replace(row, machine_busy=not row.is_float) for row in before)
    with monkeypatch.context() as patch:
        patch.setattr(views, "timed_together", lambda _: marked)
        assert running.measure_again(job_id) == job_id
    after = finished(running, job_id).comparison.results
    assert after[0].turns == before[0].turns
    assert after[1].turns != before[1].turns
    assert not after[1].cached
    assert after[1].artifact == before[1].artifact


def test_known_cells_come_back_without_a_worker(running: Service) -> None:
    asked = request(RANDOM, Variant("dynamic", "x86"))
    first = finished(running, running.start(asked)).comparison
    another = Service(running.settings)
    view = another.view(another.start(asked))
    assert view.state == "done"
    assert another.workers._links["here"].cluster is None
    assert [row.cached for row in view.comparison.results] == [True, True]
    assert [replace(row, cached=False) for row in view.comparison.results] == [
        replace(row, cached=False) for row in first.results
    ]
    another.close()


def test_the_same_question_joins_the_one_that_is_running(running: Service) -> None:
    asked = slow(1)
    first = running.start(asked)
    assert running.start(asked) == first
    running.cancel(first)
    assert finished(running, first).state == "cancelled"


def test_cancel_stops_soon_and_leaves_no_child(running: Service) -> None:
    job_id = running.start(slow(2))
    until_calibrating(running, job_id, 1)
    children = cluster_processes(running)["child"]
    started = time.monotonic()
    running.cancel(job_id)
    view = finished(running, job_id)
    assert time.monotonic() - started < SOON_S
    assert view.state == "cancelled"
    assert states(view) == ["done", "cancelled"]
    assert [row.reason for row in view.comparison.failures] == [
        "It was cancelled before it was measured."
    ]
    assert soon(lambda: all(map(is_gone, children)))
    assert "child" not in cluster_processes(running)


def test_what_was_cancelled_runs_again_when_asked(running: Service) -> None:
    job_id = running.start(slow(3))
    running.cancel(job_id)
    assert finished(running, job_id).state == "cancelled"
    assert running.retry(job_id) == job_id
    view = finished(running, job_id)
    assert states(view) == ["done", "done"], view.comparison.failures


def test_a_killed_child_fails_its_cell_and_no_other(running: Service) -> None:
    asked = replace(slow(4), variants=(*slow(4).variants, Variant("dynamic", "x86")))
    job_id = running.start(asked)
    until_calibrating(running, job_id, 1)
    for pid in cluster_processes(running)["child"]:
        os.kill(pid, signal.SIGKILL)
    view = finished(running, job_id)
    assert states(view) == ["done", "failed", "done"]
    assert "SIGKILL" in view.comparison.failures[0].reason


def test_a_killed_worker_fails_its_cell_and_no_other_and_can_be_retried(
    running: Service,
) -> None:
    asked = replace(slow(5), variants=(*slow(5).variants, Variant("dynamic", "fbgemm")))
    job_id = running.start(asked)
    until_calibrating(running, job_id, 1)
    before = cluster_processes(running)
    os.kill(before["worker"][0], signal.SIGKILL)
    view = finished(running, job_id)
    assert states(view) == ["done", "failed", "done"]
    failure = view.comparison.failures[0]
    assert failure.reason == "The worker was killed while it was busy with static on x86."
    assert "run this variant again" in failure.remedy
    assert not failure.refused
    assert soon(lambda: all(map(is_gone, (*before["pool"], *before["child"]))))
    assert states(finished(running, running.retry(job_id))) == ["done", "done", "done"]


def test_a_killed_scheduler_is_replaced_and_nothing_is_lost(running: Service) -> None:
    job_id = running.start(slow(6))
    until_calibrating(running, job_id, 1)
    before = cluster_processes(running)
    cluster = running.workers._links["here"].cluster
    assert cluster is not None
    cluster.kill()
    view = finished(running, job_id)
    assert states(view) == ["done", "done"]
    assert view.cells[1].attempts == 2
    assert soon(lambda: all(map(is_gone, (*before["worker"], *before["pool"]))))


def waiting_job(settings: Settings, host: Host) -> None:
    cells = [NewCell("a", 1.0), NewCell("b", 1.0)]
    variants = (FLOAT32, Variant("static", "x86"))
    asked = CompareRequest(ModelSpec("bundled/mobilenet_v2"), variants)
    with closing(JobQueue.open(settings)) as queue:
        queue.jobs.add(NewJob("old", "", "somebody", (asked,), host), cells)


def test_a_job_of_an_environment_with_fewer_libraries_goes_on(settings: Settings) -> None:
    environment = current_environment()
    fewer = {"torch": environment.libraries["torch"]}
    waiting_job(settings, Host(replace(environment, libraries=fewer)))
    service, workers = Service(settings), OneAtATime()
    service._dispatcher._workers = workers  # type: ignore[assignment]
    with closing(service):
        service.resume()
        assert workers.submitted.get(timeout=PATIENCE_S)
        assert service.view("old").comparison.environment == environment


@pytest.mark.parametrize("change", [{"cpu": "Another"}, {"libraries": {"torch": "1.0"}}])
def test_what_waited_for_a_machine_that_has_changed_says_so(
    settings: Settings, change: dict[str, Any]
) -> None:
    waiting_job(settings, Host(replace(current_environment(), **change)))
    with closing(Service(settings)) as service:
        service.resume()
        view = finished(service, "old")
    assert [cell.state for cell in view.cells] == ["failed", "failed"]
    assert all("changed since" in row.reason for row in view.comparison.failures)


class OneAtATime:
    """Workers that only queue the cells submitted to them; a test ends these."""

    def __init__(self) -> None:
        self.submitted: queue.Queue[tuple[str, Callable[[Outcome], None]]] = queue.Queue()

    def submit(
        self,
        claim: Claim,
        _: object,
        on_done: Callable[[Outcome], None],
        on_free: Callable[[], None],
    ) -> None:
        del on_free
        self.submitted.put((claim.request.model.name, on_done))

    def cancel(self, _: str) -> None:
        """End nothing: what a test does not answer stays unanswered."""

    def close(self) -> None:
        """End nothing."""


def complete_in_turn(workers: OneAtATime, count: int) -> list[str]:
    """Complete as many cells, one after the other; return the names of their models."""
    names: list[str] = []
    for _ in range(count):
        name, on_done = workers.submitted.get(timeout=PATIENCE_S)
        names.append(name)
        on_done(fixtures.result(tag=str(len(names))))
    return names


@pytest.fixture
def handed(settings: Settings) -> Iterator[tuple[Service, OneAtATime]]:
    """Comparisons whose cells are handed to the test itself."""
    service, workers = Service(settings), OneAtATime()
    service._dispatcher._workers = workers  # type: ignore[assignment]
    yield service, workers
    service.close()


def test_users_take_turns_cell_by_cell(handed: tuple[Service, OneAtATime]) -> None:
    service, workers = handed
    backends = ("x86", "fbgemm", "onednn", "qnnpack")
    long = request(TRAINED, *(Variant("dynamic", each) for each in backends))
    # Two comparisons do not give the first user two turns.
    service.start(long, owner="first")
    service.start(replace(long, images=replace(long.images, seed=1)), owner="first")
    first, on_done = workers.submitted.get(timeout=PATIENCE_S)
    service.start(request(RANDOM, Variant("dynamic", "x86")), owner="second")
    on_done(fixtures.result())
    own, other = TRAINED.name, RANDOM.name
    assert [first, *complete_in_turn(workers, 11)] == [own, other, own, other, *[own] * 8]


def test_two_users_share_what_both_ask_for(handed: tuple[Service, OneAtATime]) -> None:
    service, workers = handed
    asked = request(TRAINED, Variant("dynamic", "x86"))
    jobs = [service.start(asked, owner=owner) for owner in ("first", "second")]
    assert jobs[0] != jobs[1]
    _, on_done = workers.submitted.get(timeout=PATIENCE_S)
    assert soon(lambda: service.view(jobs[1]).cells[0].elsewhere)
    on_done(fixtures.result())
    complete_in_turn(workers, 1)
    for job in jobs:
        view = finished(service, job)
        assert states(view) == ["done", "done"]
    assert workers.submitted.empty()


def test_closing_leaves_no_process_behind(settings: Settings) -> None:
    service = Service(settings)
    job_id = service.start(slow(8))
    until_calibrating(service, job_id, 1)
    cluster = service.workers._links["here"].cluster
    assert cluster is not None
    pids = [pid for found in cluster_processes(service).values() for pid in found]
    assert len(pids) >= 3
    service.close()
    assert soon(lambda: all(map(is_gone, (*pids, cluster.pid))))
    assert not any(path.is_file() for path in (settings.data / "tmp").rglob("*"))


def test_a_comparison_that_nobody_started_is_told(running: Service) -> None:
    with pytest.raises(RequestError, match="not known here"):
        running.view("no such job")


def test_a_scheduler_that_does_not_answer_is_named_in_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantcore.jobs.link.CONNECT_TIMEOUT_S", 0.5)
    service = Service(Settings(tmp_path, scheduler="tcp://127.0.0.1:9"))
    asked = request(RANDOM, Variant("dynamic", "x86"), Variant("dynamic", "qnnpack"))
    with pytest.raises(SchedulerError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9"):
        service.start(asked)
    # It answered when the comparison was started, and is gone by now.
    elsewhere = Host(current_environment(), "cluster")
    view = finished(service, service.start(asked, host=elsewhere))
    assert view.state == "failed"
    assert {row.reason for row in view.comparison.failures} == {
        "No Dask scheduler answers at tcp://127.0.0.1:9."
    }
    assert len(view.comparison.failures) == 3
    assert "QUANTCORE_SCHEDULER" in view.message
    service.close()


def test_weights_that_are_nowhere_fail_every_row_with_the_way_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    # Nobody listens there, so nothing is fetched on any machine.
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    service = Service(settings)
    asked = request(ModelSpec("torchvision/squeezenet1_0"), Variant("static", "x86"))
    rows = finished(service, service.start(asked)).comparison.failures
    service.close()
    assert len(rows) == 2
    for row in rows:
        assert "SqueezeNet" in row.reason
        assert "@random" in row.remedy


def test_views_may_be_asked_for_from_any_thread(running: Service) -> None:
    job_id = running.start(request(RANDOM, Variant("dynamic", "x86"), pictures=6))
    seen: list[JobView] = []
    threads = [
        threading.Thread(target=lambda: seen.append(finished(running, job_id))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert [view.state for view in seen] == ["done"] * 4
    assert all(isinstance(row, VariantResult) for row in seen[0].comparison.results)


def test_what_cannot_be_written_down_is_written_later(
    handed: tuple[Service, OneAtATime], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, workers = handed
    job_id = service.start(request(TRAINED, Variant("dynamic", "x86")))
    _, on_done = workers.submitted.get(timeout=PATIENCE_S)
    claims, refused = service._queue.claims, []
    complete = claims.complete

    def full_once(*arguments: Any) -> None:
        if not refused:
            refused.append(arguments)
            raise StoreError("The disk is full.", "Free some space.")
        complete(*arguments)

    monkeypatch.setattr(claims, "complete", full_once)
    on_done(fixtures.result())
    complete_in_turn(workers, 1)
    assert refused
    assert states(finished(service, job_id)) == ["done", "done"]


def test_a_comparison_deleted_under_way_ends_and_the_next_goes_on(
    handed: tuple[Service, OneAtATime],
) -> None:
    service, workers = handed
    gone = service.start(request(TRAINED, Variant("dynamic", "x86")))
    _, on_done = workers.submitted.get(timeout=PATIENCE_S)
    kept = service.start(request(RANDOM, Variant("dynamic", "x86")))
    service.delete(gone)
    on_done(fixtures.failure("float32", None, refused=False))
    complete_in_turn(workers, 2)
    assert states(finished(service, kept)) == ["done", "done"]
