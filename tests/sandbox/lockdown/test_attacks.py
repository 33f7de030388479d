"""Hostile files, each shown to work where nothing holds it, and to reach nothing from the lock."""

import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from quantcore.sandbox import ProcessPool
from quantcore.sandbox.lockdown import Lock, discard
from tests.sandbox.lockdown.attacks import ATTACKS, compile_library, has_compiler
from tests.sandbox.lockdown.run_in_child import ask

TOKEN = f"secret-{secrets.token_hex(8)}"
# Torch itself has taken half of it by the time a file is opened.
MEMORY_BYTES = 600_000_000
VARIABLE = "QUANTCORE_TEST_SECRET"
ENDLESS = (
    "pickle: loop",
    "pickle: loop_ignoring_signals",
    "script never ends",
    "ONNX never ends",
)
NEED_COMPILER = (
    "pickle: load_library",
    "exported program, compiled",
    "ONNX with a library of operators",
)
# Whether a file is looked at before it is opened: first without, and with it where there is one.
PRECHECKS = [None, *(["quantcore.untrusted:inspect"] if find_spec("quantcore.untrusted") else [])]

# Waits with a secret in its environment, its arguments and its memory. Anyone may look, as far as
# the machine's own settings for that (Yama) are concerned.
VICTIM = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)
kept = ctypes.create_string_buffer(sys.argv[1].encode())
print(ctypes.addressof(kept), flush=True)
signal.pause()
"""


@dataclass
class Scene:
    """Where one attack happens: its own folders, and what it may not reach."""

    folder: Path
    world: dict[str, Any]
    victim: "subprocess.Popen[bytes]"

    def lock(self, cpu_s: int) -> Lock:
        return Lock(
            reads=(self.folder / "code",),
            writes=(self.folder / "scratch",),
            memory_bytes=MEMORY_BYTES,
            cpu_s=cpu_s,
            file_bytes=20_000_000,
            open_files=200,
        )

    def traces(self, answer: dict[str, Any]) -> list[str]:
        """Return every trace of something that a locked process must not do."""
        found = []
        if TOKEN in json.dumps(answer) or answer.get("value") == "through":
            found.append(f"answered {answer['value']!r}")
        if (self.folder / "scratch" / "ran").exists():
            found.append("ran a program")
        outside = {path.name for path in (self.folder / "outside").iterdir()}
        if outside != {"secret", "names", "socket"}:
            found.append(f"outside are now {sorted(outside)}")
        elif (self.folder / "outside" / "secret").read_text() != TOKEN:
            found.append("changed the secret")
        elif self._facts() != self.world["facts"]:
            found.append("changed facts about the secret")
        if [p.read_text() for p in (self.folder / "code").iterdir()] != ["import sound"]:
            found.append("changed the code")
        if self.victim.poll() is not None:
            found.append("killed another process")
        return found

    def _facts(self) -> list[float]:
        found = (self.folder / "outside" / "secret").stat()
        return [found.st_mode, found.st_mtime, found.st_nlink]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    os.environ[VARIABLE] = TOKEN
    try:
        with ProcessPool(
            [
                "quantcore.engine.preload",
                "tests.sandbox.lockdown.run_in_child",
                "tests.sandbox.lockdown.attacks",
            ]
        ) as n:
            yield n
    finally:
        del os.environ[VARIABLE]


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    name = f"quantcore-test-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0{name}")
        abstract.listen(100)
        yield {"tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "abstract": name}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, listeners: dict[str, Any]) -> Iterator[Any]:
    victims: list[subprocess.Popen[bytes]] = []
    numbers = itertools.count()

    def victim() -> tuple["subprocess.Popen[bytes]", int]:
        if not victims or victims[-1].poll() is not None:
            started = subprocess.Popen(
                [sys.executable, "-S", "-c", VICTIM, TOKEN],
                env={VARIABLE: TOKEN},
                stdout=subprocess.PIPE,
            )
            assert started.stdout is not None
            started.address = int(started.stdout.readline())  # type: ignore[attr-defined]
            victims.append(started)
        return victims[-1], victims[-1].address  # type: ignore[attr-defined]

    def scene() -> Scene:
        folder = tmp_path_factory.mktemp(f"s{next(numbers)}-")
        for name in ("scratch", "outside", "outside/names", "code"):
            (folder / name).mkdir()
        (folder / "outside" / "secret").write_text(TOKEN)
        (folder / "outside" / "names" / TOKEN).touch()
        (folder / "code" / "module.py").write_text("import sound")
        # As if somebody careless had unpacked something here before.
        (folder / "scratch" / "waiting-link").symlink_to(folder / "outside")
        running, address = victim()
        world = listeners | {
            "folder": str(folder),
            **{name: str(folder / name) for name in ("scratch", "outside", "code")},
            "names": str(folder / "outside" / "names"),
            "secret": str(folder / "outside" / "secret"),
            "secret_bytes": len(TOKEN),
            "unix": str(folder / "outside" / "socket"),
            "victim": running.pid,
            "address": address,
            "descriptor": 77,
            "too_many_bytes": MEMORY_BYTES,
            "library": str(folder / "code-library" / "hostile.so"),
        }
        made = Scene(folder, world, running)
        world["facts"] = made._facts()
        return made

    yield scene
    for each in victims:
        each.kill()
        each.communicate()


@pytest.fixture
def scene(scenes: Any) -> Iterator[Scene]:
    made = scenes()
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        # The name of such a socket may have a hundred bytes only.
        os.chdir(made.folder / "outside")
        server.bind("socket")
        os.chdir(before)
        server.listen()
        yield made
    discard(made.folder)


def attack(pool: ProcessPool, scene: Scene, name: str, lock: Lock | None, check: str | None) -> Any:
    if name in NEED_COMPILER:
        if not has_compiler():
            pytest.skip("needs gcc to make its hostile library")
        folder = Path(scene.world["library"]).parent
        folder.mkdir()
        compile_library(folder, Path(scene.world["scratch"]))
        if lock is not None:
            lock = Lock.from_dict(lock.to_dict() | {"reads": [*map(str, lock.reads), str(folder)]})
    world = scene.world
    leak = (world["secret"], world["descriptor"])
    making, opening = (
        "tests.sandbox.lockdown.attacks:make",
        "tests.sandbox.lockdown.attacks:open_upload",
    )
    if name.startswith(("script", "exported")):
        # Making these starts threads, and a process that has any cannot be locked.
        made = ask(pool, None, making, name, world)
        return ask(pool, lock, opening, made["value"], name, world, check, leak=leak)
    return ask(pool, lock, opening, name, world, check, leak=leak, prepare=making)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_works_where_nothing_holds_it(
    pool: ProcessPool, scene: Scene, name: str
) -> None:
    answer = attack(pool, scene, name, None, None)
    if answer.get("value") == "unavailable":
        pytest.skip("this machine has no such thing for anybody")
    assert scene.traces(answer), answer


@pytest.mark.parametrize("precheck", PRECHECKS, ids=["unchecked", "checked"][: len(PRECHECKS)])
@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_reaches_nothing_from_the_lock(
    pool: ProcessPool, scene: Scene, name: str, precheck: str | None
) -> None:
    answer = attack(pool, scene, name, scene.lock(1 if name in ENDLESS else 30), precheck)
    assert not scene.traces(answer), answer
    # Refused, not merely crashed for a reason of its own.
    assert name in ENDLESS or "died" not in answer


def test_there_are_many_attacks() -> None:
    assert len(ATTACKS) >= 30
