"""Comparisons written down: turns, what is shared, what is taken over, and what a clock may do."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from quantcore.engine import FLOAT32
from quantcore.errors import RequestError
from quantcore.jobs import Claim, Host, JobQueue, NewCell, NewJob
from quantcore.jobs.queue import MAX_DEATHS, MAX_INTERRUPTIONS
from quantcore.schema import CompareRequest, Failure, ModelSpec, Variant, current_environment
from quantcore.settings import Settings
from tests.support import fixtures

HERE = Host(current_environment())
STATIC = Variant("static", "x86")
REQUEST = CompareRequest(ModelSpec("bundled/mobilenet_v2"), (FLOAT32, STATIC))


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobQueue]:
    opened = JobQueue.open(settings)
    yield opened
    opened.close()


def add(
    queue: JobQueue,
    name: str,
    *keys: str,
    owner: str = "",
    host: Host = HERE,
    row: fixtures.VariantResult | Failure | None = None,
) -> None:
    """Write down a comparison of as many variants as keys; the first has `row` already."""
    variants = tuple(
        Variant("static", "x86", (("calibration_images", 1 + place),)) for place in range(len(keys))
    )
    cells = [NewCell(key, 2.0, row if place == 0 else None) for place, key in enumerate(keys)]
    request = replace(REQUEST, variants=variants)
    queue.add(NewJob(name, owner, "somebody", (request,), host), cells)


def claimed(queue: JobQueue, host: Host = HERE) -> Claim:
    claim = queue.claim(host)
    assert claim is not None
    return claim


def states(queue: JobQueue, job: str) -> list[str]:
    return [cell.state for cell in queue.job(job).cells]


def died() -> Failure:
    return replace(fixtures.failure("static", "x86", "Killed.", "Again.", refused=False), died=True)


def test_a_comparison_comes_back_as_it_was_written(queue: JobQueue, settings: Settings) -> None:
    job = NewJob("job", "me", "you", (REQUEST,), HERE, "Before the demo")
    queue.add(job, [NewCell("a", 4.0, fixtures.float32()), NewCell("b", 5.0)])
    again = JobQueue.open(settings)
    found = again.job("job")
    again.close()
    assert (found.owner, found.asked_by, found.name) == ("me", "you", "Before the demo")
    assert (found.requests, found.host) == ((REQUEST,), HERE)
    assert found.variants() == [(REQUEST, FLOAT32), (REQUEST, STATIC)]
    assert found.cells[0].row == fixtures.float32()
    assert states(queue, "job") == ["done", "waiting"]
    assert found.state == "queued"


def test_a_job_goes_from_queued_over_running_to_done(queue: JobQueue) -> None:
    add(queue, "job", "a", "b")
    assert queue.job("job").state == "queued"
    first = claimed(queue)
    assert queue.job("job").state == "running"
    queue.progress(first.ticket, "calibrating", 0.5, "tcp://worker")
    queue.progress(first.ticket, "calibrating", 0.4)
    cell = queue.job("job").cells[0]
    assert (cell.stage, cell.share, cell.worker) == ("calibrating", 0.5, "tcp://worker")
    queue.settle(first.ticket, fixtures.result())
    assert queue.job("job").state == "running"
    queue.settle(claimed(queue).ticket, fixtures.failure(refused=False))
    job = queue.job("job")
    assert (job.state, states(queue, "job")) == ("done", ["done", "failed"])
    assert job.ended is not None
    assert queue.claim(HERE) is None


def test_nothing_measured_is_failed(queue: JobQueue) -> None:
    add(queue, "job", "a")
    queue.settle(claimed(queue).ticket, fixtures.failure(refused=False))
    assert queue.job("job").state == "failed"


def test_owners_take_turns_and_each_owners_jobs_do(queue: JobQueue) -> None:
    add(queue, "mine", "a", "b", "c", owner="me")
    add(queue, "also mine", "d", "e", owner="me")
    add(queue, "yours", "f", "g", owner="you")
    order = []
    while claim := queue.claim(HERE):
        order.append(claim.job)
        queue.settle(claim.ticket, fixtures.result())
    assert order == ["mine", "yours", "also mine", "yours", "mine", "also mine", "mine"]


def test_turns_do_not_hang_on_the_clock(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    add(queue, "first", "a", "b", owner="me")
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    add(queue, "second", "c", "d", owner="you")
    order = []
    while claim := queue.claim(HERE):
        order.append(claim.job)
        queue.settle(claim.ticket, fixtures.result())
    assert order == ["first", "second", "first", "second"]
    assert [summary.id for summary in queue.summaries()] == ["second", "first"]
    assert queue.pace_s() is None


def test_equal_cells_are_measured_once_and_seen_by_all(queue: JobQueue) -> None:
    add(queue, "mine", "same", owner="me")
    add(queue, "yours", "same", "other", owner="you")
    first, second = claimed(queue), claimed(queue)
    assert (first.job, second.job, second.place) == ("mine", "yours", 1)
    assert [cell.shared for cell in queue.job("yours").cells] == [True, False]
    assert queue.claim(HERE) is None
    queue.settle(first.ticket, fixtures.result(tag="shared"))
    rows = [queue.job(name).cells[0].row for name in ("mine", "yours")]
    assert rows == [fixtures.result(tag="shared")] * 2


def test_a_shared_cell_goes_on_for_the_other_when_one_cancels(queue: JobQueue) -> None:
    add(queue, "mine", "same", owner="me")
    add(queue, "yours", "same", owner="you")
    first = claimed(queue)
    assert queue.cancel("mine") == [first.ticket]
    queue.release(first.ticket)
    assert (states(queue, "mine"), states(queue, "yours")) == (["cancelled"], ["waiting"])
    assert claimed(queue).job == "yours"


def test_cancelled_is_kept_and_waits_again_when_asked(queue: JobQueue) -> None:
    add(queue, "job", "a", "b", "c", row=fixtures.result())
    claim = claimed(queue)
    queue.cancel("job")
    assert queue.is_cancelled(claim.ticket)
    queue.release(claim.ticket)
    assert states(queue, "job") == ["done", "cancelled", "cancelled"]
    assert queue.job("job").state == "cancelled"
    queue.retry("job")
    assert states(queue, "job") == ["done", "waiting", "waiting"]


def test_what_was_refused_is_not_tried_again(queue: JobQueue) -> None:
    add(queue, "job", "a", "b", row=fixtures.failure())
    queue.settle(claimed(queue).ticket, fixtures.failure(refused=False))
    queue.retry("job")
    assert states(queue, "job") == ["failed", "waiting"]


def test_what_ended_its_process_is_tried_once_more_and_no_more(queue: JobQueue) -> None:
    add(queue, "job", "a")
    for _ in range(MAX_DEATHS):
        assert states(queue, "job") == ["waiting"]
        queue.settle(claimed(queue).ticket, died())
        queue.retry("job")
    assert states(queue, "job") == ["failed"]
    assert queue.job("job").cells[0].deaths == MAX_DEATHS


def test_the_next_dispatcher_takes_over_what_the_last_one_left(queue: JobQueue) -> None:
    add(queue, "job", "a", "b")
    left, kept = claimed(queue), claimed(queue)
    queue.recover(but={kept.ticket})
    assert states(queue, "job") == ["waiting", "running"]
    # The dead one's answer comes too late.
    queue.settle(left.ticket, fixtures.result())
    assert states(queue, "job") == ["waiting", "running"]


def test_what_keeps_ending_the_server_is_not_begun_for_ever(queue: JobQueue) -> None:
    add(queue, "job", "a")
    for _ in range(MAX_INTERRUPTIONS):
        claimed(queue)
        queue.recover()
    row = queue.job("job").cells[0].row
    assert isinstance(row, Failure)
    assert f"ended {MAX_INTERRUPTIONS} times while static on x86" in row.reason
    queue.retry("job")
    assert states(queue, "job") == ["waiting"]


def test_a_cell_goes_only_to_its_host(queue: JobQueue) -> None:
    board = Host(replace(current_environment(), cpu="Cortex-A76"), "cluster")
    add(queue, "job", "a", host=board)
    assert queue.claim(HERE) is None
    assert queue.claim(Host(current_environment(), "cluster")) is None
    assert queue.waiting_hosts() == [board]
    assert queue.has_waiting("cluster")
    assert not queue.has_waiting("here")
    assert claimed(queue, board).host == board


def test_without_float32_its_own_request_ends_and_no_other(queue: JobQueue) -> None:
    second = replace(REQUEST, model=ModelSpec("bundled/resnet18"))
    cells = [NewCell(key, 1.0) for key in "abcd"]
    queue.add(NewJob("sweep", "", "", (REQUEST, second), HERE), cells)
    claim = claimed(queue)
    reason = fixtures.failure("float32", None, "No weights.", "Fetch them.", refused=False)
    queue.settle(claim.ticket, reason)
    queue.fail_alike(claim, reason)
    assert states(queue, "sweep") == ["failed", "failed", "waiting", "waiting"]
    row = queue.job("sweep").cells[1].row
    assert isinstance(row, Failure)
    assert (row.workflow, row.reason, row.key) == ("static", "No weights.", "b")


def test_names_deletion_and_the_list(queue: JobQueue) -> None:
    add(queue, "old", "a", owner="me", row=fixtures.result())
    add(queue, "new", "b", "c", owner="you")
    queue.rename("old", "  For the release ")
    claim = claimed(queue)
    queue.progress(claim.ticket, "timing", 0.5)
    new, old = queue.summaries()
    assert (old.name, old.state, old.measured, old.share) == ("For the release", "done", 1, 1.0)
    assert (new.state, new.cells, new.waiting, new.share) == ("running", 2, 1, 0.25)
    assert queue.delete("new") == [claim.ticket]
    assert queue.is_cancelled(claim.ticket)
    assert [summary.id for summary in queue.summaries()] == ["old"]
    with pytest.raises(RequestError, match="not known here any more"):
        queue.job("new")


def test_an_owner_joins_the_comparison_already_under_way(queue: JobQueue) -> None:
    queue.add(NewJob("job", "me", "", (REQUEST,), HERE), [NewCell("a", 1), NewCell("b", 1)])
    assert queue.find_open("me", (REQUEST,), HERE) == "job"
    assert queue.find_open("you", (REQUEST,), HERE) is None
    assert queue.find_open("me", (replace(REQUEST, variants=(FLOAT32,)),), HERE) is None
    queue.cancel("job")
    assert queue.find_open("me", (REQUEST,), HERE) is None


def test_every_change_shows_in_the_version(queue: JobQueue, settings: Settings) -> None:
    other = JobQueue.open(settings)
    before = other.version(), queue.version()
    add(queue, "job", "a")
    assert other.version() != before[0]
    assert queue.version() != before[1]
    assert queue.version() == queue.version()
    other.close()


def test_a_damaged_ledger_is_set_aside_and_begun_anew(settings: Settings) -> None:
    first = JobQueue.open(settings)
    add(first, "job", "a")
    first.close()
    (settings.data / "jobs.sqlite").write_bytes(b"not a database" * 400)
    again = JobQueue.open(settings)
    assert again.summaries() == []
    again.close()
    assert any(
        path.name.startswith("jobs.sqlite") for path in (settings.data / "quarantine").iterdir()
    )
