"""The cache when processes are killed at any moment, and when many use it at once."""

import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType

import pytest

from quantcore.cache import Store
from quantcore.cache import store as store_module
from quantcore.errors import CancelledError, DamagedArtifactError
from quantcore.settings import Settings
from tests.cache.helpers import (
    CONTENT,
    SHA256,
    add,
    child_that,
    convert,
    exit_code,
    files_under,
    in_child,
)
from tests.support.processes import PATIENCE_S, hang, soon

PACKAGE = str(Path(store_module.__file__).parent)


def kill_at_line(number: int) -> None:
    """Kill this process when it reaches the given line of the store's code, counted as it runs."""
    left = number

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        nonlocal left
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def assert_whole_or_absent(settings: Settings) -> bool:
    """Check the invariants after a death; return whether the fact had been written."""
    with Store.open(settings) as store:
        report = store.maintenance.verify()
        assert (report.damaged, report.missing) == ((), ())
        assert not any((settings.data / "tmp").iterdir())
        assert not any((settings.data / "locks").iterdir())
        assert files_under(settings.data / "artifacts") in ([], [SHA256])
        fact = store.get("conversion", "k")
        if fact:
            assert store.checked_path(json.loads(fact)["artifact"]).read_bytes() == CONTENT
        convert(store)
        assert files_under(settings.data / "artifacts") == [SHA256]
        assert store.maintenance.verify().orphans == ()
        return fact is not None


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of stores are made in it."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


# Every line takes its time; one in four tells of a fault soon enough.
some_lines_or_all = pytest.mark.parametrize(
    "step",
    [pytest.param(4, id="some"), pytest.param(1, id="all", marks=pytest.mark.soak)],
)


@some_lines_or_all
def test_killed_at_every_line_of_a_write(quick_folder: Path, step: int) -> None:
    outcomes = []
    for line in range(1, 10_000, step):
        settings = Settings(data=quick_folder / str(line))
        Store.open(settings).close()
        code = exit_code(in_child(write_killed_at, settings, line))
        assert code in (0, -signal.SIGKILL)
        outcomes.append(assert_whole_or_absent(settings))
        if code == 0:
            break
    assert len(outcomes) > 150 // step
    assert outcomes == sorted(outcomes), "written once it is written"
    assert (outcomes[0], outcomes[-1]) == (False, True)


def write_killed_at(settings: Settings, line: int) -> None:
    store = Store.open(settings)
    kill_at_line(line)
    convert(store)
    sys.settrace(None)


@some_lines_or_all
def test_killed_at_every_line_of_the_first_open(quick_folder: Path, step: int) -> None:
    for line in range(1, 10_000, step):
        settings = Settings(data=quick_folder / str(line))
        code = exit_code(in_child(open_killed_at, settings, line))
        assert assert_whole_or_absent(settings) is False
        if code == 0:
            break
    assert line > 50


def open_killed_at(settings: Settings, line: int) -> None:
    kill_at_line(line)
    Store.open(settings)
    sys.settrace(None)


def test_killed_at_random_moments_of_many_writes(settings: Settings) -> None:
    """Reaches what lies between two lines: half a write, half a commit."""
    randomness = random.Random(0)
    Store.open(settings).close()
    for round_ in range(12):
        with child_that(write_for_ever, settings, round_):
            time.sleep(randomness.uniform(0, 0.05))
    with Store.open(settings) as store:
        report = store.maintenance.verify()
        assert (report.damaged, report.missing) == ((), ())
        assert len(report.orphans) <= 12
        assert len(store.maintenance.entries()) >= 12
        assert not any((settings.data / "tmp").iterdir())
        for entry in store.maintenance.entries():
            sha256 = json.loads(store.get("conversion", entry.key) or "")["artifact"]
            assert store.checked_path(sha256).read_bytes().startswith(entry.key.encode())


def write_for_ever(ready: Callable[[], None], settings: Settings, round_: int) -> None:
    with Store.open(settings) as store:
        for count in itertools.count():
            key = f"{round_}-{count}"
            convert(store, key, key.encode() + os.urandom(50_000))
            if count == 0:
                ready()


def test_the_work_of_a_living_process_is_not_swept(settings: Settings) -> None:
    def work(ready: Callable[[], None]) -> None:
        def write_slowly(path: Path) -> None:
            path.write_bytes(CONTENT)
            ready()
            hang()

        Store.open(settings).add(write_slowly, "test")

    with child_that(work):
        Store.open(settings).close()
        assert files_under(settings.data / "tmp") == ["artifact"]
    Store.open(settings).close()
    assert not any((settings.data / "tmp").iterdir())


def test_two_processes_and_four_threads_do_one_piece_of_work_once(
    settings: Settings, tmp_path: Path
) -> None:
    log, waiting = tmp_path / "log", tmp_path / "waiting"
    waiting.mkdir()

    def wait() -> None:
        (waiting / f"{os.getpid()}-{threading.get_ident()}").touch()

    def work(store: Store) -> None:
        with store.once("key", check=wait):
            if store.get("conversion", "k") is None:
                with log.open("a") as lines:
                    lines.write("worked\n")
                assert soon(lambda: len(list(waiting.iterdir())) == 3)
                convert(store)

    def process() -> None:
        with Store.open(settings) as store:
            threads = [threading.Thread(target=work, args=(store,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert store.get("conversion", "k")

    children = [in_child(process) for _ in range(2)]
    assert [exit_code(child) for child in children] == [0, 0]
    assert log.read_text() == "worked\n"


def test_only_one_is_inside_however_many_come_and_go(settings: Settings, tmp_path: Path) -> None:
    """Those who wait for a lock file that its holder removes must not be let in beside others."""
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        with Store.open(settings) as store:
            for _ in range(100):
                with store.once("key"):
                    number = int(counter.read_text())
                    counter.write_text(str(number + 1))

    children = [in_child(count) for _ in range(4)]
    assert [exit_code(child) for child in children] == [0] * 4
    assert counter.read_text() == "400"


def test_different_keys_do_not_wait_for_each_other(store: Store) -> None:
    with store.once("a"), store.once("b/../a"):
        pass
    with store.once("a"):
        pass


def test_the_death_of_who_works_lets_the_next_one_in(store: Store, settings: Settings) -> None:
    def work(ready: Callable[[], None]) -> None:
        with Store.open(settings).once("key"):
            ready()
            hang()

    def give_up() -> None:
        raise CancelledError("Waited long enough.")

    with child_that(work), pytest.raises(CancelledError):
        store.once("key", check=give_up).__enter__()
    with store.once("key", check=give_up):
        assert files_under(settings.data / "locks") != []
    assert files_under(settings.data / "locks") == []


def test_many_processes_and_threads_at_once(settings: Settings) -> None:
    """Everything at once on few keys and a tight quota: nothing may fail or be half there."""
    tight = Settings(data=settings.data, quota_gb=6e-6)

    def life(store: Store, seed: int) -> None:
        randomness = random.Random(seed)
        for _ in range(12):
            key = str(randomness.randrange(8))
            content = key.encode() * 1_000
            # With a quota this tight, another may evict the file between two steps.
            with suppress(DamagedArtifactError):
                sha256 = convert(store, key, content)
                with store.using(sha256) as (path,):
                    assert path.read_bytes() == content

    def process(number: int) -> None:
        with Store.open(tight) as store:
            threads = [threading.Thread(target=life, args=(store, number + n)) for n in (0, 1)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    children = [in_child(process, number) for number in (10, 20, 30)]
    assert [exit_code(child) for child in children] == [0, 0, 0]
    with Store.open(tight) as store:
        assert store.maintenance.verify().is_clean
        assert store.maintenance.size_bytes() <= tight.quota_gb * 1e9 + 1_000
        assert not any((settings.data / "tmp").iterdir())


def test_a_forked_child_can_go_on_with_its_parents_store(store: Store) -> None:
    store.put("result", "parent", "{}")

    def work() -> None:
        assert store.get("result", "parent") == "{}"
        store.put("result", "child", "{}")

    assert exit_code(in_child(work)) == 0
    assert store.get("result", "child") == "{}"


def test_a_forked_child_does_not_wait_for_its_parents_threads(
    store: Store, settings: Settings
) -> None:
    store.put("result", "k", "{}")

    def work() -> None:
        signal.alarm(10)
        assert store.get("result", "k") == "{}"

    inside = threading.Event()

    def trace(statement: str) -> None:
        if statement.startswith("BEGIN"):
            inside.set()

    # A statement begins when its thread has the connection to itself; this one then waits.
    store._database._connection.set_trace_callback(trace)
    with closing(sqlite3.connect(settings.data / "facts.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=store.put, args=("result", "k", "[]"))
        thread.start()
        assert inside.wait(PATIENCE_S)
        assert exit_code(in_child(work)) == 0
        other.rollback()
    thread.join()
    assert store.get("result", "k") == "[]"


def test_a_forked_child_does_not_keep_its_parents_lease(settings: Settings) -> None:
    with Store.open(settings) as store:
        add(store)

        # The grandchild outlives its parent, and ends when this test lets go of the pipe.
        reading, writing = os.pipe()

        def parent(ready: Callable[[], None]) -> None:
            os.close(writing)
            with Store.open(settings).using(SHA256):
                in_child(os.read, reading, 1)
                ready()
                hang()

        with child_that(parent):
            assert store.maintenance.clear().in_use == 1
        assert store.maintenance.clear().artifacts == 1
        os.close(reading)
        os.close(writing)
