"""Children of a process pool: their answers and ends, and that nothing outlives its owner."""

import json
import os
import signal
import site
import subprocess
import sys
import time
from collections.abc import Iterator

import dask
import pytest

from quantcore.errors import CancelledError, ChildDiedError, RequestError
from quantcore.sandbox import PROJECT, Child, ProcessPool, Progress, import_path
from tests.support.processes import PATIENCE_S, is_gone, soon

# Far less than the child would take, far more than a busy machine needs.
SOON_S = 20
# What starts tests may have told them to ignore Ctrl-C, which a process passes on to its own.
OWNER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from quantcore.sandbox import ProcessPool
from tests.support.processes import hang
pool = ProcessPool(["tests.support.child_functions"])
child = pool.spawn("tests.support.child_functions:sleep")
child.receive()
print(pool._process.pid, child.pid, flush=True)
hang()
"""


@pytest.fixture(scope="module")
def bare() -> Iterator[ProcessPool]:
    with ProcessPool(["tests.support.child_functions"]) as running:
        yield running


def asleep(pool: ProcessPool) -> Child:
    child = pool.spawn("tests.support.child_functions:sleep")
    assert child.receive() == "asleep"
    return child


def test_a_child_answers(bare: ProcessPool) -> None:
    with bare.spawn("tests.support.child_functions:add", 2, 3) as child:
        assert child.receive(timeout_s=PATIENCE_S) == 5


def test_progress_arrives_in_order_before_the_answer(bare: ProcessPool) -> None:
    seen: list[Progress] = []
    with bare.spawn("tests.support.child_functions:count", 3) as child:
        assert child.receive(seen.append) == "counted"
    assert seen == [Progress("step 0", 0), Progress("step 1", 1 / 3), Progress("step 2", 2 / 3)]


def test_a_child_is_asked_again_and_again(bare: ProcessPool) -> None:
    with bare.spawn("tests.support.child_functions:echo") as child:
        for message in ("one", "two", "stop"):
            child.send(message)
        assert [child.receive() for _ in range(3)] == ["one", "two", "stopped"]


def test_children_work_side_by_side(bare: ProcessPool) -> None:
    with (
        bare.spawn("tests.support.child_functions:echo") as first,
        bare.spawn("tests.support.child_functions:echo") as other,
    ):
        first.send("for the first")
        other.send("for the other")
        assert (other.receive(), first.receive()) == ("for the other", "for the first")


def test_an_exception_comes_back_whole_with_the_childs_traceback(bare: ProcessPool) -> None:
    with (
        bare.spawn("tests.support.child_functions:refuse") as child,
        pytest.raises(RequestError) as caught,
    ):
        child.receive()
    assert (caught.value.reason, caught.value.remedy) == ("No.", "Ask for something else.")
    assert "in refuse" in caught.value.__notes__[0]


def test_an_exception_that_cannot_travel_sends_its_words(bare: ProcessPool) -> None:
    with (
        bare.spawn("tests.support.child_functions:be_stubborn") as child,
        pytest.raises(RuntimeError, match="StubbornError: cannot travel") as caught,
    ):
        child.receive()
    assert "in be_stubborn" in caught.value.__notes__[0]


def test_a_killed_child_is_reported_by_the_signals_name(bare: ProcessPool) -> None:
    with asleep(bare) as child:
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ChildDiedError, match=r"SIGKILL.*memory runs out") as caught:
            child.receive(timeout_s=PATIENCE_S)
    assert caught.value.remedy
    with bare.spawn("tests.support.child_functions:add", 1, 1) as another:
        assert another.receive() == 2


def test_a_crashed_child_is_reported_by_the_signals_name(bare: ProcessPool) -> None:
    with asleep(bare) as child:
        os.kill(child.pid, signal.SIGSEGV)
        with pytest.raises(ChildDiedError, match="SIGSEGV"):
            child.receive(timeout_s=PATIENCE_S)


def test_a_child_that_leaves_without_a_word_is_noticed(bare: ProcessPool) -> None:
    with (
        bare.spawn("tests.support.child_functions:leave") as child,
        pytest.raises(ChildDiedError, match="ended before it answered"),
    ):
        child.receive(timeout_s=PATIENCE_S)


def test_cancel_ends_the_child_soon(bare: ProcessPool) -> None:
    with asleep(bare) as child:
        started = time.monotonic()
        with pytest.raises(CancelledError):
            child.receive(should_stop=lambda: True)
        assert time.monotonic() - started < SOON_S
    assert is_gone(child.pid)


def test_a_child_that_takes_too_long_is_ended(bare: ProcessPool) -> None:
    with asleep(bare) as child:
        with pytest.raises(ChildDiedError, match=r"longer than 0\.2 s"):
            child.receive(timeout_s=0.2)
        assert is_gone(child.pid)


def test_leaving_the_block_ends_the_child(bare: ProcessPool) -> None:
    with asleep(bare) as child:
        pass
    assert is_gone(child.pid)


def test_a_pool_whose_server_died_says_so_and_its_children_end_at_close() -> None:
    pool = ProcessPool(["tests.support.child_functions"])
    child = asleep(pool)
    os.kill(pool._process.pid, signal.SIGKILL)
    assert soon(lambda: not pool.is_alive)
    with pytest.raises(ChildDiedError, match="is gone"):
        pool.spawn("tests.support.child_functions:add", 1, 1)
    pool.close()
    assert soon(lambda: is_gone(child.pid))


def test_closing_a_pool_ends_its_busy_children() -> None:
    with ProcessPool(["tests.support.child_functions"]) as pool:
        children = [asleep(pool) for _ in range(2)]
    assert not pool.is_alive
    assert soon(lambda: all(is_gone(child.pid) for child in children))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_an_owner_that_dies(how: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        owner.send_signal(how)
        owner.wait(timeout=PATIENCE_S)
    assert len(pids) == 2
    assert soon(lambda: all(map(is_gone, pids)))


def test_children_start_with_torch_at_hand_and_nothing_running(pool: ProcessPool) -> None:
    with pool.spawn("tests.support.child_functions:look_around") as child:
        state = child.receive(timeout_s=PATIENCE_S)
    with pool.spawn("tests.support.child_functions:multiply", 2) as child:
        threads, corner = child.receive(timeout_s=PATIENCE_S)
    assert state["torch"]
    assert (state["threads"], state["python_threads"], state["server_threads"]) == (1, 1, 1)
    assert (threads, corner) == (2, 513)


def test_nothing_that_dask_sets_in_its_workers_is_handed_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import distributed  # noqa: F401 - fills dask's configuration with its own defaults

    set_by_dask = dask.config.get("distributed.nanny.pre-spawn-environ")
    assert {"OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_"} <= set(set_by_dask)
    for name, value in set_by_dask.items():
        monkeypatch.setenv(name, str(value))
    with (
        ProcessPool(["tests.support.child_functions"]) as pool,
        pool.spawn("tests.support.child_functions:look_around") as child,
    ):
        assert not set(child.receive()["environment"]) & set(set_by_dask)


def test_calls_are_done_once_for_every_child() -> None:
    functions = "tests.support.child_functions"
    with ProcessPool([functions], calls=[(f"{functions}:note", "a folder")]) as pool:
        for _ in range(2):
            with pool.spawn(f"{functions}:noted") as child:
                assert child.receive() == ["a folder"]


def test_children_find_the_package_and_installed_ones_come_after_the_standard_library() -> None:
    mine = os.pathsep.join(["/mine", *site.getsitepackages()])
    assert import_path({}) == {"PYTHONPATH": str(PROJECT)}
    assert import_path({"PYTHONPATH": mine}) == {"PYTHONPATH": f"{PROJECT}{os.pathsep}/mine"}


def test_a_child_that_needs_too_much_memory_names_the_limit() -> None:
    with ProcessPool(
        ["torch", "tests.support.child_functions"], memory_limit_bytes=1_500_000_000
    ) as small:
        with small.spawn("tests.support.child_functions:hoard", 0.5) as child:
            assert child.receive(timeout_s=PATIENCE_S) == 500_000_000
        with (
            small.spawn("tests.support.child_functions:hoard", 3.0) as child,
            pytest.raises(ChildDiedError, match=r"more memory than the 1\.5 GB a variant may use"),
        ):
            child.receive(timeout_s=PATIENCE_S)


def test_a_child_that_takes_too_long_names_the_setting(pool: ProcessPool) -> None:
    with pool.spawn("tests.support.child_functions:sleep") as child:
        child.receive()
        with pytest.raises(ChildDiedError, match=r"longer than 0\.5 s .* QUANTCORE_TIMEOUT_S"):
            child.receive(timeout_s=0.5)


@pytest.fixture(scope="module")
def locked() -> Iterator[ProcessPool]:
    with ProcessPool(["tests.support.child_functions"], locked=True) as running:
        yield running


@pytest.mark.parametrize("function", ["chatter", "dribble"])
def test_a_locked_child_that_always_says_something_still_has_its_time(
    locked: ProcessPool, function: str
) -> None:
    with (
        locked.spawn(f"tests.support.child_functions:{function}") as child,
        pytest.raises(ChildDiedError, match=r"took longer than 0\.5 s"),
    ):
        child.receive(timeout_s=0.5)
    assert is_gone(child.pid)


def test_a_message_that_comes_slowly_does_not_outrun_a_cancel(locked: ProcessPool) -> None:
    asked: list[bool] = []
    with (
        locked.spawn("tests.support.child_functions:dribble") as child,
        pytest.raises(CancelledError),
    ):
        child.receive(should_stop=lambda: len(asked) > 20 or asked.append(True) is not None)
    assert is_gone(child.pid)


def test_a_message_without_end_is_no_answer(
    locked: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantcore.sandbox.protocol.MESSAGE_TIMEOUT_S", 0.3)
    with (
        locked.spawn("tests.support.child_functions:dribble") as child,
        pytest.raises(ChildDiedError, match="no answer"),
    ):
        child.receive(timeout_s=PATIENCE_S)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"3",
        b"[" * 100_000,
        b'{"progress": ["", 1' + b"0" * 400 + b"]}",
        b'{"raised": "OSError", "reason": "", "remedy": "", "traceback": "", "errno": 1'
        + b"0" * 40
        + b"}",
    ],
    ids=["broken", "number", "nested", "share", "errno"],
)
def test_what_is_no_answer_ends_a_locked_child(locked: ProcessPool, content: bytes) -> None:
    with (
        locked.spawn("tests.support.child_functions:say", content) as child,
        pytest.raises(ChildDiedError, match="no answer"),
    ):
        child.receive(timeout_s=PATIENCE_S)
    assert is_gone(child.pid)


def test_a_message_that_would_be_too_long_is_not_read(locked: ProcessPool) -> None:
    with (
        locked.spawn("tests.support.child_functions:boast") as child,
        pytest.raises(ChildDiedError, match="no answer"),
    ):
        child.receive(timeout_s=PATIENCE_S)


def test_a_long_answer_of_a_locked_child_arrives_whole(locked: ProcessPool) -> None:
    with locked.spawn("tests.support.child_functions:send_much", 3_000_000) as child:
        assert child.receive(timeout_s=PATIENCE_S) == "x" * 3_000_000


def test_a_locked_child_cannot_say_that_it_was_cancelled(locked: ProcessPool) -> None:
    content = {
        "raised": "CancelledError",
        "reason": "",
        "remedy": "",
        "traceback": "",
        "errno": None,
    }
    message = json.dumps(content).encode()
    with (
        locked.spawn("tests.support.child_functions:say", message) as child,
        pytest.raises(RuntimeError, match="CancelledError"),
    ):
        child.receive(timeout_s=PATIENCE_S)


def test_a_child_may_end_by_a_signal_that_has_no_name(bare: ProcessPool) -> None:
    number = signal.SIGRTMIN + 1
    with (
        bare.spawn("tests.support.child_functions:end_by", number) as child,
        pytest.raises(ChildDiedError, match=f"ended by signal {number}"),
    ):
        child.receive(timeout_s=PATIENCE_S)
