"""Workers behind a scheduler, each a process of its own, as they are on several machines."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from quantcore.errors import SchedulerError
from quantcore.jobs import link
from quantcore.schema import Variant, current_environment
from quantcore.service import Service
from quantcore.settings import Settings
from tests.cache.helpers import files_under
from tests.cache.test_remote import free_port
from tests.jobs.test_comparisons import RANDOM, finished, request, slow, states, until_calibrating
from tests.support.processes import PATIENCE_S, descendants, is_gone, soon

PROJECT = Path(__file__).parents[2]

# The two commands, each without the addresses. Dask's own hand the cell of a dead worker to the
# next one, three times; with a port of its own, that one even has the dead one's address.
OURS = ("quantcore scheduler", "quantcore worker")
PLAIN = (
    "dask scheduler --host 127.0.0.1 --no-dashboard",
    f"dask worker --no-dashboard --nthreads 1 --worker-port {free_port()}",
)


@dataclass(frozen=True)
class Started:
    """A process that somebody started, and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def pids(self) -> list[int]:
        """Return it and every process under it."""
        under = [pid for found in descendants(self.process.pid).values() for pid in found]
        return [self.process.pid, *under]


@contextmanager
def started(log: Path, command: str, **variables: str) -> Iterator[Started]:
    """Run `python -m …`, and leave nothing of it behind."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split()],
            cwd=PROJECT,
            env=os.environ | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Started(process, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Site:
    """A scheduler, and the comparisons of a server that knows only its address."""

    address: str
    scheduler: Started
    service: Service
    folder: Path


@contextmanager
def site(folder: Path, command: str) -> Iterator[Site]:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    (folder / "shared").mkdir()
    settings = Settings(folder / "web", scheduler=address, artifacts=f"file://{folder}/shared")
    with started(folder / "scheduler.log", f"{command} --port {port}") as scheduler:
        assert soon(lambda: listens(port)), scheduler.said()
        service = Service(settings)
        yield Site(address, scheduler, service, folder)
        service.close()


def listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


@contextmanager
def worker_at(running_site: Site, command: str) -> Iterator[Started]:
    """Start a worker with a data folder of its own, and wait until the server sees it."""
    variables = {
        "QUANTCORE_DATA": str(running_site.folder / "worker"),
        "QUANTCORE_ARTIFACTS": f"file://{running_site.folder}/shared",
    }
    log = running_site.folder / "worker.log"
    with started(log, f"{command} {running_site.address}", **variables) as running:
        assert soon(lambda: len(running_site.service.hosts()) == 2), running.said()
        yield running


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A scheduler started with the project's own command, which the tests of this module share."""
    with site(tmp_path_factory.mktemp("ours"), OURS[0]) as running:
        yield running


def test_a_comparison_is_measured_there_and_its_files_are_found_here(ours: Site) -> None:
    service = ours.service
    with worker_at(ours, OURS[1]) as running:
        assert f"Measuring for {ours.address} on " in running.said()
        there = service.hosts()[0]
        assert (there.location, there.workers) == ("cluster", 1)
        assert there.environment == current_environment()
        asked = request(RANDOM, Variant("dynamic", "x86"))
        view = finished(service, service.start(asked))
    assert states(view) == ["done", "done"], view.comparison.failures
    assert view.location == "cluster"
    assert view.cells[1].worker.startswith("tcp://127.0.0.1:")
    assert service.workers._links["here"].cluster is None
    # Its file lies in the worker's folder, and comes when it is wanted.
    sha256 = view.comparison.results[1].artifact.sha256
    assert sha256 in files_under(ours.folder / "worker" / "artifacts")
    assert files_under(ours.folder / "web" / "artifacts") == []
    assert service.store.maintenance.verify().is_clean
    assert service.store.checked_path(sha256).exists()
    # What was measured there is known here, without any worker.
    again = service.view(service.start(asked, host=there))
    assert [row.cached for row in again.comparison.results] == [True, True]


def calibrating(running_site: Site, seed: int, *more: Variant) -> str:
    """Return a comparison whose second cell is under way."""
    asked = slow(seed)
    job_id = running_site.service.start(replace(asked, variants=(*asked.variants, *more)))
    until_calibrating(running_site.service, job_id, 1)
    return job_id


@pytest.mark.parametrize("commands", [OURS, PLAIN], ids=["ours", "plain Dask"])
def test_a_killed_worker_fails_its_cell_once_and_no_other(
    tmp_path: Path, commands: tuple[str, str]
) -> None:
    with (
        site(tmp_path, commands[0]) as running_site,
        worker_at(running_site, commands[1]) as running,
    ):
        job_id = calibrating(running_site, 21, Variant("dynamic", "fbgemm"))
        (killed,) = descendants(running.process.pid)["worker"]
        children = [pid for found in descendants(killed).values() for pid in found]
        os.kill(killed, signal.SIGKILL)
        view = finished(running_site.service, job_id)
        assert states(view) == ["done", "failed", "done"], view.comparison.failures
        assert [cell.attempts for cell in view.cells] == [1, 1, 1]
        reason = view.comparison.failures[0].reason
        assert reason == "The worker was killed while it was busy with static on x86."
        assert killed not in descendants(running.process.pid)["worker"]
        assert children
        assert soon(lambda: all(map(is_gone, children)))


def test_a_worker_that_is_terminated_leaves_its_cell_to_the_next_one(ours: Site) -> None:
    service = ours.service
    with worker_at(ours, OURS[1]) as running:
        job_id = calibrating(ours, 22)
        pids = running.pids()
        assert len(pids) >= 4
        # As Ctrl-C in a terminal does it: to every process of the command.
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(PATIENCE_S) == 0
        assert soon(lambda: all(map(is_gone, pids)))
        assert "Traceback" not in running.said()
    assert soon(lambda: states(service.view(job_id)) == ["done", "waiting"])
    assert [host.location for host in service.hosts()] == ["here"]
    with worker_at(ours, OURS[1]):
        view = finished(service, job_id)
    assert states(view) == ["done", "done"], view.comparison.failures
    assert view.cells[1].attempts == 2


def test_a_killed_scheduler_is_named_in_every_row_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_TIMEOUT_S", 1.0)
    with site(tmp_path, OURS[0]) as running_site, worker_at(running_site, OURS[1]) as running:
        job_id = calibrating(running_site, 23, Variant("dynamic", "fbgemm"))
        pids = running.pids()
        running_site.scheduler.process.kill()
        view = finished(running_site.service, job_id)
        assert states(view) == ["done", "failed", "failed"]
        assert {row.reason for row in view.comparison.failures} == {
            f"No Dask scheduler answers at {running_site.address}."
        }
        assert "QUANTCORE_SCHEDULER" in view.message
        # The worker ends as well, and says why.
        assert running.process.wait(PATIENCE_S) == 1
        assert f"The scheduler at {running_site.address} has gone." in running.said()
        assert soon(lambda: all(map(is_gone, pids)))


@pytest.fixture
def web_server() -> Iterator[int]:
    """The port of something that answers, and is no scheduler."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("worker tcp://127.0.0.1:9", "No Dask scheduler answers at tcp://127.0.0.1:9."),
        ("worker carrier-pigeon://loft", "No Dask scheduler answers at carrier-pigeon://loft."),
        ("worker tcp://127.0.0.1:{port}", "No Dask scheduler answers at tcp://127.0.0.1:{port}."),
        ("scheduler --port {port}", "A scheduler cannot listen on port {port} of 127.0.0.1"),
    ],
    ids=["nobody there", "no such transport", "something else there", "a taken port"],
)
def test_what_cannot_be_reached_is_said_in_one_sentence(
    tmp_path: Path, web_server: int, command: str, sentence: str
) -> None:
    with started(tmp_path / "log", f"quantcore {command.format(port=web_server)}") as asked:
        assert asked.process.wait(PATIENCE_S) == 2
    first, remedy = asked.said().splitlines()
    assert first.startswith(sentence.format(port=web_server))
    assert remedy


def test_a_server_that_is_given_something_else_for_a_scheduler_says_so(
    tmp_path: Path, web_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_TIMEOUT_S", 1.0)
    service = Service(Settings(tmp_path, scheduler=f"tcp://127.0.0.1:{web_server}"))
    with pytest.raises(SchedulerError, match="No Dask scheduler answers"):
        service.hosts()
    service.close()
