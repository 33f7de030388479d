"""Background tasks: how many, whose turn it is, how they end, and what stays loaded."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from quantcore.errors import CancelledError, RequestError, StoreError
from quantcore.jobs import BackgroundTasks, Limits, Task, TaskView
from tests.support.processes import soon

WITHIN_S = 20.0
LIMITS = Limits("letters are being copied", per_owner=3, in_all=5, remembered=8)


@dataclass(frozen=True)
class CopyView(TaskView):
    text: str = ""


class Copies(BackgroundTasks[str, CopyView]):
    """Copies letters, each as soon as the test lets it, and keeps a pen."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self.begun: list[str] = []
        self.finished: list[CopyView] = []
        self.may_go_on = threading.Event()
        self.released = threading.Event()
        self.at_work: Callable[[Task[str, CopyView]], None] = lambda task: task.update(
            text=task.spec.upper()
        )

    def work(self, task: Task[str, CopyView]) -> None:
        self.begun.append(task.spec)
        self.released.clear()
        task.progress("copying", 0.0)
        while not self.may_go_on.wait(0.01):
            task.raise_if_cancelled()
        self.at_work(task)

    def release(self) -> None:
        self.released.set()

    def ended(self, view: CopyView) -> None:
        self.finished.append(view)

    def start(self, spec: str, owner: str = "ann") -> str:
        return self.submit(spec, CopyView(), owner)

    def start_running(self, spec: str, owner: str = "ann") -> str:
        """Start a task and return when it is being worked on."""
        task_id = self.start(spec, owner)
        assert soon(lambda: spec in self.begun)
        return task_id

    def state(self, task_id: str) -> str:
        view = self.view(task_id)
        assert view is not None
        return view.state


@pytest.fixture
def copies() -> Iterator[Copies]:
    opened = Copies()
    yield opened
    opened.may_go_on.set()
    opened.close()


def test_a_task_waits_runs_and_is_done(copies: Copies) -> None:
    first = copies.start_running("one")
    second = copies.start("two")
    assert (copies.state(first), copies.state(second)) == ("running", "waiting")
    assert copies.wait(first, 0.0).is_open
    copies.may_go_on.set()
    assert copies.wait(second, WITHIN_S) == CopyView(state="done", share=1.0, text="TWO")
    assert copies.state(first) == "done"


def test_a_visitor_and_all_together_have_only_so_many_under_way(copies: Copies) -> None:
    own = [copies.start(f"ann {number}") for number in range(3)]
    with pytest.raises(RequestError, match="3 of your own letters") as own_cap:
        copies.start("ann 3")
    for number in range(2):
        copies.start(f"bob {number}", "bob")
    with pytest.raises(RequestError, match="5 letters are being copied") as cap:
        copies.start("eve 0", "eve")
    assert own_cap.value.remedy
    assert cap.value.remedy
    assert copies.start("bob 0", "ann"), "who joins takes no room"
    copies.cancel(own[2], "ann")
    assert copies.start("eve 0", "eve")


def test_what_is_over_already_is_remembered_and_takes_no_room(copies: Copies) -> None:
    for number in range(3):
        copies.start(f"ann {number}")
    task_id = copies.submit("known", CopyView(state="done", text="KNOWN"), "ann")
    assert copies.wait(task_id, 0.0).text == "KNOWN"
    assert "known" not in copies.begun


def test_visitors_take_turns_and_each_ones_tasks_keep_their_order(copies: Copies) -> None:
    copies.start_running("ann 0", "ann")
    for spec in ("ann 1", "ann 2", "bob 0", "bob 1"):
        copies.start(spec, spec[:3])
    copies.may_go_on.set()
    assert soon(lambda: len(copies.finished) == 5)
    assert copies.begun == ["ann 0", "bob 0", "ann 1", "bob 1", "ann 2"]


def test_who_comes_again_and_again_does_not_overtake_who_waits(copies: Copies) -> None:
    copies.start_running("ann 0", "ann")
    copies.start("bob 0", "bob")
    copies.start("ann 1", "ann")

    def come_again(task: Task[str, CopyView]) -> None:
        if len(copies.begun) < 8:
            copies.start(f"eve {len(copies.begun)}", "eve")

    copies.at_work = come_again
    copies.may_go_on.set()
    assert soon(lambda: "ann 1" in copies.begun)
    assert copies.begun.index("ann 1") <= 4


def test_an_equal_task_under_way_is_joined_and_stops_when_the_last_leaves(copies: Copies) -> None:
    task_id = copies.start_running("one", "ann")
    assert copies.start("one", "bob") == copies.start("one", "ann") == task_id
    for leaving in ("eve", "ann", "ann"):
        assert not copies.cancel(task_id, leaving)
        assert copies.state(task_id) == "running"
    copies.forget(task_id, "ann")
    assert copies.state(task_id) == "running"
    assert copies.cancel(task_id, "bob")
    assert copies.state(task_id) == "cancelled"
    assert copies.start("one", "ann") != task_id


def test_a_task_that_is_cancelled_before_its_turn_never_begins(copies: Copies) -> None:
    first = copies.start_running("one")
    second = copies.start("two")
    assert copies.cancel(second)
    view = copies.wait(second, 0.0)
    assert view.state == "cancelled"
    assert isinstance(view.problem, CancelledError)
    assert copies.finished == [view], "what it made is cleared up"
    copies.may_go_on.set()
    copies.wait(first, WITHIN_S)
    assert copies.begun == ["one"]


def test_a_task_that_is_cancelled_while_it_runs_is_over_once_its_work_ended(
    copies: Copies,
) -> None:
    is_cancelled = threading.Event()

    def finish_anyway(task: Task[str, CopyView]) -> None:
        assert is_cancelled.wait(WITHIN_S)
        task.progress("nearly done", 0.9)
        task.update(text="late")

    copies.at_work = finish_anyway
    copies.may_go_on.set()
    task_id = copies.start_running("one")
    copies.cancel(task_id)
    assert copies.state(task_id) == "cancelled"
    assert not copies.finished, "its work goes on"
    is_cancelled.set()
    view = copies.wait(task_id, WITHIN_S)
    assert (view.state, view.text, view.stage) == ("cancelled", "", "")
    assert copies.finished == [view]
    assert copies.cancel(task_id, "nobody"), "it is over"


def test_what_takes_too_long_is_stopped_and_says_so() -> None:
    copies = Copies(replace(LIMITS, timeout_s=0.05))
    view = copies.wait(copies.start("one"), WITHIN_S)
    assert view.state == "failed"
    assert view.problem is not None
    assert "longer than 0.05 s" in view.problem.reason
    copies.close()


@pytest.mark.parametrize(
    ("error", "said"), [(StoreError("The disk is full."), "The disk"), (KeyError("x"), "KeyError")]
)
def test_what_the_work_raises_is_why_the_task_failed_and_the_next_goes_on(
    copies: Copies, error: Exception, said: str
) -> None:
    def fail(task: Task[str, CopyView]) -> None:
        if task.spec == "one":
            raise error

    copies.at_work = fail
    copies.may_go_on.set()
    failed, other = copies.start("one"), copies.start("two")
    view = copies.wait(failed, WITHIN_S)
    assert view.state == "failed"
    assert view.problem is not None
    assert said in view.problem.reason
    assert copies.wait(other, WITHIN_S).state == "done"


def test_what_is_over_is_forgotten_in_the_end_and_what_is_under_way_is_not(copies: Copies) -> None:
    copies.may_go_on.set()
    over = []
    for number in range(8):
        over.append(copies.start(str(number)))
        copies.wait(over[-1], WITHIN_S)
    copies.may_go_on.clear()
    under_way = [copies.start(f"later {number}") for number in range(3)]
    assert [copies.view(task_id) is None for task_id in over] == [True] * 3 + [False] * 5
    assert all(copies.view(task_id) for task_id in under_way)
    copies.forget(under_way[0])
    assert copies.view(under_way[0]) is None
    with pytest.raises(RequestError):
        copies.wait(under_way[0])


def test_what_a_task_was_asked_for_is_kept_no_longer_than_it_is_needed(copies: Copies) -> None:
    copies.may_go_on.set()
    task_id = copies.start("one")
    copies.wait(task_id, WITHIN_S)
    assert not hasattr(copies._tasks[task_id], "spec")


def test_tasks_are_found_by_what_they_show(copies: Copies) -> None:
    copies.may_go_on.set()
    ids = [copies.start(spec) for spec in ("one", "two")]
    copies.wait(ids[-1], WITHIN_S)
    assert copies.find(lambda view: view.text == "TWO") == ids[1:]
    assert copies.find(lambda view: not view.is_open) == ids


def test_the_time_left_is_known_once_there_is_a_pace() -> None:
    task = Task("one", CopyView(), "ann", None)
    task.progress("copying", 0.0)
    assert task.view.seconds_left is None
    task.progress("copying", 0.5)
    assert task.view.seconds_left is not None
    task.end("done")
    assert task.view.seconds_left is None
    task.progress("copying", 0.7)
    assert task.view.share == 1.0


def test_what_is_loaded_is_released_once_nobody_asks_and_the_thread_ends(copies: Copies) -> None:
    copies.may_go_on.set()
    copies.wait(copies.start("one"), WITHIN_S)
    assert copies.released.wait(WITHIN_S)
    assert soon(lambda: copies._thread is None)
    copies.wait(copies.start("two"), WITHIN_S)
    assert copies.released.wait(WITHIN_S)


def test_what_is_loaded_stays_for_the_next_who_asks() -> None:
    copies = Copies(replace(LIMITS, idle_s=600))
    copies.may_go_on.set()
    for spec in ("one", "two"):
        copies.wait(copies.start(spec), WITHIN_S)
    assert not copies.released.is_set()
    copies.close()
    assert copies.released.is_set()


def test_what_is_used_without_a_task_is_released_as_well(copies: Copies) -> None:
    copies.keep_loaded()
    assert copies.released.wait(WITHIN_S)


def test_closing_stops_what_is_under_way_and_takes_nothing_more(copies: Copies) -> None:
    running, waiting = copies.start_running("one"), copies.start("two")
    copies.close()
    assert copies.released.is_set()
    assert [copies.state(task_id) for task_id in (running, waiting)] == ["cancelled"] * 2
    assert len(copies.finished) == 2
    with pytest.raises(RequestError, match="ending"):
        copies.start("three")
    copies.keep_loaded()
    assert copies._thread is None


def test_a_problem_of_clearing_up_stops_nothing(copies: Copies) -> None:
    def refuse(*_: object) -> None:
        raise KeyError("The disk is full.")

    copies.ended = copies.release = refuse  # type: ignore[method-assign]
    copies.may_go_on.set()
    for spec in ("one", "two"):
        assert copies.wait(copies.start(spec), WITHIN_S).state == "done"


def test_many_visitors_at_once_each_get_their_answer() -> None:
    copies = Copies(replace(LIMITS, per_owner=100, in_all=1_000, remembered=2_000))
    copies.may_go_on.set()
    ids: list[str] = []

    def visit(owner: str) -> None:
        for number in range(20):
            ids.append(copies.start(f"{owner} {number}", owner))
            if number % 3 == 0:
                copies.cancel(ids[-1], owner)

    visitors = [threading.Thread(target=visit, args=[f"visitor {each}"]) for each in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    states = [copies.wait(task_id, WITHIN_S).state for task_id in ids]
    assert set(states) <= {"done", "cancelled"}
    assert states.count("done") >= 8 * 13
    assert soon(lambda: len(copies.finished) == len(ids))
    copies.close()
