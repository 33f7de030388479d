"""Comparisons written down: turns, what is shared, what is taken over, and what a clock may do."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from quantcore.engine.grid import FLOAT32
from quantcore.errors import RequestError
from quantcore.jobs import Claim, Host, Ledger, NewCell, NewJob
from quantcore.jobs.queue import MOST_DEATHS, MOST_INTERRUPTIONS
from quantcore.schema.environment import current_environment
from quantcore.schema.request import CompareRequest, ModelSpec, Variant
from quantcore.schema.result import Failure
from quantcore.settings import Settings
from tests.support import fixtures

HERE = Host(current_environment())
STATIC = Variant("static", "x86")
REQUEST = CompareRequest(ModelSpec("bundled/mobilenet_v2"), (FLOAT32, STATIC))


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(settings)
    yield opened
    opened.close()


def add(
    ledger: Ledger,
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
    ledger.add(NewJob(name, owner, "somebody", (request,), host), cells)


def claimed(ledger: Ledger, host: Host = HERE) -> Claim:
    claim = ledger.claim(host)
    assert claim is not None
    return claim


def states(ledger: Ledger, job: str) -> list[str]:
    return [cell.state for cell in ledger.job(job).cells]


def died() -> Failure:
    return replace(fixtures.failure("static", "x86", "Killed.", "Again.", refused=False), died=True)


def test_a_comparison_comes_back_as_it_was_written(ledger: Ledger, settings: Settings) -> None:
    job = NewJob("job", "me", "you", (REQUEST,), HERE, "Before the demo")
    ledger.add(job, [NewCell("a", 4.0, fixtures.float32()), NewCell("b", 5.0)])
    again = Ledger.open(settings)
    found = again.job("job")
    again.close()
    assert (found.owner, found.asked_by, found.name) == ("me", "you", "Before the demo")
    assert (found.requests, found.host) == ((REQUEST,), HERE)
    assert found.variants() == [(REQUEST, FLOAT32), (REQUEST, STATIC)]
    assert found.cells[0].row == fixtures.float32()
    assert states(ledger, "job") == ["done", "waiting"]
    assert found.state == "queued"


def test_a_job_goes_from_queued_over_running_to_done(ledger: Ledger) -> None:
    add(ledger, "job", "a", "b")
    assert ledger.job("job").state == "queued"
    first = claimed(ledger)
    assert ledger.job("job").state == "running"
    ledger.progress(first.ticket, "calibrating", 0.5, "tcp://worker")
    ledger.progress(first.ticket, "calibrating", 0.4)
    cell = ledger.job("job").cells[0]
    assert (cell.stage, cell.share, cell.worker) == ("calibrating", 0.5, "tcp://worker")
    ledger.settle(first.ticket, fixtures.result())
    assert ledger.job("job").state == "running"
    ledger.settle(claimed(ledger).ticket, fixtures.failure(refused=False))
    job = ledger.job("job")
    assert (job.state, states(ledger, "job")) == ("done", ["done", "failed"])
    assert job.ended is not None
    assert ledger.claim(HERE) is None


def test_nothing_measured_is_failed(ledger: Ledger) -> None:
    add(ledger, "job", "a")
    ledger.settle(claimed(ledger).ticket, fixtures.failure(refused=False))
    assert ledger.job("job").state == "failed"


def test_owners_take_turns_and_each_owners_jobs_do(ledger: Ledger) -> None:
    add(ledger, "mine", "a", "b", "c", owner="me")
    add(ledger, "also mine", "d", "e", owner="me")
    add(ledger, "yours", "f", "g", owner="you")
    order = []
    while claim := ledger.claim(HERE):
        order.append(claim.job)
        ledger.settle(claim.ticket, fixtures.result())
    assert order == ["mine", "yours", "also mine", "yours", "mine", "also mine", "mine"]


def test_turns_do_not_hang_on_the_clock(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    add(ledger, "first", "a", "b", owner="me")
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    add(ledger, "second", "c", "d", owner="you")
    order = []
    while claim := ledger.claim(HERE):
        order.append(claim.job)
        ledger.settle(claim.ticket, fixtures.result())
    assert order == ["first", "second", "first", "second"]
    assert [summary.id for summary in ledger.summaries()] == ["second", "first"]
    assert ledger.pace_s() is None


def test_equal_cells_are_measured_once_and_seen_by_all(ledger: Ledger) -> None:
    add(ledger, "mine", "same", owner="me")
    add(ledger, "yours", "same", "other", owner="you")
    first, second = claimed(ledger), claimed(ledger)
    assert (first.job, second.job, second.place) == ("mine", "yours", 1)
    assert [cell.shared for cell in ledger.job("yours").cells] == [True, False]
    assert ledger.claim(HERE) is None
    ledger.settle(first.ticket, fixtures.result(tag="shared"))
    rows = [ledger.job(name).cells[0].row for name in ("mine", "yours")]
    assert rows == [fixtures.result(tag="shared")] * 2


def test_a_shared_cell_goes_on_for_the_other_when_one_cancels(ledger: Ledger) -> None:
    add(ledger, "mine", "same", owner="me")
    add(ledger, "yours", "same", owner="you")
    first = claimed(ledger)
    assert ledger.cancel("mine") == [first.ticket]
    ledger.release(first.ticket)
    assert (states(ledger, "mine"), states(ledger, "yours")) == (["cancelled"], ["waiting"])
    assert claimed(ledger).job == "yours"


def test_cancelled_is_kept_and_waits_again_when_asked(ledger: Ledger) -> None:
    add(ledger, "job", "a", "b", "c", row=fixtures.result())
    claim = claimed(ledger)
    ledger.cancel("job")
    assert ledger.is_cancelled(claim.ticket)
    ledger.release(claim.ticket)
    assert states(ledger, "job") == ["done", "cancelled", "cancelled"]
    assert ledger.job("job").state == "cancelled"
    ledger.retry("job")
    assert states(ledger, "job") == ["done", "waiting", "waiting"]


def test_what_was_refused_is_not_tried_again(ledger: Ledger) -> None:
    add(ledger, "job", "a", "b", row=fixtures.failure())
    ledger.settle(claimed(ledger).ticket, fixtures.failure(refused=False))
    ledger.retry("job")
    assert states(ledger, "job") == ["failed", "waiting"]


def test_what_ended_its_process_is_tried_once_more_and_no_more(ledger: Ledger) -> None:
    add(ledger, "job", "a")
    for _ in range(MOST_DEATHS):
        assert states(ledger, "job") == ["waiting"]
        ledger.settle(claimed(ledger).ticket, died())
        ledger.retry("job")
    assert states(ledger, "job") == ["failed"]
    assert ledger.job("job").cells[0].deaths == MOST_DEATHS


def test_the_next_dispatcher_takes_over_what_the_last_one_left(ledger: Ledger) -> None:
    add(ledger, "job", "a", "b")
    left, kept = claimed(ledger), claimed(ledger)
    ledger.recover(but={kept.ticket})
    assert states(ledger, "job") == ["waiting", "running"]
    # The dead one's answer comes too late.
    ledger.settle(left.ticket, fixtures.result())
    assert states(ledger, "job") == ["waiting", "running"]


def test_what_keeps_ending_the_server_is_not_begun_for_ever(ledger: Ledger) -> None:
    add(ledger, "job", "a")
    for _ in range(MOST_INTERRUPTIONS):
        claimed(ledger)
        ledger.recover()
    row = ledger.job("job").cells[0].row
    assert isinstance(row, Failure)
    assert f"ended {MOST_INTERRUPTIONS} times while static on x86" in row.reason
    ledger.retry("job")
    assert states(ledger, "job") == ["waiting"]


def test_a_cell_goes_only_to_its_host(ledger: Ledger) -> None:
    board = Host(replace(current_environment(), cpu="Cortex-A76"), "cluster")
    add(ledger, "job", "a", host=board)
    assert ledger.claim(HERE) is None
    assert ledger.claim(Host(current_environment(), "cluster")) is None
    assert ledger.waiting_hosts() == [board]
    assert ledger.has_waiting("cluster")
    assert not ledger.has_waiting("here")
    assert claimed(ledger, board).host == board


def test_without_float32_its_own_request_ends_and_no_other(ledger: Ledger) -> None:
    second = replace(REQUEST, model=ModelSpec("bundled/resnet18"))
    cells = [NewCell(key, 1.0) for key in "abcd"]
    ledger.add(NewJob("sweep", "", "", (REQUEST, second), HERE), cells)
    claim = claimed(ledger)
    reason = fixtures.failure("float32", None, "No weights.", "Fetch them.", refused=False)
    ledger.settle(claim.ticket, reason)
    ledger.fail_alike(claim, reason)
    assert states(ledger, "sweep") == ["failed", "failed", "waiting", "waiting"]
    row = ledger.job("sweep").cells[1].row
    assert isinstance(row, Failure)
    assert (row.workflow, row.reason, row.key) == ("static", "No weights.", "b")


def test_names_deletion_and_the_list(ledger: Ledger) -> None:
    add(ledger, "old", "a", owner="me", row=fixtures.result())
    add(ledger, "new", "b", "c", owner="you")
    ledger.rename("old", "  For the release ")
    claim = claimed(ledger)
    ledger.progress(claim.ticket, "timing", 0.5)
    new, old = ledger.summaries()
    assert (old.name, old.state, old.measured, old.share) == ("For the release", "done", 1, 1.0)
    assert (new.state, new.cells, new.waiting, new.share) == ("running", 2, 1, 0.25)
    assert ledger.delete("new") == [claim.ticket]
    assert ledger.is_cancelled(claim.ticket)
    assert [summary.id for summary in ledger.summaries()] == ["old"]
    with pytest.raises(RequestError, match="not known here any more"):
        ledger.job("new")


def test_an_owner_joins_the_comparison_already_under_way(ledger: Ledger) -> None:
    ledger.add(NewJob("job", "me", "", (REQUEST,), HERE), [NewCell("a", 1), NewCell("b", 1)])
    assert ledger.find_open("me", (REQUEST,), HERE) == "job"
    assert ledger.find_open("you", (REQUEST,), HERE) is None
    assert ledger.find_open("me", (replace(REQUEST, variants=(FLOAT32,)),), HERE) is None
    ledger.cancel("job")
    assert ledger.find_open("me", (REQUEST,), HERE) is None


def test_every_change_shows_in_the_version(ledger: Ledger, settings: Settings) -> None:
    other = Ledger.open(settings)
    before = other.version(), ledger.version()
    add(ledger, "job", "a")
    assert other.version() != before[0]
    assert ledger.version() != before[1]
    assert ledger.version() == ledger.version()
    other.close()


def test_a_damaged_ledger_is_set_aside_and_begun_anew(settings: Settings) -> None:
    first = Ledger.open(settings)
    add(first, "job", "a")
    first.close()
    (settings.data / "jobs.sqlite").write_bytes(b"not a database" * 400)
    again = Ledger.open(settings)
    assert again.summaries() == []
    again.close()
    assert any(
        path.name.startswith("jobs.sqlite") for path in (settings.data / "quarantine").iterdir()
    )
