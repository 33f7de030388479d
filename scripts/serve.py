"""Serve the pages: `python -m scripts.serve [PORT] [--host HOST]`.

Says in one sentence why it cannot, before anything starts; otherwise becomes Streamlit, which
prints the address as soon as it answers.
"""

import argparse
import errno
import math
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from quantcore.errors import QuantcoreError
from quantcore.schema import untried_torch
from quantcore.settings import DEFAULT_UPLOAD_MB, Settings

PROJECT = Path(__file__).parents[1]
DEFAULT_PORT = 8501


def parse_port(text: str) -> int:
    """Return the TCP port that `text` names.

    Raises:
        ValueError: it names none; the sentence says what would.
    """
    port = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    if not 1 <= port <= 65_535:
        raise ValueError(f"{text!r} is no port. Take one from 1 to 65535: make run PORT=8502")
    return port


def require_free(host: str, port: int) -> None:
    """Return if a server could listen on `port` of `host`.

    Raises:
        ValueError: another process holds the port, or this one may not have it.
    """
    with socket.socket() as probe:
        # As the server does it, so that connections of the last one, still closing, do no harm.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(_refusal(error, host, port)) from error


def streamlit_command(host: str, port: int, env: Mapping[str, str] = os.environ) -> list[str]:
    """Return the command that serves `app.py`; the rest is in `.streamlit/config.toml`."""
    options = {
        "server.maxUploadSize": str(upload_limit(env)),
        "server.address": host,
        "server.port": str(port),
        "browser.serverAddress": "localhost" if host in {"127.0.0.1", "0.0.0.0"} else host,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", "app.py", *flags]


def upload_limit(env: Mapping[str, str]) -> int:
    """Return how many megabytes one upload may have, as Streamlit takes them."""
    try:
        limit_mb = Settings.from_env(env).upload_mb
    # The pages say what cannot be read.
    except QuantcoreError:
        limit_mb = DEFAULT_UPLOAD_MB
    return max(1, math.ceil(limit_mb))


def main() -> None:
    """Check the port, then become Streamlit."""
    parser = argparse.ArgumentParser(prog="python -m scripts.serve", description="Serve the pages.")
    parser.add_argument("port", nargs="?", default=str(DEFAULT_PORT))
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    try:
        port = parse_port(arguments.port)
        require_free(arguments.host, port)
    except ValueError as problem:
        sys.exit(str(problem))
    os.chdir(PROJECT)
    if warning := untried_torch():
        print(warning, file=sys.stderr, flush=True)
    command = streamlit_command(arguments.host, port)
    os.execv(command[0], command)


def _refusal(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        remedy = f"Stop what runs there, or take another: make run PORT={port + 1}"
        return f"Port {port} is taken. {remedy}"
    if error.errno == errno.EACCES:
        return (
            f"Port {port} is for the administrator only. Take one from 1024 on: make run PORT=8501"
        )
    return f"Cannot listen on {host}: {error.strerror}. Take an address of this machine."


if __name__ == "__main__":
    main()
