"""Files to a user's folder: whole or not at all, and never over another file."""

import os
import subprocess
from pathlib import Path

import pytest

from quantcore.errors import RequestError, StoreError
from quantcore.exports import deliver, require_free
from tests.cache.test_damage import mounted

PAIR: dict[str, Path | bytes] = {
    "model.ptl": b"weights" * 100,
    "model.ptl.verification.json": b"{}",
}


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_bytes_and_files_are_written_each_under_its_name(tmp_path: Path) -> None:
    source, folder = tmp_path / "stored", tmp_path / "out"
    folder.mkdir()
    source.write_bytes(b"from the store")
    names: dict[str, Path | bytes] = {"ä model.ptl": source, "verification.json": b"{}"}
    assert deliver(folder, names, force=False) == [folder / name for name in names]
    assert listing(folder) == {"ä model.ptl": b"from the store", "verification.json": b"{}"}
    assert source.read_bytes() == b"from the store"


@pytest.mark.parametrize("taken", PAIR)
@pytest.mark.parametrize("has_links", [True, False], ids=["hard links", "no hard links"])
def test_a_taken_name_is_left_alone_and_nothing_is_written_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    (tmp_path / taken).write_bytes(b"mine")
    with pytest.raises(RequestError, match="is there already") as caught:
        deliver(tmp_path, PAIR, force=False)
    assert "--force" in caught.value.remedy
    assert listing(tmp_path) == {taken: b"mine"}


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_links)
    deliver(tmp_path, PAIR, force=False)
    assert listing(tmp_path) == PAIR


def no_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_force_writes_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "model.ptl").write_bytes(b"old")
    deliver(tmp_path, PAIR, force=True)
    assert listing(tmp_path) == PAIR


@pytest.mark.parametrize("force", [True, False])
def test_a_full_disk_leaves_the_folder_as_it_was(tmp_path: Path, force: bool) -> None:
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=64k", "none"):
        (tmp_path / "other").write_bytes(b"mine")
        with pytest.raises(StoreError, match="cannot be written to: No space left") as caught:
            deliver(tmp_path, {"small": b"x", "large": b"x" * 100_000}, force=force)
        assert "Make room" in caught.value.remedy
        assert listing(tmp_path) == {"other": b"mine"}


def test_a_folder_that_is_read_only_is_one_sentence(tmp_path: Path) -> None:
    with mounted(tmp_path, "--bind", str(tmp_path)):
        remount = ["mount", "-o", "remount,bind,ro", str(tmp_path)]
        subprocess.run(remount, check=True)
        with pytest.raises(StoreError, match="cannot be written to: Read-only file system"):
            deliver(tmp_path, PAIR, force=False)


def test_a_folder_that_is_not_there_is_made_with_those_above_it(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    require_free(folder, list(PAIR), force=False)
    assert listing(tmp_path) == {}, "nothing is made before there is something to write"
    deliver(folder, PAIR, force=False)
    assert listing(folder) == PAIR


def test_a_relative_folder_is_made_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_free(Path("files"), list(PAIR), force=False)
    deliver(Path("files"), PAIR, force=False)
    assert listing(tmp_path / "files") == PAIR


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("below", ["", "in it"])
def test_a_file_where_the_folder_should_be_is_refused_beforehand(
    tmp_path: Path, below: str, force: bool
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="is a file, not a folder") as caught:
        require_free(tmp_path / "file" / below, [], force=force)
    assert "--out" in caught.value.remedy


def test_taken_names_are_refused_beforehand_unless_forced(tmp_path: Path) -> None:
    require_free(tmp_path, list(PAIR), force=False)
    (tmp_path / "model.ptl.verification.json").touch()
    with pytest.raises(RequestError, match=r"model\.ptl\.verification\.json is there already"):
        require_free(tmp_path, list(PAIR), force=False)
    require_free(tmp_path, list(PAIR), force=True)
