"""Who may import whom, beyond what import-linter holds: rooms' insides, and the heavy libraries."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from functools import cache
from itertools import chain, pairwise, product
from pathlib import Path

import pytest
from playwright.sync_api import Page

from scripts.live import LiveServer
from tests.support.looks import expect_absent

PROJECT = Path(__file__).parents[2]
ARCHITECTURE = PROJECT / "docs" / "architecture.md"
HEAVY = (
    *("torch", "torchvision", "distributed", "onnx", "onnxruntime"),
    *("openvino", "nncf", "executorch", "torchao"),
)
PAGES = ("app.py", "pages", "ui")
# What stands in `quantcore/` beside its rooms.
FLAT = {"__init__", "__main__", "errors", "settings", "wording"}
# Where a process begins, and its settings are read; whatever lies deeper is given them.
EDGES = {
    "quantcore.api.comparing",
    "quantcore.cli.export",
    "quantcore.cli.main",
    "quantcore.jobs.worker",
    "ui.common.state",
}

IMPORT_EACH = """
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
    found = [heavy for heavy in {forbidden!r} if heavy in sys.modules]
    if found:
        sys.exit(f"importing {{name}} imports {{', '.join(found)}}")
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def python_files(*places: str) -> list[Path]:
    files = (
        [PROJECT / place] if place.endswith(".py") else (PROJECT / place).rglob("*.py")
        for place in places
    )
    return sorted(chain.from_iterable(files))


def imports(path: Path) -> set[tuple[str, str]]:
    """Return the module and the name of every `from module import name` of a file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {
        (node.module or "", alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def roots(path: Path) -> set[str]:
    """Return the packages that a file imports anywhere in it, also inside functions."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    return {name.partition(".")[0] for name in plain | {module for module, _ in imports(path)}}


def insides(path: Path) -> set[str]:
    """Return what a file takes from the inside of a room that it does not belong to."""
    parts = path.relative_to(PROJECT).parts
    own = parts[1] if parts[0] == "quantcore" else ""
    return {
        name
        for name in dotted(ast.parse(path.read_text()))
        if name.startswith("quantcore.") and name.split(".")[1] != own
        if is_inside(name)
    }


def dotted(tree: ast.AST) -> set[str]:
    """Return what is imported with its module, and `room.name` of a room imported as a whole."""
    names, wholes = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            if node.module == "quantcore":
                wholes |= {
                    each.asname or each.name: f"quantcore.{each.name}" for each in node.names
                }
    return names | {
        f"{wholes[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in wholes
    }


def is_inside(name: str) -> bool:
    """Return whether a name with its module is a room's, and not one that the room offers."""
    _, room, *rest = name.split(".")
    if not rest or not (PROJECT / "quantcore" / room / "__init__.py").exists():
        return False
    return len(rest) > 1 or rest[0] not in offered(room)


@cache
def offered(room: str) -> set[str]:
    """Return what stands in `__all__` of a room."""
    tree = ast.parse((PROJECT / "quantcore" / room / "__init__.py").read_text())
    lists = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return set(chain.from_iterable(lists))


def test_only_rooms_and_a_few_flat_modules_stand_in_the_package() -> None:
    assert {path.stem for path in (PROJECT / "quantcore").glob("*.py")} == FLAT


@pytest.mark.parametrize("path", python_files("quantcore", *PAGES), ids=module_name)
def test_rooms_are_imported_and_not_their_insides(path: Path) -> None:
    assert path.name == "__main__.py" or not insides(path)


def test_an_import_from_the_inside_of_a_room_would_be_seen() -> None:
    source = """
import quantcore.engine.convert
from quantcore import decide, errors, wording
from quantcore.engine import keys, latency, plan
from quantcore.engine.grid import float_cells
decide.weigh(decide.timing, errors.Any, wording.count)
"""
    assert {name for name in dotted(ast.parse(source)) if is_inside(name)} == {
        "quantcore.decide.timing",
        "quantcore.engine.convert",
        "quantcore.engine.grid.float_cells",
        "quantcore.engine.latency",
    }


def test_what_a_room_offers_is_there() -> None:
    for path in (PROJECT / "quantcore").glob("*/__init__.py"):
        room = importlib.import_module(module_name(path))
        for name in offered(path.parent.name):
            is_module = importlib.util.find_spec(f"{room.__name__}.{name}") is not None
            assert hasattr(room, name) or is_module, (room.__name__, name)


def test_the_architecture_lists_every_room_in_the_order_of_imports() -> None:
    rows = re.findall(r"^\| `quantcore/(\w+)/` \|", ARCHITECTURE.read_text(), re.M)
    rooms = {path.parent.name for path in (PROJECT / "quantcore").glob("*/__init__.py")}
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(each["layers"] for each in contracts["contracts"] if each["id"] == "rooms")
    names = [name for layer in layers for name in layer.split(" : ") if name in rooms]
    assert rows == names[::-1]
    assert set(rows) == rooms


def test_the_architecture_draws_every_room_and_only_arrows_that_are_imports() -> None:
    arrows = _drawn_arrows()
    rooms = {path.parent.name for path in (PROJECT / "quantcore").glob("*/__init__.py")}
    assert set(chain.from_iterable(arrows)) == rooms | {"pages"}
    places = {"pages": PAGES}
    for room, other in arrows:
        files = python_files(*places.get(room, [f"quantcore/{room}"]))
        names = {f"{module}.{name}." for path in files for module, name in imports(path)}
        assert any(name.startswith(f"quantcore.{other}.") for name in names), (room, other)


def _drawn_arrows() -> set[tuple[str, str]]:
    picture = ARCHITECTURE.read_text().partition("```mermaid")[2].partition("```")[0]
    lines = [line.split("-->") for line in picture.splitlines() if "-->" in line]
    steps = chain.from_iterable(pairwise(line) for line in lines)
    ends = [(re.findall(r"\w+", left), re.findall(r"\w+", right)) for left, right in steps]
    return set(chain.from_iterable(product(*each) for each in ends))


def test_only_the_edges_read_settings_from_the_environment() -> None:
    readers = {
        module_name(path)
        for path in python_files("quantcore", *PAGES)
        if re.search(r"\bfrom_env\(", path.read_text().replace("def from_env(", ""))
    }
    assert readers == EDGES


def test_only_pages_and_what_they_share_import_streamlit() -> None:
    users = [
        path.relative_to(PROJECT).as_posix()
        for path in python_files("bundled", "benchmarks", "scripts")
        if "streamlit" in roots(path)
    ]
    # The visitors of the benchmark speak Streamlit's protocol, as a browser does.
    assert users == ["benchmarks/visitors.py"]


@pytest.mark.parametrize("path", python_files("app.py", "pages"), ids=module_name)
def test_pages_name_no_heavy_library(path: Path) -> None:
    assert not roots(path) & set(HEAVY)


def import_in_a_fresh_process(names: list[str], forbidden: tuple[str, ...]) -> str:
    code = IMPORT_EACH.format(names=names, forbidden=forbidden)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode else ""


def test_rooms_are_imported_without_torch() -> None:
    rooms = [module_name(path) for path in (PROJECT / "quantcore").glob("*/__init__.py")]
    problem = import_in_a_fresh_process(rooms, (*HEAVY, "streamlit"))
    assert not problem, problem


def test_what_pages_share_is_imported_without_torch() -> None:
    problem = import_in_a_fresh_process([module_name(p) for p in python_files("ui")], HEAVY)
    assert not problem, problem


def test_a_module_that_brings_torch_would_be_seen() -> None:
    assert "imports torch" in import_in_a_fresh_process(["torch"], HEAVY)


@pytest.mark.browser
def test_a_server_that_has_drawn_every_page_holds_no_torch(live: LiveServer, page: Page) -> None:
    addresses = ["", *(path.stem.lstrip("0123456789_") for path in python_files("pages"))]
    for address in addresses:
        page.goto(f"{live.url}/{address}")
        page.get_by_test_id("stAppViewContainer").get_by_role("heading").first.wait_for()
        expect_absent(page, page.get_by_test_id("stException"))
    loaded = {Path(line.split()[-1]).name for line in _memory_map(live.pid)}
    assert "libtorch_cpu.so" not in loaded
    assert any(name.startswith("libpython") or name.startswith("python") for name in loaded)


def _memory_map(pid: int) -> list[str]:
    return [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/" in line]
