"""What the tests of the store share: small artifacts, and processes to kill."""

import hashlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from quantcore.cache import Store
from quantcore.settings import Settings

CONTENT = b"weights" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def writer(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def add(store: Store, content: bytes = CONTENT) -> str:
    return store.add(writer(content), "test").sha256


def convert(store: Store, key: str = "k", content: bytes = CONTENT) -> str:
    """Do what the engine does: store the file, then the facts about it."""
    sha256 = add(store, content)
    store.put("conversion", key, json.dumps({"artifact": sha256}), [sha256])
    return sha256


def files_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def artifact_of(settings: Settings, sha256: str = SHA256) -> Path:
    return settings.data / "artifacts" / sha256[:2] / sha256


def age(settings: Settings, sha256: str, seconds: float) -> None:
    when = time.time() - seconds
    os.utime(artifact_of(settings, sha256), (when, when))


def age_facts(settings: Settings, key: str, seconds: float) -> None:
    with sqlite3.connect(settings.data / "facts.sqlite") as db:
        db.execute("UPDATE facts SET last_used = last_used - ? WHERE key = ?", (seconds, key))
    db.close()


def in_child(work: Callable[..., None], *arguments: object) -> int:
    """Run `work` in a forked process and return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        work(*arguments)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
        os._exit(1)


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def child_that(work: Callable[..., None], *arguments: object) -> Iterator[int]:
    """Run `work(ready, …)` in a process, go on when it calls `ready`, kill it at the end."""
    reading, writing = os.pipe()
    child = in_child(work, lambda: os.write(writing, b"!"), *arguments)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"!"
        yield child
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def convert_in(settings: Settings, key: str = "k", content: bytes = CONTENT) -> None:
    with Store.open(settings) as store:
        convert(store, key, content)
