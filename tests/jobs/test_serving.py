"""A server that starts with comparisons under way, and ends in the midst of one."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from quantcore.engine import cell_key, plan
from quantcore.jobs import Host, JobQueue, NewCell, NewJob
from quantcore.jobs.comparisons import weight
from quantcore.schema import CompareRequest, ImageSpec, MeasureSpec, ModelSpec, current_environment
from quantcore.settings import Settings
from scripts.live import live_server
from scripts.serve import streamlit_command
from tests.support.processes import is_gone, soon

TINY = "torchvision/shufflenet_v2_x0_5@random"


def ask(queue: JobQueue) -> str:
    """Write a comparison down as a server does that ends before it begins it."""
    request: CompareRequest = plan(
        ModelSpec(TINY), ["dynamic"], ["x86"], {}, ImageSpec(), MeasureSpec(threads=1)
    )
    environment = current_environment()
    cells = [
        NewCell(cell_key(request, variant, environment), weight(variant))
        for variant in request.variants
    ]
    queue.jobs.add(NewJob("asked", "somebody", "", (request,), Host(environment)), cells)
    return "asked"


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue.open(Settings(data=tmp_path))


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT], ids=["terminate", "ctrl-c"])
def test_a_server_that_is_terminated_leaves_no_process_and_the_cell_to_the_next(
    queue: JobQueue, tmp_path: Path, ending: signal.Signals
) -> None:
    job_id = ask(queue)

    def states() -> list[str]:
        return [cell.state for cell in queue.jobs.get(job_id).cells]

    with live_server(tmp_path) as server:
        assert soon(lambda: "running" in states())
        assert soon(lambda: any(cell.worker for cell in queue.jobs.get(job_id).cells))
        started = [process.pid for process in psutil.Process(server.pid).children(recursive=True)]
        assert started
        os.kill(server.pid, ending)
        assert soon(lambda: is_gone(server.pid))
        assert soon(lambda: all(map(is_gone, started)))
    assert states() == ["waiting", "waiting"]
    assert queue.jobs.get(job_id).cells[0].deaths == 0
    queue.close()


def test_a_server_without_a_data_folder_answers(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with live_server(folder, QUANTCORE_DATA=str(in_the_way)):
        log = (folder / "server.log").read_text()
    assert "Nothing can be measured." in log
    assert str(in_the_way) in log


@pytest.mark.parametrize(
    ("asked", "limit"), [(None, "1000"), ("30", "30"), ("0.2", "1"), ("much", "1000")]
)
def test_the_server_takes_files_as_large_as_the_settings_say(asked: str | None, limit: str) -> None:
    env = {} if asked is None else {"QUANTCORE_UPLOAD_MB": asked}
    assert f"--server.maxUploadSize={limit}" in streamlit_command("127.0.0.1", 8501, env)
