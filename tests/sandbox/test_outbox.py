"""What a child leaves for the store: taken where it is what it says, and nothing else."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quantcore.cache import Store
from quantcore.errors import ChildDiedError
from quantcore.sandbox import outbox
from quantcore.settings import Settings

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store.open(settings)


def test_files_pass_from_a_child_into_the_store(store: Store) -> None:
    with store.outbox() as folder:
        artifact = outbox.Outbox(folder).add(lambda path: path.write_bytes(CONTENT), "torchscript")
        artifacts = outbox.take(folder, store)
    assert artifacts == {SHA256: artifact}
    assert store.checked_path(SHA256).read_bytes() == CONTENT
    assert not folder.exists()


def test_what_is_half_written_is_not_taken(store: Store) -> None:
    with store.outbox() as folder:
        (folder / "draft").write_bytes(CONTENT)
        assert outbox.take(folder, store) == {}
    assert store.maintenance.size_bytes() == 0


def link(folder: Path) -> None:
    (folder / f"{SHA256}.torchscript").symlink_to("/etc/passwd")


def hard_link(folder: Path) -> None:
    other = folder.parent / "other"
    other.write_bytes(CONTENT)
    os.link(other, folder / f"{SHA256}.torchscript")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / f"{SHA256}.torchscript")


def nested(folder: Path) -> None:
    (folder / f"{SHA256}.torchscript").mkdir()


def lie(folder: Path) -> None:
    (folder / f"{SHA256}.torchscript").write_bytes(b"other weights")


def many(folder: Path) -> None:
    for index in range(outbox.MAX_FILES + 1):
        (folder / f"{index}.torchscript").write_bytes(CONTENT)


@pytest.mark.parametrize("leave", [link, hard_link, pipe, nested, lie, many])
def test_what_an_outbox_never_holds_is_refused(store: Store, leave: Callable[[Path], None]) -> None:
    with store.outbox() as folder:
        leave(folder)
        with pytest.raises(ChildDiedError, match="not what it said"):
            outbox.take(folder, store)


def test_an_outbox_over_its_quota_ends_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SECONDS_BETWEEN_CHECKS", 0.0)
    monkeypatch.setattr(outbox, "MAX_BYTES", 100_000)
    stops = outbox.within_quota(tmp_path, lambda: False)
    (tmp_path / "draft").write_bytes(b"x" * 50_000)
    assert not stops()
    (tmp_path / "other").write_bytes(b"x" * 60_000)
    for _ in range(2):
        with pytest.raises(ChildDiedError, match="wrote more"):
            stops()


def test_a_quota_check_still_asks_whether_to_stop(tmp_path: Path) -> None:
    assert outbox.within_quota(tmp_path, lambda: True)()
