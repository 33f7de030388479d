"""What the tests of child processes have a process pool's child do."""

import os
import struct
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from quantcore.errors import RequestError
from quantcore.sandbox import progress_sender
from tests.support.processes import hang


class StubbornError(Exception):
    """An exception that cannot be sent to another process."""

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("this stays here")


def add(_: Connection, left: int, right: int) -> int:
    return left + right


def count(connection: Connection, steps: int) -> str:
    for step in range(steps):
        progress_sender(connection)(f"step {step}", step / steps)
    return "counted"


def echo(connection: Connection) -> str:
    while (message := connection.recv()) != "stop":
        connection.send(message)
    return "stopped"


def refuse(_: Connection) -> None:
    raise RequestError("No.", "Ask for something else.")


def be_stubborn(_: Connection) -> None:
    raise StubbornError("cannot travel")


def leave(_: Connection) -> None:
    os._exit(3)


def sleep(connection: Connection) -> None:
    """Say that it has begun, and never answer."""
    connection.send("asleep")
    hang()


def look_around(_: Connection) -> dict[str, object]:
    """Return what a fresh child finds: threads, torch, and who started it."""
    return {
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "python_threads": threading.active_count(),
        "torch": "torch" in sys.modules,
        "server_threads": len(list(Path(f"/proc/{os.getppid()}/task").iterdir())),
        "environment": sorted(os.environ),
    }


_noted: list[str] = []


def note(text: str) -> None:
    """Keep a text in this process."""
    _noted.append(text)


def noted(_: Connection) -> list[str]:
    """Return the texts that a child found kept when it was forked."""
    return _noted


def multiply(_: Connection, threads: int) -> tuple[int, float]:
    """Return the threads in use and the corner of a product that is worth more than one."""
    import torch

    torch.set_num_threads(threads)
    ones = torch.ones(512, 512)
    product = ones @ ones + torch.relu(ones)
    return torch.get_num_threads(), float(product[0, 0])


def hoard(_: Connection, gigabytes: float) -> int:
    """Take that much memory and write to it; return the bytes held."""
    import torch

    return int(torch.ones(int(gigabytes * 1e9 / 4)).nbytes)


def chatter(connection: Connection) -> None:
    """Tell of progress without end, and never answer."""
    while True:
        progress_sender(connection)("still", 0.5)
        time.sleep(0.01)


def dribble(connection: Any) -> None:
    """Promise a message, and send it far more slowly than anybody waits."""
    os.write(connection._connection.fileno(), struct.pack("!i", 1_000))
    while True:
        os.write(connection._connection.fileno(), b" ")
        time.sleep(0.01)


def boast(connection: Any) -> None:
    """Promise a message that is longer than any answer."""
    os.write(connection._connection.fileno(), struct.pack("!iQ", -1, 2**40))
    hang()


def say(connection: Any, content: bytes) -> None:
    """Send these very bytes as a message."""
    connection._connection.send_bytes(content)
    hang()


def send_much(connection: Connection, characters: int) -> str:
    return "x" * characters


def end_by(_: Connection, number: int) -> None:
    os.kill(os.getpid(), number)
    hang()


def print_aloud(_: Connection, words: str) -> str:
    """Print as Python does, as its errors do, and as a C library does."""
    for stream in (sys.stdout, sys.stderr):
        stream.write(f"{words}\n")
        stream.flush()
    os.write(2, f"{words}\n".encode())
    return "said"
