"""The cache when files rot, disks fill and folders cannot be written to."""

import errno
import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from quantcore.cache import Store
from quantcore.errors import DamagedArtifactError, StoreError
from quantcore.settings import Settings
from tests.cache.helpers import (
    CONTENT,
    SHA256,
    add,
    artifact_of,
    child_that,
    convert,
    convert_in,
    files_under,
)
from tests.support.processes import hang


def test_a_damaged_file_is_moved_aside_with_the_facts_about_it(
    store: Store, settings: Settings
) -> None:
    sha256 = convert(store)
    store.put("result", "k", "{}", [sha256])
    other = convert(store, "other", b"other")
    artifact_of(settings).write_bytes(b"W" + CONTENT[1:])
    with pytest.raises(DamagedArtifactError, match="moved to quarantine") as error:
        store.checked_path(sha256)
    assert error.value.remedy
    assert [name[:64] for name in files_under(settings.data / "quarantine")] == [sha256]
    assert store.get("conversion", "k") is None
    assert store.get("result", "k") is None
    assert store.checked_path(other)
    convert(store)
    assert store.checked_path(sha256).read_bytes() == CONTENT


LOOKS: dict[str, Callable[[Store, str], object]] = {
    "path": Store.path,
    "checked_path": Store.checked_path,
    "using": lambda store, sha256: store.using(sha256).__enter__(),
    "put": lambda store, sha256: store.put("conversion", "k", "{}", [sha256]),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_missing_file_takes_its_promise_with_it(
    store: Store, settings: Settings, look: str
) -> None:
    sha256 = convert(store)
    store.put("result", "k", "{}", [sha256])
    artifact_of(settings).unlink()
    with pytest.raises(DamagedArtifactError, match="no longer in the cache"):
        LOOKS[look](store, sha256)
    assert store.get("conversion", "k") is None
    assert store.get("result", "k") == "{}"


def test_verify_finds_what_is_damaged_missing_and_orphaned(
    store: Store, settings: Settings
) -> None:
    damaged = convert(store, "damaged", b"a")
    missing = convert(store, "missing", b"b")
    whole = convert(store, "whole", b"c")
    orphan = add(store, b"d")
    artifact_of(settings, damaged).write_bytes(b"rot")
    artifact_of(settings, missing).unlink()
    report = store.maintenance.verify()
    assert report.checked == 3
    assert (report.damaged, report.missing, report.orphans) == ((damaged,), (missing,), (orphan,))
    assert not report.is_clean
    assert report.sentence().startswith("1 of 3 files were damaged")
    assert store.maintenance.verify().is_clean
    assert [entry.key for entry in store.maintenance.entries()] == ["whole"]
    assert store.checked_path(whole)


@pytest.mark.parametrize(
    "rot",
    [lambda _: b"not a database" * 400, lambda old: old[:100], lambda old: old[:5000]],
    ids=["garbage", "header only", "cut off"],
)
def test_a_corrupt_database_is_begun_anew_and_no_artifact_is_lost(
    settings: Settings, rot: Callable[[bytes], bytes]
) -> None:
    convert_in(settings)
    database = settings.data / "facts.sqlite"
    database.write_bytes(rot(database.read_bytes()))
    with Store.open(settings) as store:
        assert store.maintenance.entries() == []
        assert store.checked_path(SHA256).read_bytes() == CONTENT
        assert any(n.startswith("facts.sqlite") for n in files_under(settings.data / "quarantine"))
        convert(store)
        assert store.maintenance.verify().is_clean


def test_rot_deep_in_the_database_is_reported_and_repaired_at_the_next_open(
    settings: Settings,
) -> None:
    with Store.open(settings) as store:
        add(store)
        for key in range(50):
            store.put("result", str(key), json.dumps("x" * 3_000))
    database = settings.data / "facts.sqlite"
    content = database.read_bytes()
    database.write_bytes(content[:20_480] + b"\xff" * (len(content) - 20_480))
    with Store.open(settings) as store, pytest.raises(StoreError, match="is damaged") as error:
        store.maintenance.verify()
    assert "start again" in error.value.remedy
    with Store.open(settings) as store:
        assert store.maintenance.entries() == []
        assert store.path(SHA256)


def test_a_corrupt_database_that_another_process_uses_is_left_alone(settings: Settings) -> None:
    def use(ready: Callable[[], None]) -> None:
        with Store.open(settings), closing(sqlite3.connect(settings.data / "facts.sqlite")) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            ready()
            hang()

    with child_that(use):
        (settings.data / "facts.sqlite").write_bytes(b"not a database" * 400)
        with pytest.raises(StoreError, match="is damaged") as error:
            Store.open(settings)
        assert "Stop every quantcore process" in error.value.remedy
    Store.open(settings).close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=1m", "none"):
        yield folder


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"may not mount here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(small_disk: Path) -> None:
    settings = Settings(data=small_disk / "data")
    with Store.open(settings) as store:
        convert(store)
        with pytest.raises(StoreError, match=r"disk that holds .* is full") as error:
            add(store, b"x" * 2_000_000)
        assert "cache clear" in error.value.remedy
        assert files_under(settings.data / "artifacts") == [SHA256]
        assert not any((settings.data / "tmp").iterdir())
        assert store.maintenance.verify().is_clean


def test_facts_on_a_full_disk_are_kept_and_clearing_makes_room(small_disk: Path) -> None:
    with Store.open(Settings(data=small_disk / "data")) as store:
        convert(store, "big", b"y" * 300_000)
        fill(small_disk / "filler")
        with pytest.raises(StoreError, match="is full"):
            store.put("result", "k", json.dumps("x" * 400_000))
        assert store.get("result", "k") is None
        assert store.get("conversion", "big")
        assert store.maintenance.clear().bytes == 300_000
        convert(store, "again", b"z" * 200_000)
        assert store.maintenance.verify().is_clean


def test_a_library_that_hides_a_full_disk_in_a_runtime_error(small_disk: Path) -> None:
    def write(path: Path) -> None:
        fill(path)
        raise RuntimeError("unexpected pos 832 vs 726")

    with Store.open(Settings(data=small_disk / "data")) as store:
        with pytest.raises(StoreError, match="is full"):
            store.add(write, "test")

        def broken(path: Path) -> None:
            raise RuntimeError("a fault of the library")

        with pytest.raises(RuntimeError, match="fault of the library"):
            store.add(broken, "test")


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 4_096):
            pass


@pytest.mark.parametrize("exists", [True, False], ids=["existing store", "new store"])
def test_a_read_only_disk_is_one_sentence(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    if exists:
        convert_in(Settings(data=folder / "data"))
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        with pytest.raises(StoreError, match="cannot be written to") as error:
            Store.open(Settings(data=folder / "data"))
    assert "QUANTCORE_DATA" in error.value.remedy


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EROFS, "cannot be written to"),
        (errno.EACCES, "cannot be written to"),
        (errno.ENOSPC, "is full"),
        (errno.EIO, "cannot be used"),
    ],
    ids=errno.errorcode.get,
)
@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "replace"])
def test_a_failing_disk_is_one_sentence_at_every_step(
    store: Store,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    sentence: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreError, match=sentence) as error:
            add(store)
    assert error.value.remedy
    assert files_under(settings.data / "artifacts") == []
    assert not any((settings.data / "tmp").iterdir())
    assert store.path(add(store))


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_in_the_folders_place_is_one_sentence(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("here first")
    with pytest.raises(StoreError, match="a file stands in its way"):
        Store.open(Settings(data=tmp_path / "file" / below))
