"""A running server and a headless browser, for tests and screenshots."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from scripts.serve import PROJECT, streamlit_command

HOST = "127.0.0.1"
START_S = 60.0
STOP_S = 10.0
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@dataclass(frozen=True)
class LiveServer:
    """A server that answers: where, which process, and the data folder it works in."""

    url: str
    pid: int
    data: Path


@contextmanager
def live_server(data: Path, **variables: str) -> Iterator[LiveServer]:
    """Serve the pages on a free port, and end every process of the server afterwards.

    Args:
        data: the server's data folder; its log, `server.log`, is written there too.
        variables: environment variables to set beside `QUANTCORE_DATA`.

    Raises:
        RuntimeError: it did not answer in time; the message holds its log.
    """
    port = _free_port()
    data.mkdir(parents=True, exist_ok=True)
    log = data / "server.log"
    env = os.environ | {"QUANTCORE_DATA": str(data)} | variables
    with log.open("wb") as output:
        process = subprocess.Popen(
            streamlit_command(HOST, port, env),
            cwd=PROJECT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://{HOST}:{port}"
        if not _answers(process, url):
            raise RuntimeError(f"The server did not start:\n{log.read_text()}")
        yield LiveServer(url, process.pid, data)
    finally:
        _end_group(process)


@contextmanager
def live_browser() -> Iterator[Browser]:
    """Yield a headless Chromium: Debian's, or the one that `CHROMIUM` names.

    Raises:
        RuntimeError: there is none.
    """
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("There is no Chromium. `make chromium` installs Debian's.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, headless=True, args=list(CHROMIUM_FLAGS)
        )
        yield browser
        browser.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                return True
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    return False


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the server and its workers to end, then insist."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_S)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    finally:
        # Workers share the server's group; whatever outlived it ends here.
        _kill_group(process.pid)
        process.wait()


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
