"""The lock: what works inside, what its surroundings are, and whether its proof tells the truth."""

import ctypes.util
import errno
import json
import resource
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import landlock
import pyseccomp
import pytest

from quantcore.errors import LockError
from quantcore.sandbox import ProcessPool
from quantcore.sandbox.lockdown import (
    Attempt,
    Lock,
    discard,
    evaluate,
    prove,
    runtime_paths,
    used_bytes,
    why_unavailable,
)
from quantcore.sandbox.lockdown.syscalls import ABSENT, ALLOWED
from tests.sandbox.lockdown.run_in_child import ask

PROJECT = Path(__file__).parents[3]
WORKS = "tests.sandbox.lockdown.works"


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(
        ["quantcore.engine.preload", "tests.sandbox.lockdown.run_in_child", WORKS]
    ) as running:
        yield running


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    (tmp_path / "scratch").mkdir()
    return Lock(writes=(tmp_path / "scratch",), memory_bytes=2_000_000_000, cpu_s=120)


def value(pool: ProcessPool, lock: Lock | None, function: str, *arguments: Any) -> Any:
    answer = ask(pool, lock, f"{WORKS}:{function}", *arguments)
    assert "value" in answer, answer
    return answer["value"]


def test_torch_quantizes_saves_and_loads_with_two_threads(pool: ProcessPool, lock: Lock) -> None:
    answer = value(pool, lock, "quantize_and_load", str(lock.writes[0]), 2)
    assert answer["same"]
    assert answer["float"]
    assert answer["threads"] > 1


def test_onnx_runs_with_two_threads(pool: ProcessPool, lock: Lock) -> None:
    assert value(pool, lock, "run_onnx", str(lock.writes[0])) == [8.0] * 4


def test_openvino_quantizes_and_runs_with_two_threads(pool: ProcessPool, lock: Lock) -> None:
    found = value(pool, lock, "run_openvino", str(lock.writes[0]))
    assert found == {
        "shape": [2, 4],
        "told": "calibrating on 2 images",
        "float": 0,
        "left": ["model.ir.zip"],
    }


def test_pictures_are_decoded(pool: ProcessPool, lock: Lock) -> None:
    seen = value(pool, lock, "decode_pictures", str(lock.writes[0]))
    assert seen == [f"{kind} 32 True" for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")]


def test_the_surroundings_are_bare(pool: ProcessPool, lock: Lock) -> None:
    seen = value(pool, lock, "surroundings")
    assert seen["folder"] == seen["temporary"] == str(lock.writes[0])
    allowed = {"HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH"}
    assert set(seen["variables"]) <= allowed | {
        "PYTHONWARNINGS",
        "TORCH_CPP_LOG_LEVEL",
        "ORT_DISABLE_TELEMETRY",
    }
    assert seen["mode"] == 0o600
    assert seen["standard"] == [True] * 3
    limits = seen["limits"]
    assert list(limits["DATA"]) == [lock.memory_bytes] * 2
    assert list(limits["CPU"]) == [lock.cpu_s, lock.cpu_s + 1]
    assert list(limits["CORE"]) == [0, 0]
    assert max(limits["NOFILE"]) <= lock.open_files
    assert max(limits["FSIZE"]) <= lock.file_bytes


def test_a_limit_that_is_lower_already_stays(pool: ProcessPool, lock: Lock) -> None:
    wide = Lock(writes=lock.writes, open_files=10**9)
    seen = value(pool, wide, "surroundings")
    assert seen["limits"]["NOFILE"][1] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_a_process_with_two_threads_is_not_locked(pool: ProcessPool) -> None:
    assert "2 threads" in value(pool, None, "lock_with_two_threads")


def test_a_missing_folder_is_an_error(pool: ProcessPool, tmp_path: Path) -> None:
    with pytest.raises(LockError, match="missing"):
        ask(pool, Lock(reads=(tmp_path / "missing",)), f"{WORKS}:surroundings")


def test_a_lock_travels_as_json(lock: Lock) -> None:
    assert Lock.from_dict(json.loads(json.dumps(lock.to_dict()))) == lock
    assert Lock.from_dict({}) == Lock()


@pytest.mark.parametrize(
    "plain", [{"reads": ["here"]}, {"cpu_s": 0}, {"cpu_s": 1.5}, {"open_files": True}, {"root": 1}]
)
def test_a_lock_that_is_none_is_refused(plain: dict[str, Any]) -> None:
    with pytest.raises(LockError):
        Lock.from_dict(plain)


def test_the_runtime_holds_code_and_no_data() -> None:
    paths = runtime_paths()
    assert PROJECT / "quantcore" in paths
    for private in (PROJECT, PROJECT / ".git", Path.home(), Path("/etc"), Path("/tmp"), Path("/")):
        assert not any(private.is_relative_to(path) for path in paths), private
    assert all(path.exists() for path in paths)


def test_the_proof_holds_here() -> None:
    proof = prove()
    assert proof.holds, proof
    assert sum(not attempt.allowed for attempt in proof.attempts) >= 10
    assert sum(attempt.allowed for attempt in proof.attempts) >= 3


def test_attempts_are_refused_inside_and_only_there(pool: ProcessPool, lock: Lock) -> None:
    inside = value(pool, lock, "tried", str(lock.writes[0]))
    free = value(pool, None, "tried", str(lock.writes[0]))
    assert evaluate(Attempt(**each) for each in inside).holds
    assert not evaluate(Attempt(**each) for each in free).holds
    # Some of them other things than the lock may refuse: where Yama is strict, or for no root.
    elsewhere = {"trace another process", "copy another process's memory", "raise its own limits"}
    elsewhere.add("open another process's memory")
    refused = {each["name"] for each in free if not each["allowed"] and each["worked"] is False}
    assert refused <= elsewhere


@pytest.mark.parametrize("version", [1, 2, 3, 5])
def test_kernels_that_know_less_of_landlock_hold_too(
    pool: ProcessPool, lock: Lock, tmp_path: Path, version: int
) -> None:
    """What these let through, emptying files and the network, seccomp still refuses."""
    readable = tmp_path / "readable"
    readable.write_text("words")
    old = replace(lock, reads=(readable,))
    arguments = (version, str(lock.writes[0]), str(readable), None)
    function = f"{WORKS}:tried_on_old"
    answer = ask(pool, old, function, *arguments, prepare=f"{WORKS}:pretend_old")
    assert "value" in answer, answer
    assert evaluate(Attempt(**each) for each in answer["value"]["attempts"]).holds
    assert answer["value"]["emptied"] == [errno.EPERM] * 2
    assert readable.read_text() == "words"


def test_a_single_attempt_that_comes_through_is_named(tmp_path: Path) -> None:
    good = [Attempt(each.name, each.allowed, each.allowed) for each in prove().attempts]
    assert evaluate(good).holds
    for index, each in enumerate(good):
        changed = [*good[:index], Attempt(each.name, each.allowed, not each.allowed)]
        proof = evaluate([*changed, *good[index + 1 :]])
        assert not proof.holds
        assert each.name in proof.sentence
        assert not evaluate([*good[:index], *good[index + 1 :]]).holds
    # What failed for another reason proves nothing.
    unclear = [Attempt(good[0].name, good[0].allowed, None), *good[1:]]
    assert not evaluate(unclear).holds


def test_without_landlock_nothing_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(landlock, "landlock_abi_version", absent)
    proof = prove()
    assert not proof.holds
    assert "Landlock" in proof.sentence
    assert proof.sentence == why_unavailable()


def test_without_a_package_nothing_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "quantcore.sandbox.lockdown.libraries", raising=False)
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    assert not prove().holds
    assert "pyseccomp" in prove().sentence


def test_without_libseccomp_nothing_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    find = ctypes.util.find_library
    monkeypatch.setattr(
        ctypes.util, "find_library", lambda name: None if name == "seccomp" else find(name)
    )
    for name in ("quantcore.sandbox.lockdown.libraries", "pyseccomp"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert not prove().holds
    assert "libseccomp2" in prove().sentence


def test_where_there_is_no_linux_nothing_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not prove().holds
    assert "Linux" in prove().sentence


@pytest.mark.parametrize("arch", [pyseccomp.Arch.X86_64, pyseccomp.Arch.AARCH64])
def test_what_every_program_calls_is_known_on_each_architecture(arch: int) -> None:
    known = {name for name in (*ALLOWED, *ABSENT) if pyseccomp.resolve_syscall(arch, name) >= 0}
    needed = {"read", "write", "newfstatat", "getdents64", "mkdirat", "unlinkat", "renameat"}
    assert needed | {"ppoll", "futex", "exit_group", "munmap", "clone3", "getrandom"} <= known
    # Those missing from newer architectures have a twin that is allowed, such as `openat`.
    old = {"open", "stat", "access", "mkdir", "rmdir", "unlink", "rename", "creat", "dup2"}
    old |= {"lstat", "readlink", "poll", "select", "time", "rseq"}
    assert set(ALLOWED) - known <= old | {"newfstatat"}


def test_nothing_dangerous_is_allowed() -> None:
    never = "execve execveat fork vfork socket connect bind sendmsg recvmsg ptrace kill tkill chmod"
    never += " process_vm_readv process_vm_writev symlink link linkat memfd_create bpf mount umask"
    never += " io_uring_setup userfaultfd perf_event_open setrlimit prctl clone mmap open openat"
    assert not set(ALLOWED) & set(never.split())


def test_a_hostile_scratch_folder_is_measured_and_removed(pool: ProcessPool, lock: Lock) -> None:
    scratch = lock.writes[0]
    assert used_bytes([scratch]) == 0
    (scratch / "large").write_bytes(b"1" * 1_000_000)
    assert 1_000_000 <= used_bytes([scratch]) < 1_100_000
    # Deeper than the name of one path can be, seen from outside.
    assert value(pool, lock, "nest", str(scratch), 2_040) > sys.getrecursionlimit()
    assert used_bytes([scratch]) >= 1_000_000
    (scratch / "link").symlink_to(PROJECT)
    discard(scratch)
    assert not scratch.exists()
    assert (PROJECT / "quantcore").exists()
