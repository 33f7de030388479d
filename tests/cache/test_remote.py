"""Files between machines that share no folder: two data folders, and a real S3 endpoint between."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from s3fs import S3FileSystem

from quantcore.cache import Store
from quantcore.errors import DamagedArtifactError, StoreError
from quantcore.settings import Settings
from tests.cache.helpers import (
    CONTENT,
    SHA256,
    add,
    age,
    artifact_of,
    child_that,
    convert,
    exit_code,
    files_under,
    in_child,
)
from tests.cache.test_damage import mounted
from tests.cache.test_processes import kill_at_line
from tests.support.processes import hang, soon

BUCKET, FOLDER = "figures", "quantcore/files"
ADDRESS = f"s3://{BUCKET}/{FOLDER}"
DAMAGED = b"W" + CONTENT[1:]
# Less than any number of tries at full length would take; more than a busy machine needs.
SOON_S = 40


@dataclass(frozen=True)
class Bucket:
    """The storage seen past the store: with Amazon's own client, and where it listens."""

    client: Any
    endpoint: str

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [each["Key"].removeprefix(f"{FOLDER}/") for each in found]

    def write(self, sha256: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{sha256}", Body=content)

    def writes(self) -> int:
        """Return how often anything was written."""
        return len(self.client.list_object_versions(Bucket=BUCKET).get("Versions", []))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server of this module's own."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        assert soon(lambda: listens(port))
        yield f"http://127.0.0.1:{port}"
        server.kill()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, and this process told where it is, in the ways a user would."""
    told = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    for name, text in told.items():
        monkeypatch.setenv(name, text)
    S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield Bucket(client, endpoint)
    for kind in ("Versions", "DeleteMarkers"):
        for each in client.list_object_versions(Bucket=BUCKET).get(kind, []):
            client.delete_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])
    client.delete_bucket(Bucket=BUCKET)
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def here(bucket: Bucket, tmp_path: Path) -> Iterator[Store]:
    with Store.open(Settings(tmp_path / "here", artifacts=ADDRESS)) as opened:
        yield opened


@pytest.fixture
def there(bucket: Bucket, tmp_path: Path) -> Iterator[Store]:
    """The store of another machine, which has a data folder of its own."""
    with Store.open(Settings(tmp_path / "there", artifacts=ADDRESS)) as opened:
        yield opened


def test_what_one_machine_adds_lies_under_its_digest(here: Store, bucket: Bucket) -> None:
    convert(here)
    assert bucket.names() == [SHA256]
    body = bucket.client.get_object(Bucket=BUCKET, Key=f"{FOLDER}/{SHA256}")["Body"]
    assert body.read() == CONTENT


def path_of(store: Store) -> bytes:
    return store.path(SHA256).read_bytes()


def checked_path_of(store: Store) -> bytes:
    return store.checked_path(SHA256).read_bytes()


def used(store: Store) -> bytes:
    with store.using(SHA256) as (path,):
        return path.read_bytes()


@pytest.mark.parametrize("want", [path_of, checked_path_of, used])
def test_what_one_machine_adds_another_finds(
    here: Store, there: Store, bucket: Bucket, tmp_path: Path, want: Callable[[Store], bytes]
) -> None:
    add(here)
    assert want(there) == CONTENT
    assert files_under(tmp_path / "there" / "artifacts") == [SHA256]
    assert not any((tmp_path / "there" / "tmp").iterdir())
    # It is here now, whatever becomes of the storage.
    bucket.client.delete_object(Bucket=BUCKET, Key=f"{FOLDER}/{SHA256}")
    assert want(there) == CONTENT


def test_a_stored_file_is_not_sent_again(here: Store, there: Store, bucket: Bucket) -> None:
    convert(here)
    convert(here, "another question")
    convert(there)
    assert bucket.writes() == 1


def test_half_a_file_is_replaced(here: Store, there: Store, bucket: Bucket) -> None:
    bucket.write(SHA256, CONTENT[:100])
    add(here)
    assert used(there) == CONTENT


def test_a_fact_brings_files_that_were_made_before_the_storage_was_named(
    bucket: Bucket, tmp_path: Path
) -> None:
    with Store.open(Settings(tmp_path)) as alone:
        sha256 = convert(alone)
    assert bucket.names() == []
    with Store.open(Settings(tmp_path, artifacts=ADDRESS)) as store:
        store.put("result", "k", "{}", [sha256])
    assert bucket.names() == [SHA256]


def test_a_damaged_file_is_not_let_in_and_makes_room_for_a_whole_one(
    here: Store, there: Store, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.write(SHA256, DAMAGED)
    with pytest.raises(DamagedArtifactError, match=r"QUANTCORE_ARTIFACTS\) was damaged") as error:
        used(there)
    assert error.value.remedy
    assert files_under(tmp_path / "there" / "artifacts") == []
    assert bucket.names() == []
    add(here)
    assert used(there) == CONTENT


def test_a_file_that_was_never_sent_is_missing_and_promised_no_more(
    there: Store, bucket: Bucket, tmp_path: Path
) -> None:
    convert(there)
    take_away(tmp_path, bucket)
    with pytest.raises(DamagedArtifactError, match="no longer in the cache"):
        used(there)
    assert there.get("conversion", "k") is None


def take_away(tmp_path: Path, bucket: Bucket) -> None:
    """Take the file away, here and there, as nobody should."""
    (tmp_path / "there" / "artifacts" / SHA256[:2] / SHA256).unlink()
    bucket.client.delete_object(Bucket=BUCKET, Key=f"{FOLDER}/{SHA256}")


def test_facts_about_files_that_are_only_there_do_no_harm(
    here: Store, there: Store, bucket: Bucket, tmp_path: Path
) -> None:
    """As a server keeps the figures that a worker elsewhere measured."""
    add(here)
    there.put("result", "k", '{"n": 1}', [SHA256])
    assert there.maintenance.verify().is_clean
    assert [entry.size_bytes for entry in there.maintenance.entries()] == [0]
    assert there.quota.enforce().artifacts == 0
    assert files_under(tmp_path / "there" / "artifacts") == []
    assert there.get("result", "k") == '{"n": 1}'
    assert used(there) == CONTENT
    assert there.maintenance.verify().orphans == ()
    freed = there.maintenance.clear()
    assert (freed.artifacts, freed.facts) == (1, 1)
    assert bucket.names() == [SHA256]


def test_a_promise_fetches_what_it_promises(here: Store, there: Store, tmp_path: Path) -> None:
    there.put("conversion", "k", "{}", [add(here)])
    assert files_under(tmp_path / "there" / "artifacts") == [SHA256]
    assert there.maintenance.verify().is_clean


def test_what_is_fetched_counts_for_the_quota_and_comes_back(
    here: Store, bucket: Bucket, tmp_path: Path
) -> None:
    first, second = add(here, b"a" * 1_000), add(here, b"b" * 1_000)
    settings = Settings(tmp_path / "there", quota_gb=1.5e-6, artifacts=ADDRESS)
    with Store.open(settings) as small:
        assert small.path(first)
        age(settings, first, 60)
        with small.using(second):
            # Evicted by the second, and fetched once more beside it, since that is in use.
            assert not artifact_of(settings, first).exists()
            assert small.path(first).read_bytes() == b"a" * 1_000
            assert small.path(second)
        assert small.maintenance.verify().is_clean


def fetch(settings: Settings) -> None:
    with Store.open(settings) as store:
        assert used(store) == CONTENT


def test_many_processes_want_a_file_at_once(here: Store, there: Store, tmp_path: Path) -> None:
    add(here)
    # fsspec is at work in this process by now, which its forked children must not inherit.
    settings = Settings(tmp_path / "third", artifacts=ADDRESS)
    Store.open(settings).close()
    children = [in_child(fetch, settings) for _ in range(4)]
    assert [exit_code(child) for child in children] == [0] * 4
    assert files_under(tmp_path / "third" / "artifacts") == [SHA256]
    assert used(there) == CONTENT


def test_a_file_being_fetched_is_not_evicted_by_another_process(
    here: Store, tmp_path: Path
) -> None:
    sha256 = add(here, b"a" * 1_000)
    settings = Settings(tmp_path / "there", quota_gb=1e-7, artifacts=ADDRESS)
    Store.open(settings).close()

    def use(ready: Callable[[], None]) -> None:
        with Store.open(settings).using(sha256):
            ready()
            hang()

    with child_that(use), Store.open(settings) as store:
        age(settings, sha256, 60)
        add(store, b"b" * 1_000)
        assert artifact_of(settings, sha256).exists()


def test_a_storage_that_does_not_answer_is_named_soon_and_nothing_here_is_lost(
    here: Store, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = add(here, b"kept")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    S3FileSystem.clear_instance_cache()
    started = time.monotonic()
    for work in (lambda: add(here), lambda: here.path("ab" * 32)):
        with pytest.raises(
            StoreError, match=r"figures/quantcore/files \(QUANTCORE_ARTIFACTS\)"
        ) as e:
            work()
        assert not isinstance(e.value, DamagedArtifactError)
        assert "credentials" in e.value.remedy
    assert time.monotonic() - started < SOON_S
    assert here.path(kept).read_bytes() == b"kept"
    assert here.maintenance.verify().is_clean
    # The answer was not lost with the storage: the next try only has to send it.
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    S3FileSystem.clear_instance_cache()
    add(here)
    assert SHA256 in bucket.names()


def test_a_bucket_that_is_not_there_is_named(bucket: Bucket, tmp_path: Path) -> None:
    with (
        Store.open(Settings(tmp_path, artifacts="s3://nobodys/files")) as store,
        pytest.raises(StoreError, match=r"s3://nobodys/files .* bucket does not exist"),
    ):
        add(store)


def test_a_full_disk_here_is_not_laid_at_the_storage(here: Store, tmp_path: Path) -> None:
    large, small = add(here, b"x" * 2_000_000), tmp_path / "small"
    small.mkdir()
    with mounted(small, "-t", "tmpfs", "-o", "size=1m", "none"):
        settings = Settings(small / "data", artifacts=ADDRESS)
        with (
            Store.open(settings) as store,
            pytest.raises(StoreError, match=r"disk that holds .*small/data is full"),
        ):
            store.path(large)
        assert files_under(settings.data / "artifacts") == []
        assert not any((settings.data / "tmp").iterdir())


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("nosuch://somewhere", "Protocol not known: nosuch"),
        ("sftp://somebody:secret@example.org/files", "sftp://example.org/files"),
    ],
    ids=["unknown", "with a password"],
)
def test_an_address_that_cannot_be_used_is_said_without_its_password(
    tmp_path: Path, address: str, sentence: str
) -> None:
    with (
        Store.open(Settings(tmp_path, artifacts=address)) as store,
        pytest.raises(StoreError, match=sentence) as error,
    ):
        add(store)
    assert "secret" not in str(error.value)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that several machines have mounted."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def test_a_mounted_folder_serves_as_well(shared: Path, tmp_path: Path) -> None:
    for name in ("here", "there"):
        with Store.open(Settings(tmp_path / name, artifacts=f"file://{shared}")) as store:
            if name == "here":
                add(store)
            assert used(store) == CONTENT
    assert files_under(shared) == [SHA256]


def test_a_folder_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "here", artifacts=f"file://{tmp_path}/absent")
    with Store.open(settings) as store, pytest.raises(StoreError, match="QUANTCORE_ARTIFACTS"):
        add(store)
    assert not (tmp_path / "absent").exists()


def fetch_killed_at(settings: Settings, line: int) -> None:
    store = Store.open(settings)
    kill_at_line(line)
    with store.using(SHA256):
        sys.settrace(None)


def test_killed_while_fetching_leaves_nothing_half(shared: Path, tmp_path: Path) -> None:
    with Store.open(Settings(tmp_path / "here", artifacts=f"file://{shared}")) as store:
        add(store)
    outcomes = []
    for line in range(1, 10_000, 6):
        settings = Settings(tmp_path / str(line), artifacts=f"file://{shared}")
        Store.open(settings).close()
        outcomes.append(exit_code(in_child(fetch_killed_at, settings, line)))
        with Store.open(settings) as store:
            assert store.maintenance.verify().is_clean
            assert not any((settings.data / "tmp").iterdir())
            assert not any((settings.data / "locks").iterdir())
            assert used(store) == CONTENT
        if outcomes[-1] == 0:
            break
    assert len(outcomes) > 8
    assert set(outcomes[:-1]) == {-signal.SIGKILL}
