"""What the processes that measure leave on the terminal of the command that started them."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from quantcore.cache import locks
from quantcore.engine.pipeline import MACHINE_LOCK
from quantcore.settings import Settings
from tests.support.processes import descendants, is_gone, soon

PROJECT = Path(__file__).parents[2]
DASHBOARD_PORT = 8787
PROGRESS = re.compile(r"\s*\d+%  ")


def test_a_cluster_says_nothing_where_the_usual_port_is_taken() -> None:
    with socket.socket() as taken:
        # Whoever else has it does as well.
        with suppress(OSError):
            taken.bind(("127.0.0.1", DASHBOARD_PORT))
            taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "quantcore.jobs.cluster"],
            cwd=PROJECT,
            input="",
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert done.stdout.startswith("tcp://127.0.0.1:")
    assert done.stderr == ""


@pytest.mark.timed
def test_a_command_that_is_terminated_while_it_waits_says_one_sentence(settings: Settings) -> None:
    arguments = ["compare", "bundled/mobilenet_v2", "--workflows", "dynamic", "--backends", "x86"]
    with (
        locks.exclusive(MACHINE_LOCK),
        subprocess.Popen(
            [sys.executable, "-m", "quantcore", *arguments],
            cwd=PROJECT,
            env=os.environ | {"QUANTCORE_DATA": str(settings.data)},
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "waiting for this machine" in line:
                break
        else:
            pytest.fail(f"It ended before it waited: {lines}")
        pids = [pid for found in descendants(process.pid).values() for pid in found]
        process.terminate()
        # Progress may be told once more before the command hears of its end.
        lines = process.stderr.read().splitlines()
        (sentence,) = (line for line in lines if not PROGRESS.match(line))
    assert "What was measured is kept" in sentence
    assert process.returncode == 128 + signal.SIGINT
    assert pids
    assert soon(lambda: all(map(is_gone, pids)))
