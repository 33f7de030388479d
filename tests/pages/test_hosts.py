"""The choice of a machine to measure on, with a scheduler that answers, waits, or is gone."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.errors import SchedulerError
from quantcore.jobs import Host
from tests.pages.fakes import FakeComparisons, view
from tests.pages.helpers import run_page
from tests.support import fixtures, queues
from tests.support.processes import soon
from ui.common import hosts, state

ADDRESS = "tcp://scheduler:8786"
GONE = SchedulerError(f"No Dask scheduler answers at {ADDRESS}.", "Check QUANTCORE_SCHEDULER.")
EPYC = replace(fixtures.ENVIRONMENT, cpu="AMD EPYC 9B45", physical_cores=64)
Answer = Callable[[], list[Host]]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComparisons:
    monkeypatch.setenv("QUANTCORE_SCHEDULER", ADDRESS)
    fake = FakeComparisons(new=view(fixtures.typical()))
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", fixtures.typical)
    return fake


def known(fake: FakeComparisons, answer: Answer) -> AppTest:
    """Return the page once the scheduler has answered."""
    fake.hosts = answer
    hosts.host_monitor().seen()
    assert soon(lambda: hosts.host_monitor().seen() is not None)
    return run_page()


def cluster(*environments: fixtures.Environment, workers: int = 1) -> Answer:
    found = [Host(environment, "cluster", workers) for environment in environments]
    return lambda: [*found, hosts.here()]


def measure(page: AppTest) -> AppTest:
    return page.button(key="measure").click().run()


def test_without_a_scheduler_nothing_is_chosen(
    fake: FakeComparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUANTCORE_SCHEDULER")
    page = run_page()
    assert "Measure on" not in [box.label for box in page.selectbox]
    measure(page)
    assert fake.asked["host"] == hosts.here()


def test_each_machine_is_said_in_words_and_the_schedulers_come_first(
    fake: FakeComparisons,
) -> None:
    page = known(fake, cluster(EPYC, queues.ARM, workers=3))
    box = page.selectbox(key="host")
    assert not page.exception
    assert box.options == [
        "AMD EPYC 9B45 with VNNI, 64 cores, torch 2.13.0 · 3 workers",
        "Cortex-A76 with NEON, 2 cores, torch 2.13.0 · 3 workers",
        hosts.sentence(hosts.here()),
    ]
    assert box.options[-1].startswith("This machine: ")
    assert page.button(key="measure").label == "Measure there"


def test_the_chosen_machine_measures(fake: FakeComparisons) -> None:
    page = known(fake, cluster(EPYC, queues.ARM))
    board = Host(queues.ARM, "cluster")
    measure(page.selectbox(key="host").set_value(f"cluster {board.digest}").run())
    assert fake.asked["host"] == board


def test_a_machine_that_left_is_chosen_no_more(
    fake: FakeComparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = known(fake, cluster(EPYC))
    monkeypatch.setattr(hosts, "STALE_S", 0.0)
    fake.hosts = cluster(queues.ARM)
    hosts.host_monitor().seen()
    assert soon(lambda: (hosts.host_monitor().seen() or GONE).hosts[0].environment == queues.ARM)
    measure(page.run())
    assert fake.asked["host"] == Host(queues.ARM, "cluster")


def test_a_scheduler_that_is_gone_is_said_and_this_machine_offered(fake: FakeComparisons) -> None:
    def fail() -> list[Host]:
        raise GONE

    page = known(fake, fail)
    assert "No Dask scheduler answers at" in page.warning[0].value
    assert page.warning[0].value.endswith("You can measure on this machine.")
    assert page.button(key="measure").label == "Measure here"
    measure(page)
    assert fake.asked["host"] == hosts.here()


def test_a_scheduler_without_workers_is_said(fake: FakeComparisons) -> None:
    page = known(fake, cluster())
    assert "has no workers" in page.warning[0].value


@pytest.fixture
def answered() -> Iterator[threading.Event]:
    answered = threading.Event()
    yield answered
    answered.set()


def test_a_scheduler_that_keeps_one_waiting_keeps_no_page_waiting(
    fake: FakeComparisons, answered: threading.Event
) -> None:
    asked: list[int] = []

    def wait() -> list[Host]:
        asked.append(1)
        answered.wait()
        return [hosts.here()]

    fake.hosts = wait
    page = run_page()
    assert any("Asking the scheduler at" in caption.value for caption in page.caption)
    assert page.button(key="measure").disabled
    page.run()
    answered.set()
    assert soon(lambda: hosts.host_monitor().seen() is not None)
    assert not page.run().button(key="measure").disabled
    assert asked == [1]


def test_a_scheduler_that_failed_is_asked_again_only_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def fail() -> list[Host]:
        asked.append(1)
        raise GONE

    host_monitor = hosts.HostMonitor(fail)
    monkeypatch.setattr(hosts, "STALE_S", 0.0)
    host_monitor.seen()
    assert soon(lambda: host_monitor.seen() is not None)
    host_monitor.seen()
    assert asked == [1]
    monkeypatch.setattr(hosts, "STALE_AFTER_FAILURE_S", 0.0)
    host_monitor.seen()
    assert soon(lambda: len(asked) == 2)
