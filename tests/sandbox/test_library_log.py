"""What children print goes to a log, never to the terminal of whoever started them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from quantcore.sandbox import library_log

SCRIPT = """
from quantcore.sandbox import ProcessPool
with ProcessPool(["tests.support.child_functions"]) as pool:
    with pool.spawn("tests.support.child_functions:print_aloud", "a library's words") as child:
        print(child.receive())
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return library_log.path()


def written(text: bytes) -> None:
    descriptor = library_log.descriptor()
    os.write(descriptor, text)
    os.close(descriptor)


def test_children_print_into_the_log_by_whatever_way(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("said\n", "")
    (log,) = tmp_path.glob("quantcore-libraries-*.log")
    assert log.read_text().count("a library's words") == 3


def test_the_log_grows_and_is_emptied_once_it_is_long(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(b"one")
    written(b"two")
    assert log.read_bytes() == b"onetwo"
    assert log.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(library_log, "MAX_BYTES", 5)
    written(b"new")
    assert log.read_bytes() == b"new"


def test_a_link_in_its_place_is_not_followed(log: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"keep")
    log.symlink_to(tmp_path / "precious")
    written(b"lost")
    assert (tmp_path / "precious").read_bytes() == b"keep"
