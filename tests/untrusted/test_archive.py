"""Zips that ordinary programs write are read, in all their forms."""

import io
import zipfile
from pathlib import Path

import pytest

from quantcore.errors import RequestError
from quantcore.untrusted.archive import open_archive
from quantcore.untrusted.torch_files import read_torch_zip
from tests.untrusted import files

CONTENT = {"model/a": bytes(range(256)) * 40, "model/data.pkl": b"\x80\x02}."}


class _Stream(io.RawIOBase):
    """A file that cannot go back, so that sizes can only follow what they are the sizes of."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content) -> int:
        self.content += content
        return len(content)


def assert_read(path: Path, pictures: bool = False) -> None:
    archive = open_archive(path, pictures)
    assert {name: archive.read(name, 2**20) for name in archive.entries} == CONTENT


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_plain_and_packed_members(method: int, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(files.plain_zip(CONTENT, method))
    assert_read(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_whose_sizes_follow_them(method: int, tmp_path: Path) -> None:
    stream = _Stream()
    with zipfile.ZipFile(stream, "w", method) as file:  # type: ignore[arg-type]
        for name, content in CONTENT.items():
            file.writestr(name, content)
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(stream.content))
    assert_read(path)


def test_sizes_and_places_of_64_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    path = tmp_path / "a.zip"
    path.write_bytes(files.plain_zip(CONTENT))
    assert b"PK\x06\x06" in path.read_bytes()
    assert_read(path)


def test_a_comment_may_follow_pictures_but_no_model(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(files.plain_zip(CONTENT))
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"holidays"
    assert_read(path, pictures=True)
    with pytest.raises(RequestError, match="its end is missing"):
        open_archive(path)


def test_a_member_whose_bytes_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    content = files.plain_zip(CONTENT)
    path.write_bytes(content.replace(bytes(range(250)), bytes(250), 1))
    with pytest.raises(RequestError, match="model/a inside the file is damaged"):
        open_archive(path).read("model/a", 2**20)


def test_more_bytes_than_are_asked_for_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(files.plain_zip(CONTENT))
    with pytest.raises(RequestError, match="10,240 bytes, more than the 100"):
        open_archive(path).read("model/a", 100)


def test_tensors_are_read_where_the_zip_says_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(files.torch_zip())
    value = read_torch_zip(path).value
    for name, tensor in files.small_state().items():
        assert (value[name].read(path) == tensor.numpy()).all()
