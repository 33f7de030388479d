"""The folder of uploads: what is received, whose it is, and that nothing of it stays."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quantcore.errors import RequestError, StoreError
from quantcore.settings import Settings
from quantcore.uploads import UploadedImages, UploadedModel, Uploads, find, title, token_of, use

MODEL = UploadedModel(
    form="state_dict",
    architecture="torchvision/resnet18",
    classes=2,
    labels=("cat", "dog"),
    image_size=64,
    resize_size=73,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    parameters=1_000,
    weights="0" * 64,
)


@pytest.fixture
def uploads(settings: Settings) -> Uploads:
    return Uploads(replace(settings, upload_mb=0.001, upload_days=2.0))


def files(settings: Settings) -> list[Path]:
    return [path for path in (settings.data / "uploads").rglob("*") if path.is_file()]


def test_a_file_is_received_in_pieces_and_kept_as_it_is(uploads: Uploads) -> None:
    upload = uploads.receive("net.pt", iter([b"one ", b"two"]), "me")
    assert uploads.content(upload.token).read_bytes() == b"one two"
    assert (upload.size_bytes, upload.owner, upload.filename) == (7, "me", "net.pt")
    assert upload.expires_s - upload.created_s == pytest.approx(2 * 86_400)


@pytest.mark.parametrize(
    ("chunks", "said"), [([], "0 bytes"), ([b"x" * 600, b"x" * 600], "larger than")]
)
def test_nothing_is_left_of_what_is_refused(
    uploads: Uploads, settings: Settings, chunks: list[bytes], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        uploads.receive("net.pt", chunks)
    assert not files(settings)


def test_nothing_is_left_where_receiving_breaks_off(uploads: Uploads, settings: Settings) -> None:
    def broken() -> Iterator[bytes]:
        yield b"begun"
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        uploads.receive("net.pt", broken())
    assert not files(settings)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\models\\net.pt", "net.pt"),
        ("a\x00b\n.pt", "ab.pt"),
        ("", "file"),
        ("x" * 500 + ".pt", "x" * 117 + ".pt"),
    ],
)
def test_a_file_name_is_only_something_to_show(uploads: Uploads, given: str, kept: str) -> None:
    assert uploads.receive(given, [b"1"]).filename == kept


def test_tokens_are_long_and_never_the_same(uploads: Uploads) -> None:
    tokens = {uploads.receive("net.pt", [b"1"]).token for _ in range(20)}
    assert len(tokens) == 20
    assert {len(token) for token in tokens} == {32}


@pytest.mark.parametrize(
    "name", ["upload/", "upload/../../secret", "upload/" + "x" * 31, "bundled/mobilenet_v2"]
)
def test_a_name_that_is_no_token_leads_nowhere(name: str) -> None:
    with pytest.raises(RequestError, match="does not name an upload"):
        token_of(name)


def test_what_was_found_is_listed_for_its_owner_alone(uploads: Uploads) -> None:
    mine, theirs = (uploads.receive("net.pt", [b"1"], owner) for owner in ("me", "them"))
    assert uploads.of("me") == []
    uploads.describe(mine.token, model=MODEL)
    uploads.describe(theirs.token, images=UploadedImages(3))
    assert [upload.token for upload in uploads.of("me")] == [mine.token]
    assert uploads.get(mine.token, "me").model == MODEL
    with pytest.raises(RequestError, match="no longer here"):
        uploads.get(theirs.token, "me")


def test_the_name_finds_it_for_whoever_has_it(uploads: Uploads, settings: Settings) -> None:
    use(settings.data)
    upload = uploads.receive("Our net.v2.pt", [b"1"], "me")
    assert find(upload.name) == upload
    assert title(upload) == "Our net.v2"
    uploads.delete(upload.token)
    with pytest.raises(RequestError, match="no longer here"):
        find(upload.name)
    assert not files(settings)


def test_what_expired_is_neither_found_nor_listed(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = uploads.describe(uploads.receive("net.pt", [b"1"], "me").token, model=MODEL)
    assert uploads.expired() == []
    later = time.time() + 3 * 86_400
    monkeypatch.setattr("quantcore.uploads.library.time.time", lambda: later)
    assert uploads.of("me") == []
    assert [each.token for each in uploads.expired()] == [upload.token]
    with pytest.raises(RequestError, match="no longer here"):
        uploads.get(upload.token, "me")


def test_a_damaged_record_is_no_upload(uploads: Uploads, settings: Settings) -> None:
    upload = uploads.receive("net.pt", [b"1"], "me")
    record = settings.data / "uploads" / upload.token / "record.json"
    record.write_text(json.dumps({"token": 3}))
    with pytest.raises(RequestError, match="no longer here"):
        uploads.get(upload.token)


def test_what_a_killed_process_left_of_receiving_goes_after_a_day(
    uploads: Uploads, settings: Settings
) -> None:
    kept = uploads.receive("net.pt", [b"weights"], "me")
    begun, old = (settings.data / "uploads" / (letter * 32) for letter in "ab")
    for place in (begun, old):
        place.mkdir()
        (place / "content").write_bytes(b"half a fi")
    for place in (old, old / "content", uploads.folder(kept.token)):
        os.utime(place, (time.time() - 100_000,) * 2)
    uploads.remove_unfinished()
    assert begun.exists()
    assert not old.exists()
    assert uploads.content(kept.token).exists()


def test_where_uploads_take_all_they_may_no_more_are_received(settings: Settings) -> None:
    uploads = Uploads(replace(settings, quota_gb=1e-8))
    first = uploads.receive("net.pt", [b"x" * 20], "me")
    with pytest.raises(RequestError, match="as much as they may"):
        uploads.receive("net.pt", [b"1"], "me")
    uploads.delete(first.token)
    uploads.receive("net.pt", [b"1"], "me")
