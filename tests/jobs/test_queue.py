"""Comparisons written down: turns, what is shared, what is taken over, and what a clock may do."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from quantcore.engine import FLOAT32
from quantcore.errors import RequestError, StoreError
from quantcore.jobs import Claim, Host, JobQueue, NewCell, NewJob
from quantcore.jobs.claims import MAX_INTERRUPTIONS
from quantcore.jobs.job_table import MAX_DEATHS
from quantcore.jobs.tables import JOBS
from quantcore.schema import CompareRequest, Failure, ModelSpec, Variant, current_environment
from quantcore.settings import Settings
from tests.support import databases, fixtures

DUMP = Path(__file__).parent / "data" / "jobs_1.sql"
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
    """Add a comparison of as many variants as keys; the first has `row` already."""
    variants = tuple(
        Variant("static", "x86", (("calibration_images", 1 + index),)) for index in range(len(keys))
    )
    cells = [NewCell(key, 2.0, row if index == 0 else None) for index, key in enumerate(keys)]
    request = replace(REQUEST, variants=variants)
    queue.jobs.add(NewJob(name, owner, "somebody", (request,), host), cells)


def claimed(queue: JobQueue, host: Host = HERE) -> Claim:
    claim = queue.claims.claim(host)
    assert claim is not None
    return claim


def states(queue: JobQueue, job: str) -> list[str]:
    return [cell.state for cell in queue.jobs.get(job).cells]


def died() -> Failure:
    return replace(fixtures.failure("static", "x86", "Killed.", "Again.", refused=False), died=True)


def test_a_comparison_comes_back_as_it_was_written(queue: JobQueue, settings: Settings) -> None:
    job = NewJob("job", "me", "you", (REQUEST,), HERE, "Before the demo")
    queue.jobs.add(job, [NewCell("a", 4.0, fixtures.float32()), NewCell("b", 5.0)])
    again = JobQueue.open(settings)
    found = again.jobs.get("job")
    again.close()
    assert (found.owner, found.asked_by, found.name) == ("me", "you", "Before the demo")
    assert (found.requests, found.host) == ((REQUEST,), HERE)
    assert found.variants() == [(REQUEST, FLOAT32), (REQUEST, STATIC)]
    assert found.cells[0].row == fixtures.float32()
    assert states(queue, "job") == ["done", "waiting"]
    assert found.state == "queued"


def test_a_job_goes_from_queued_over_running_to_done(queue: JobQueue) -> None:
    add(queue, "job", "a", "b")
    assert queue.jobs.get("job").state == "queued"
    first = claimed(queue)
    assert queue.jobs.get("job").state == "running"
    queue.claims.progress(first.attempt_id, "calibrating", 0.5, "tcp://worker")
    queue.claims.progress(first.attempt_id, "calibrating", 0.4)
    cell = queue.jobs.get("job").cells[0]
    assert (cell.stage, cell.share, cell.worker) == ("calibrating", 0.5, "tcp://worker")
    queue.claims.complete(first.attempt_id, fixtures.result())
    assert queue.jobs.get("job").state == "running"
    queue.claims.complete(claimed(queue).attempt_id, fixtures.failure(refused=False))
    job = queue.jobs.get("job")
    assert (job.state, states(queue, "job")) == ("done", ["done", "failed"])
    assert job.ended is not None
    assert queue.claims.claim(HERE) is None


def test_nothing_measured_is_failed(queue: JobQueue) -> None:
    add(queue, "job", "a")
    queue.claims.complete(claimed(queue).attempt_id, fixtures.failure(refused=False))
    assert queue.jobs.get("job").state == "failed"


def test_owners_take_turns_and_each_owners_jobs_do(queue: JobQueue) -> None:
    add(queue, "mine", "a", "b", "c", owner="me")
    add(queue, "also mine", "d", "e", owner="me")
    add(queue, "yours", "f", "g", owner="you")
    order = []
    while claim := queue.claims.claim(HERE):
        order.append(claim.job_id)
        queue.claims.complete(claim.attempt_id, fixtures.result())
    assert order == ["mine", "yours", "also mine", "yours", "mine", "also mine", "mine"]


def test_turns_do_not_hang_on_the_clock(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    add(queue, "first", "a", "b", owner="me")
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    add(queue, "second", "c", "d", owner="you")
    order = []
    while claim := queue.claims.claim(HERE):
        order.append(claim.job_id)
        queue.claims.complete(claim.attempt_id, fixtures.result())
    assert order == ["first", "second", "first", "second"]
    assert [summary.id for summary in queue.listing.summaries()] == ["second", "first"]
    assert queue.listing.pace_s() is None


def test_equal_cells_are_measured_once_and_seen_by_all(queue: JobQueue) -> None:
    add(queue, "mine", "same", owner="me")
    add(queue, "yours", "same", "other", owner="you")
    first, second = claimed(queue), claimed(queue)
    assert (first.job_id, second.job_id, second.index) == ("mine", "yours", 1)
    assert [cell.shared for cell in queue.jobs.get("yours").cells] == [True, False]
    assert queue.claims.claim(HERE) is None
    queue.claims.complete(first.attempt_id, fixtures.result(tag="shared"))
    rows = [queue.jobs.get(name).cells[0].row for name in ("mine", "yours")]
    assert rows == [fixtures.result(tag="shared")] * 2


def test_a_shared_cell_goes_on_for_the_other_when_one_cancels(queue: JobQueue) -> None:
    add(queue, "mine", "same", owner="me")
    add(queue, "yours", "same", owner="you")
    first = claimed(queue)
    assert queue.jobs.cancel("mine") == [first.attempt_id]
    queue.claims.release(first.attempt_id)
    assert (states(queue, "mine"), states(queue, "yours")) == (["cancelled"], ["waiting"])
    assert claimed(queue).job_id == "yours"


def test_cancelled_is_kept_and_waits_again_when_asked(queue: JobQueue) -> None:
    add(queue, "job", "a", "b", "c", row=fixtures.result())
    claim = claimed(queue)
    queue.jobs.cancel("job")
    assert queue.claims.is_cancelled(claim.attempt_id)
    queue.claims.release(claim.attempt_id)
    assert states(queue, "job") == ["done", "cancelled", "cancelled"]
    assert queue.jobs.get("job").state == "cancelled"
    queue.jobs.retry("job")
    assert states(queue, "job") == ["done", "waiting", "waiting"]


def test_what_was_refused_is_not_tried_again(queue: JobQueue) -> None:
    add(queue, "job", "a", "b", row=fixtures.failure())
    queue.claims.complete(claimed(queue).attempt_id, fixtures.failure(refused=False))
    queue.jobs.retry("job")
    assert states(queue, "job") == ["failed", "waiting"]


def test_what_is_measured_again_is_claimed_as_such(queue: JobQueue) -> None:
    add(queue, "job", "a", "b")
    for _ in range(2):
        claim = claimed(queue)
        assert not claim.again
        queue.claims.complete(claim.attempt_id, fixtures.result())
    queue.jobs.measure_again("job", [1])
    assert states(queue, "job") == ["done", "waiting"]
    claim = claimed(queue)
    assert (claim.index, claim.again) == (1, True)
    queue.claims.complete(claim.attempt_id, fixtures.result(ratio=3.0))
    assert states(queue, "job") == ["done", "done"]


def test_what_ended_its_process_is_tried_once_more_and_no_more(queue: JobQueue) -> None:
    add(queue, "job", "a")
    for _ in range(MAX_DEATHS):
        assert states(queue, "job") == ["waiting"]
        queue.claims.complete(claimed(queue).attempt_id, died())
        queue.jobs.retry("job")
    assert states(queue, "job") == ["failed"]
    assert queue.jobs.get("job").cells[0].deaths == MAX_DEATHS


def test_the_next_dispatcher_takes_over_what_the_last_one_left(queue: JobQueue) -> None:
    add(queue, "job", "a", "b")
    left, kept = claimed(queue), claimed(queue)
    queue.claims.recover(but={kept.attempt_id})
    assert states(queue, "job") == ["waiting", "running"]
    # The dead one's answer comes too late.
    queue.claims.complete(left.attempt_id, fixtures.result())
    assert states(queue, "job") == ["waiting", "running"]


def test_what_keeps_ending_the_server_is_not_begun_for_ever(queue: JobQueue) -> None:
    add(queue, "job", "a")
    for _ in range(MAX_INTERRUPTIONS):
        claimed(queue)
        queue.claims.recover()
    row = queue.jobs.get("job").cells[0].row
    assert isinstance(row, Failure)
    assert f"ended {MAX_INTERRUPTIONS} times while static on x86" in row.reason
    queue.jobs.retry("job")
    assert states(queue, "job") == ["waiting"]


def test_a_cell_goes_only_to_its_host(queue: JobQueue) -> None:
    board = Host(replace(current_environment(), cpu="Cortex-A76"), "cluster")
    add(queue, "job", "a", host=board)
    assert queue.claims.claim(HERE) is None
    assert queue.claims.claim(Host(current_environment(), "cluster")) is None
    assert queue.claims.waiting_hosts() == [board]
    assert queue.claims.has_waiting("cluster")
    assert not queue.claims.has_waiting("here")
    assert claimed(queue, board).host == board


SWEEP = (REQUEST, replace(REQUEST, model=ModelSpec("bundled/resnet18")))
NO_WEIGHTS = fixtures.failure("float32", None, "No weights.", "Fetch them.", refused=False)


def add_sweep(queue: JobQueue, name: str = "sweep", owner: str = "") -> None:
    """Add float32 and static of two models, with the keys a to d."""
    queue.jobs.add(NewJob(name, owner, "", SWEEP, HERE), [NewCell(key, 1.0) for key in "abcd"])


def fail_itself(queue: JobQueue) -> None:
    queue.claims.complete(claimed(queue).attempt_id, NO_WEIGHTS)


def end_servers(queue: JobQueue) -> None:
    for _ in range(MAX_INTERRUPTIONS):
        claimed(queue)
        queue.claims.recover()


def end_workers(queue: JobQueue) -> None:
    for _ in range(MAX_INTERRUPTIONS):
        queue.claims.interrupt(claimed(queue).attempt_id)


def end_its_process(queue: JobQueue) -> None:
    for _ in range(MAX_DEATHS):
        queue.claims.complete(claimed(queue).attempt_id, died())
        queue.jobs.retry("sweep")


FAILING = [fail_itself, end_servers, end_workers, end_its_process]


@pytest.mark.parametrize("fail", FAILING)
def test_what_is_measured_against_a_failed_reference_fails_alike_and_nothing_else(
    queue: JobQueue, fail: Callable[[JobQueue], None]
) -> None:
    add_sweep(queue)
    fail(queue)
    assert states(queue, "sweep") == ["failed", "failed", "waiting", "waiting"]
    reference, sibling = (cell.row for cell in queue.jobs.get("sweep").cells[:2])
    assert isinstance(reference, Failure)
    assert isinstance(sibling, Failure)
    assert (sibling.workflow, sibling.backend, sibling.key) == ("static", "x86", "b")
    assert (sibling.reason, sibling.remedy) == (reference.reason, reference.remedy)
    assert claimed(queue).request == SWEEP[1]


@pytest.mark.parametrize("row", [NO_WEIGHTS, died()], ids=["failed", "died"])
def test_a_failed_reference_that_others_share_fails_their_siblings_as_well(
    queue: JobQueue, row: Failure
) -> None:
    add_sweep(queue)
    add_sweep(queue, "other", owner="you")
    queue.claims.complete(claimed(queue).attempt_id, row)
    for job in ("sweep", "other"):
        assert states(queue, job) == ["failed", "failed", "waiting", "waiting"]


def test_a_reference_that_fails_when_it_is_added_fails_its_siblings(queue: JobQueue) -> None:
    cells = [NewCell("a", 1.0, NO_WEIGHTS), NewCell("b", 1.0)]
    queue.jobs.add(NewJob("job", "", "", (REQUEST,), HERE), cells)
    assert states(queue, "job") == ["failed", "failed"]
    assert queue.jobs.get("job").ended is not None
    queue.jobs.retry("job")
    assert states(queue, "job") == ["waiting", "waiting"]


def test_the_float32_of_one_backend_fails_that_backends_variants_alone(queue: JobQueue) -> None:
    own = Variant("float32", "onnxruntime")
    variants = (FLOAT32, own, STATIC, Variant("static", "onnxruntime"))
    job = NewJob("job", "", "", (replace(REQUEST, variants=variants),), HERE)
    queue.jobs.add(job, [NewCell(key, 1.0) for key in "abcd"])
    queue.claims.complete(claimed(queue).attempt_id, fixtures.float32())
    queue.claims.complete(claimed(queue).attempt_id, NO_WEIGHTS)
    assert states(queue, "job") == ["done", "failed", "waiting", "failed"]


def test_another_failed_variant_fails_alone(queue: JobQueue) -> None:
    add_sweep(queue)
    queue.claims.complete(claimed(queue).attempt_id, fixtures.float32())
    queue.claims.complete(claimed(queue).attempt_id, died())
    assert states(queue, "sweep") == ["done", "failed", "waiting", "waiting"]


def test_what_fails_a_whole_comparison_is_said_of_it(queue: JobQueue) -> None:
    add_sweep(queue)
    claim = claimed(queue)
    queue.claims.fail_job(claim, NO_WEIGHTS, "The scheduler is gone.")
    assert states(queue, "sweep") == ["running", "failed", "failed", "failed"]
    assert queue.jobs.get("sweep").message == "The scheduler is gone."


def test_names_deletion_and_the_list(queue: JobQueue) -> None:
    add(queue, "old", "a", owner="me", row=fixtures.result())
    add(queue, "new", "b", "c", owner="you")
    queue.jobs.rename("old", "  For the release ")
    claim = claimed(queue)
    queue.claims.progress(claim.attempt_id, "timing", 0.5)
    new, old = queue.listing.summaries()
    assert (old.name, old.state, old.measured, old.share) == ("For the release", "done", 1, 1.0)
    assert (new.state, new.cells, new.waiting, new.share) == ("running", 2, 1, 0.25)
    assert queue.jobs.delete("new") == [claim.attempt_id]
    assert queue.claims.is_cancelled(claim.attempt_id)
    assert [summary.id for summary in queue.listing.summaries()] == ["old"]
    with pytest.raises(RequestError, match="not known here any more"):
        queue.jobs.get("new")


def test_an_owner_joins_the_comparison_already_under_way(queue: JobQueue) -> None:
    queue.jobs.add(NewJob("job", "me", "", (REQUEST,), HERE), [NewCell("a", 1), NewCell("b", 1)])
    assert queue.jobs.find_open("me", (REQUEST,), HERE) == "job"
    assert queue.jobs.find_open("you", (REQUEST,), HERE) is None
    assert queue.jobs.find_open("me", (replace(REQUEST, variants=(FLOAT32,)),), HERE) is None
    queue.jobs.cancel("job")
    assert queue.jobs.find_open("me", (REQUEST,), HERE) is None


def test_every_change_shows_in_the_version(queue: JobQueue, settings: Settings) -> None:
    other = JobQueue.open(settings)
    before = other.version(), queue.version()
    add(queue, "job", "a")
    assert other.version() != before[0]
    assert queue.version() != before[1]
    assert queue.version() == queue.version()
    other.close()


def test_a_damaged_queue_is_set_aside_and_begun_anew(settings: Settings) -> None:
    first = JobQueue.open(settings)
    add(first, "job", "a")
    first.close()
    (settings.data / "jobs.sqlite").write_bytes(b"not a database" * 400)
    again = JobQueue.open(settings)
    assert again.listing.summaries() == []
    again.close()
    assert any(
        path.name.startswith("jobs.sqlite") for path in (settings.data / "quarantine").iterdir()
    )


@pytest.fixture
def old(settings: Settings) -> Path:
    """The queue that a folder of schema 1 has: one finished, open, cancelled, for a board each."""
    file = settings.data / "jobs.sqlite"
    databases.load(DUMP, file)
    return file


def test_the_comparisons_of_an_older_folder_are_kept(old: Path, settings: Settings) -> None:
    with closing(JobQueue.open(settings)) as queue:
        summaries = {summary.id: summary for summary in queue.listing.summaries()}
        assert {name: summary.state for name, summary in summaries.items()} == {
            "board": "queued",
            "cancelled": "cancelled",
            "open": "running",
            "finished": "done",
        }
        finished = queue.jobs.get("finished")
        assert (finished.owner, finished.asked_by, finished.name) == (
            "ada",
            "Ada",
            "Before the demo",
        )
        assert [cell.state for cell in finished.cells] == ["done", "done", "failed", "failed"]
        assert [cell.index for cell in finished.cells] == [0, 1, 2, 3]
        assert isinstance(finished.cells[0].row, fixtures.VariantResult)
        assert summaries["cancelled"].private
        assert summaries["board"].location == "cluster"
    assert databases.version(old) == JOBS.version


@pytest.mark.usefixtures("old")
def test_the_cells_of_an_older_folder_go_on(settings: Settings) -> None:
    with closing(JobQueue.open(settings)) as queue:
        here, board = queue.jobs.get("open").host, queue.jobs.get("board").host
        queue.claims.recover()
        # In turn: bob has had one already, and ada has nothing open.
        assert [claimed(queue, here).index for _ in range(3)] == [1, 2, 3]
        assert claimed(queue, board).job_id == "board"
        assert queue.jobs.get("open").cells[1].attempts == 2
        queue.jobs.retry("cancelled")
        claim = claimed(queue, here)
        queue.claims.complete(claim.attempt_id, fixtures.result())
        assert states(queue, "cancelled") == ["done", "done"]


def test_a_migrated_queue_has_the_tables_of_a_new_one(
    old: Path, settings: Settings, tmp_path: Path
) -> None:
    JobQueue.open(settings).close()
    JobQueue.open(Settings(data=tmp_path / "new")).close()
    assert databases.tables(old) == databases.tables(tmp_path / "new" / "jobs.sqlite")


def test_a_queue_of_a_newer_version_is_left_alone(old: Path, settings: Settings) -> None:
    databases.set_version(old, JOBS.version + 1)
    with pytest.raises(StoreError, match="newer version") as error:
        JobQueue.open(settings)
    assert "QUANTCORE_DATA" in error.value.remedy


@pytest.mark.parametrize("is_running", [False, True])
def test_a_comparison_that_cannot_be_read_fails_and_holds_nobody_up(
    queue: JobQueue, settings: Settings, is_running: bool
) -> None:
    add(queue, "broken", "one", "two")
    if is_running:
        claimed(queue)
    with closing(sqlite3.connect(settings.data / "jobs.sqlite")) as db, db:
        db.execute("""UPDATE jobs SET requests = replace(requests, '"batch":1', '"batch":1.5')""")
    add(queue, "sound", "three", owner="somebody else")
    for _ in range(MAX_INTERRUPTIONS):
        queue.claims.recover(but=[each.attempt_id for each in taken(queue)])
    assert all(each.job_id == "sound" for each in taken(queue))
    with closing(sqlite3.connect(settings.data / "jobs.sqlite")) as db:
        rows = db.execute("SELECT state, job FROM cells ORDER BY job").fetchall()
    assert rows == [("failed", 1), ("failed", 1), ("running", 2)]


def taken(queue: JobQueue) -> list[Claim]:
    """Take what the queue gives in a few tries; a try that gives up a comparison gives nothing."""
    return [claim for _ in range(3) if (claim := queue.claims.claim(HERE)) is not None]
