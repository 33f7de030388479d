"""The cache: what is put in comes out, and the quota holds."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from quantcore.cache import Store, facts
from quantcore.errors import CancelledError, DamagedArtifactError
from quantcore.settings import Settings
from tests.cache.helpers import (
    CONTENT,
    SHA256,
    add,
    age,
    age_facts,
    artifact_of,
    child_that,
    convert,
    convert_in,
    exit_code,
    files_under,
    in_child,
    writer,
)
from tests.support.processes import hang


def test_artifact_is_stored_under_the_digest_of_its_bytes(store: Store, settings: Settings) -> None:
    artifact = store.add(writer(CONTENT), "torchscript")
    assert (artifact.sha256, artifact.size_bytes, artifact.format) == (SHA256, 700, "torchscript")
    assert store.path(SHA256).read_bytes() == CONTENT
    assert store.checked_path(SHA256) == artifact_of(settings)


def test_equal_content_is_stored_once(store: Store) -> None:
    inode = store.path(add(store)).stat().st_ino
    assert store.path(add(store)).stat().st_ino == inode
    assert store.maintenance.size_bytes() == len(CONTENT)


def test_adding_over_a_damaged_file_mends_it(store: Store, settings: Settings) -> None:
    add(store)
    artifact_of(settings).write_bytes(b"rot")
    add(store)
    assert store.checked_path(SHA256).read_bytes() == CONTENT


def test_what_a_writer_leaves_beside_its_file_is_discarded(
    store: Store, settings: Settings
) -> None:
    def write(path: Path) -> None:
        path.with_suffix(".index").write_text("side file")
        path.write_bytes(CONTENT)

    store.add(write, "test")
    assert files_under(settings.data / "artifacts") == [SHA256]
    assert files_under(settings.data / "tmp") == []


def test_a_writer_that_fails_leaves_nothing(store: Store, settings: Settings) -> None:
    def write(path: Path) -> None:
        path.write_bytes(CONTENT)
        raise CancelledError("Stopped.")

    with pytest.raises(CancelledError):
        store.add(write, "test")
    assert files_under(settings.data / "artifacts") == []
    assert not any((settings.data / "tmp").iterdir())
    assert not any((settings.data / "locks").iterdir())


def test_facts_are_found_by_kind_and_key(store: Store) -> None:
    store.put("result", "a", '{"n": 1}')
    store.put("result", "b", '{"n": 2}')
    store.put("conversion", "a", '{"n": 3}')
    store.put("result", "b", '{"n": 4}')
    assert store.get("result", "a") == '{"n": 1}'
    assert store.get_many("result", ["a", "b", "c"]) == {"a": '{"n": 1}', "b": '{"n": 4}'}
    store.delete("result", "a")
    assert store.get("result", "a") is None
    assert store.get("conversion", "a") == '{"n": 3}'


def test_facts_and_files_outlive_the_process(settings: Settings) -> None:
    assert exit_code(in_child(convert_in, settings)) == 0
    with Store.open(settings) as store:
        assert json.loads(store.get("conversion", "k") or "") == {"artifact": SHA256}
        assert store.checked_path(SHA256).read_bytes() == CONTENT


def test_a_fact_cannot_promise_a_file_that_is_not_there(store: Store) -> None:
    with pytest.raises(DamagedArtifactError, match="no longer in the cache"):
        store.put("conversion", "k", "{}", [SHA256])
    assert store.get("conversion", "k") is None


def test_figures_are_kept_even_if_their_file_went_meanwhile(store: Store) -> None:
    store.put("result", "k", '{"n": 1}', [SHA256])
    assert store.get("result", "k") == '{"n": 1}'
    assert store.maintenance.verify().is_clean


@pytest.mark.parametrize("kind", ["conversion", "recipe", "evaluation", "predictions"])
def test_what_promises_a_file_goes_with_it(store: Store, settings: Settings, kind: str) -> None:
    store.put(kind, "k", "{}", [add(store)])
    artifact_of(settings).unlink()
    assert store.maintenance.verify().missing == (SHA256,)
    assert store.get(kind, "k") is None


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "AB" * 32])
def test_what_is_no_digest_names_no_file(store: Store, sha256: str) -> None:
    with pytest.raises(DamagedArtifactError, match="is not the digest"):
        store.path(sha256)


def test_list_says_what_each_entry_is(store: Store) -> None:
    sha256 = add(store)
    about = {"model": "bundled/resnet18", "workflow": "static", "backend": "x86"}
    store.put("conversion", "a", json.dumps(about), [sha256])
    store.put("result", "b", json.dumps(about | {"backend": None}))
    store.put("conversion", "c", "[1, 2]")
    entries = {entry.key: entry for entry in store.maintenance.entries()}
    assert entries["a"].what == "bundled/resnet18, static on x86"
    assert entries["b"].what == "bundled/resnet18, static"
    assert entries["c"].what == ""
    assert (entries["a"].size_bytes, entries["b"].size_bytes) == (len(CONTENT), 0)
    created = datetime.fromisoformat(entries["a"].created)
    assert abs(created.timestamp() - time.time()) < 60


def test_reading_a_fact_counts_as_use_but_does_not_write_each_time(
    store: Store, settings: Settings
) -> None:
    store.put("result", "k", "{}")
    age_facts(settings, "k", facts.TOUCH_EVERY_S / 2)
    half_a_minute_ago = store.maintenance.entries()[0].last_used
    store.get("result", "k")
    assert store.maintenance.entries()[0].last_used == half_a_minute_ago
    age_facts(settings, "k", facts.TOUCH_EVERY_S)
    store.get("result", "k")
    assert store.maintenance.entries()[0].last_used > half_a_minute_ago


def three_files(store: Store, settings: Settings) -> list[str]:
    """Convert three variants of 1,000 bytes, the first used longest ago."""
    sha256s = [convert(store, key, key.encode() * 1_000) for key in "abc"]
    for hours, (key, sha256) in zip((3, 2, 1), zip("abc", sha256s, strict=True), strict=True):
        age(settings, sha256, hours * 3_600)
        age_facts(settings, key, hours * 3_600)
    return sha256s


def kept(store: Store) -> list[str]:
    return sorted(entry.key for entry in store.maintenance.entries() if entry.kind == "conversion")


def test_adding_over_the_quota_evicts_the_least_recently_used(settings: Settings) -> None:
    with Store.open(Settings(data=settings.data, quota_gb=3e-6)) as store:
        first, *_ = three_files(store, settings)
        store.put("result", "a", "{}", [first])
        age_facts(settings, "a", 4 * 3_600)
        age(settings, first, 4 * 3_600)
        convert(store, "d", b"d" * 1_000)
        assert kept(store) == ["b", "c", "d"]
        assert store.get("result", "a") == "{}"
        with pytest.raises(DamagedArtifactError):
            store.path(first)
        assert store.maintenance.verify().is_clean


@pytest.mark.parametrize("use", ["fact", "file"])
def test_use_saves_from_eviction(settings: Settings, use: str) -> None:
    with Store.open(Settings(data=settings.data, quota_gb=3e-6)) as store:
        first, *_ = three_files(store, settings)
        if use == "fact":
            store.get("conversion", "a")
        else:
            store.checked_path(first)
        convert(store, "d", b"d" * 1_000)
        assert kept(store) == ["a", "c", "d"]


def test_a_file_in_use_by_another_process_is_not_evicted(settings: Settings) -> None:
    with Store.open(Settings(data=settings.data, quota_gb=3e-6)) as store:
        first, *_ = three_files(store, settings)

        def use(ready: Callable[[], None]) -> None:
            with Store.open(settings).using(first):
                age(settings, first, 5 * 3_600)
                ready()
                hang()

        with child_that(use):
            age_facts(settings, "a", 5 * 3_600)
            convert(store, "d", b"d" * 1_000)
            assert kept(store) == ["a", "c", "d"]
            freed = store.maintenance.clear()
            assert (freed.artifacts, freed.in_use) == (2, 1)
            assert kept(store) == ["a"]
        assert store.maintenance.clear().artifacts == 1


def test_a_file_larger_than_the_quota_is_kept_until_the_next(settings: Settings) -> None:
    with Store.open(Settings(data=settings.data, quota_gb=1e-7)) as store:
        first = add(store, b"a" * 1_000)
        assert store.path(first)
        second = add(store, b"b" * 1_000)
        assert store.path(second)
        assert store.maintenance.size_bytes() == 1_000


def test_clear_removes_everything_and_says_how_much(store: Store, settings: Settings) -> None:
    three_files(store, settings)
    store.put("result", "no file", "{}")
    artifact_of(settings, add(store, b"soon damaged")).write_bytes(b"rot")
    store.maintenance.verify()
    freed = store.maintenance.clear()
    assert (freed.artifacts, freed.bytes, freed.facts, freed.in_use) == (3, 3_003, 4, 0)
    assert store.maintenance.entries() == []
    assert (
        files_under(settings.data / "artifacts") + files_under(settings.data / "quarantine") == []
    )


def test_looking_up_a_grid_is_quick(store: Store, settings: Settings) -> None:
    keys = [f"key {number}" for number in range(17)]
    for key in keys:
        store.put("result", key, json.dumps("x" * 5_000))
    assert fastest_ms(lambda: store.get_many("result", keys)) < 5
    assert fastest_ms(lambda: Store.open(settings).close()) < 30


def fastest_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(30):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def test_importing_the_store_brings_no_heavy_library() -> None:
    code = (
        "import sys, quantcore.cache;"
        "print({'torch', 'pandas', 'dask', 'distributed', 'streamlit'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_locks_leave_no_descriptor_open(store: Store) -> None:
    convert(store)
    before = open_descriptors()
    for _ in range(3):
        convert(store)
        with store.using(SHA256), store.once("k"):
            pass
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_forgetting_an_origin_takes_what_was_made_from_it_alone(store: Store) -> None:
    ours = store.add(writer(b"made from the upload"), "torchscript").sha256
    shared = store.add(writer(b"made from both"), "torchscript").sha256
    marked = store.with_sources("upload/ours", "upload/images")
    marked.put("conversion", "a", "{}", [ours])
    marked.put("result", "b", "{}", [shared])
    store.put("conversion", "c", "{}", [shared])
    freed = store.maintenance.delete_upload("upload/ours")
    assert freed.artifacts == 1
    assert store.get("conversion", "a") is None
    assert store.get("result", "b") is None
    assert store.get("conversion", "c") == "{}"
    assert store.path(shared).exists()
    with pytest.raises(DamagedArtifactError):
        store.path(ours)
    assert store.maintenance.delete_upload("upload/images").artifacts == 0


def test_an_origin_is_forgotten_with_the_fact_that_had_it(store: Store) -> None:
    store.with_sources("upload/ours").put("result", "a", "{}")
    store.put("result", "a", "{}")
    store.maintenance.delete_upload("upload/ours")
    assert store.get("result", "a") == "{}"


def test_a_file_in_use_is_remembered_until_it_is_gone(store: Store) -> None:
    sha256 = add(store)
    store.with_sources("upload/ours").put("conversion", "a", "{}", [sha256])
    with store.using(sha256):
        assert store.maintenance.delete_upload("upload/ours").in_use == 1
        assert store.get("conversion", "a") is None
        assert store.maintenance.source_uploads() == ["upload/ours"]
    assert store.maintenance.delete_upload("upload/ours").artifacts == 1
    assert store.maintenance.size_bytes() == 0
    assert store.maintenance.source_uploads() == []
    assert store.maintenance.entries() == []


def test_a_file_that_is_leaving_stays_where_another_fact_has_it_by_now(store: Store) -> None:
    sha256 = add(store)
    store.with_sources("upload/ours").put("conversion", "a", "{}", [sha256])
    with store.using(sha256):
        store.maintenance.delete_upload("upload/ours")
        store.put("conversion", "b", "{}", [sha256])
    store.maintenance.delete_upload("upload/ours")
    assert store.path(sha256).exists()
    assert store.maintenance.source_uploads() == []
