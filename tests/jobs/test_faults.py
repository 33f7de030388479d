"""Processes killed at random moments of a real comparison: nothing lost, nothing done twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from quantcore.engine import FLOAT32
from quantcore.schema import (
    CompareRequest,
    ImageSpec,
    JobView,
    MeasureSpec,
    ModelSpec,
    Variant,
    VariantResult,
)
from quantcore.service import Service
from quantcore.settings import Settings
from tests.conftest import SEED
from tests.support.processes import descendants, is_gone, soon

PROJECT = Path(__file__).parents[2]
REQUEST = CompareRequest(
    ModelSpec("bundled/mobilenet_v2"),
    (FLOAT32, Variant("dynamic", "x86"), Variant("static", "x86", (("calibration_images", 64),))),
    ImageSpec(None, 32, 32),
    MeasureSpec(threads=1, starts=2, rounds=1, time_budget_s=0.2),
)
VICTIMS = ("worker", "scheduler", "server")
MOMENTS = 20
IN_EVERY_TEST = 1
# Roughly what the request takes on an idle machine: later moments would find it done.
LATEST_S = 8.0
WAIT_S = 200.0


@dataclass
class Served:
    """The process that serves, and what is asked of it."""

    process: "subprocess.Popen[str]"

    def ask(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def pids(self, kind: str) -> list[int]:
        if kind == "server":
            return [self.process.pid]
        return descendants(self.process.pid).get("cluster" if kind == "scheduler" else kind, [])


@contextmanager
def served(data: Path) -> Iterator[Served]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.served", str(data)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Served(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=WAIT_S)


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        with_children = [pid, *(each.pid for each in psutil.Process(pid).children(recursive=True))]
        os.kill(pid, signal.SIGKILL)
        # Whatever it started ends with it, without anybody's help.
        assert soon(lambda gone=with_children: all(map(is_gone, gone)))  # type: ignore[misc]


def ended(viewer: Service, job_id: str) -> JobView:
    assert soon(lambda: not viewer.view(job_id).is_open, WAIT_S), viewer.view(job_id).cells
    return viewer.view(job_id)


def finish(data: Path, viewer: Service, job_id: str, server: Served) -> JobView:
    """See the comparison to its end, with a new server where the old one is gone."""
    if server.process.poll() is None:
        view = ended(viewer, job_id)
        if view.comparison.failures:
            server.ask(f"retry {job_id}")
        return ended(viewer, job_id)
    with served(data):
        return ended(viewer, job_id)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, marks=[pytest.mark.soak] if moment >= IN_EVERY_TEST else [])
        for moment in range(MOMENTS)
    ],
)
@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_lost_when_a_process_is_killed(victim: str, moment: int, tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    chance = random.Random(f"{SEED} {victim} {moment}")
    with closing(Service(settings)) as viewer, served(tmp_path) as server:
        job_id = server.ask(f"start {REQUEST.to_json()}")
        assert soon(lambda: bool(server.pids(victim)))
        time.sleep(chance.uniform(0, LATEST_S))
        kill_all(server.pids(victim))
        view = finish(tmp_path, viewer, job_id, server)
        assert [cell.state for cell in view.cells] == ["done"] * 3, view.comparison.failures
        assert viewer.store.maintenance.verify().is_clean
        kept = [entry.key for entry in viewer.store.maintenance.entries() if entry.kind == "result"]
        assert sorted(kept) == sorted(row.key for row in view.comparison.results)
        assert all(isinstance(row, VariantResult) for row in view.comparison.results)
        assert not any(path.is_file() for path in (tmp_path / "tmp").rglob("*"))


def test_two_servers_on_one_folder_do_everything_once(tmp_path: Path) -> None:
    with (
        closing(Service(Settings(tmp_path))) as viewer,
        served(tmp_path) as first,
        served(tmp_path) as second,
    ):
        ids = [server.ask(f"start {REQUEST.to_json()}") for server in (first, second)]
        assert ids[0] == ids[1]
        view = ended(viewer, ids[0])
        assert [(cell.state, cell.attempts) for cell in view.cells] == [("done", 1)] * 3
        # One leads, the other starts nothing.
        assert sorted(len(server.pids("scheduler")) for server in (first, second)) == [0, 1]
