"""Who may import whom, as docs/architecture.md says it."""

import ast
import graphlib
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from playwright.sync_api import Page

from scripts.live import LiveServer

PROJECT = Path(__file__).parents[2]
ARCHITECTURE = PROJECT / "docs" / "architecture.md"
HEAVY = ("torch", "torchvision", "distributed", "onnx", "onnxruntime")
OUTSIDE = ("app", "pages", "ui", "bundled", "benchmarks", "scripts", "tests")
PAGES = ("app.py", "pages", "ui")

IMPORT_EACH = """
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
    found = [heavy for heavy in {forbidden!r} if heavy in sys.modules]
    if found:
        sys.exit(f"importing {{name}} brings {{', '.join(found)}}")
"""


def block(name: str) -> list[list[str]]:
    """Return the names in one fenced block of docs/architecture.md, line by line."""
    match = re.search(rf"^```{name}\n(.*?)^```", ARCHITECTURE.read_text(), re.M | re.S)
    assert match, f"docs/architecture.md has no block {name!r}"
    return [line.split(", ") for line in match[1].splitlines()]


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def python_files(*places: str) -> list[Path]:
    found = [
        [PROJECT / place] if place.endswith(".py") else (PROJECT / place).rglob("*.py")
        for place in places
    ]
    return sorted(path for path in chain.from_iterable(found) if path.exists())


def imports(path: Path) -> set[str]:
    """Return the dotted names a file imports anywhere in it, also inside functions."""
    return set(
        chain.from_iterable(_names(node, path) for node in ast.walk(ast.parse(path.read_text())))
    )


def _names(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = path.relative_to(PROJECT).parts[: -node.level] if node.level else ()
    base = ".".join([*package, *([node.module] if node.module else [])])
    return [f"{base}.{alias.name}" for alias in node.names]


MODULES = {module_name(path): path for path in python_files("quantcore")}
LAYER = {room: number for number, layer in enumerate(block("layers")) for room in layer}
TORCH_FREE = [room for line in block("torch-free") for room in line]


def room_of(module: str) -> str:
    """Return the name that stands for a module in the layers: its file, or its package."""
    room = module.split(".")[1]
    return "cli" if room == "__main__" else room


def known(name: str) -> str | None:
    """Return the module of quantcore that importing `name` reaches, if any."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def edges(module: str) -> set[str]:
    targets = {known(name) for name in imports(MODULES[module])}
    return {target for target in targets if target not in {None, module, "quantcore"}}


ROOMS = sorted(module for module in MODULES if module != "quantcore")


@pytest.mark.parametrize("module", ROOMS)
def test_imports_point_only_upwards_in_the_layers(module: str) -> None:
    room = room_of(module)
    assert room in LAYER, f"give {room!r} its place in the layers of docs/architecture.md"
    wrong = {target for target in edges(module) if LAYER[room_of(target)] > LAYER[room]}
    assert not wrong, f"{module} imports {sorted(wrong)}, which stand below it"


def test_the_architecture_names_every_place_and_no_other() -> None:
    rows = re.findall(r"^\| (`.+?`) \|", ARCHITECTURE.read_text(), re.M)
    named = {name for row in rows for name in re.findall(r"`(.+?)`", row)}
    assert {name for name in named if not (PROJECT / name).exists()} == set()
    described = {name.removeprefix("quantcore/").removesuffix(".py").rstrip("/") for name in named}
    assert {room_of(module) for module in ROOMS} - described == set()


def test_there_is_no_circle() -> None:
    graph = {module: edges(module) for module in ROOMS}
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail("circle: " + " -> ".join(error.args[1]))


def test_the_package_itself_imports_none_of_its_modules() -> None:
    assert not edges("quantcore")


def test_a_circle_and_a_wrong_arrow_would_be_seen(tmp_path: Path) -> None:
    """The reader of imports finds them in every form Python has."""
    file = PROJECT / "quantcore" / "workflows" / "imagined.py"
    source = (
        "import quantcore.cli.main as c\n"
        "def f():\n    from quantcore import engine\n    from . import static\n"
        "    from ..store import Store\n"
    )
    names = set(chain.from_iterable(_names(node, file) for node in ast.walk(ast.parse(source))))
    assert names == {
        "quantcore.cli.main",
        "quantcore.engine.pipeline",
        "quantcore.workflows.static",
        "quantcore.cache.Store",
    }


@pytest.mark.parametrize("module", sorted(MODULES))
def test_quantcore_imports_neither_streamlit_nor_what_stands_on_it(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(MODULES[module])}
    assert not roots & {"streamlit", *OUTSIDE}


def test_only_pages_and_what_they_share_import_streamlit() -> None:
    users = [
        path.relative_to(PROJECT).as_posix()
        for path in python_files("bundled", "benchmarks", "scripts")
        if any(name.partition(".")[0] == "streamlit" for name in imports(path))
    ]
    # The visitors of the benchmark speak Streamlit's protocol, as a browser does.
    assert users == ["benchmarks/visitors.py"]


@pytest.mark.parametrize("path", python_files(*PAGES), ids=lambda path: path.name)
def test_pages_name_no_heavy_library(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}
    assert not roots & set(HEAVY)


def import_in_a_fresh_process(names: list[str], forbidden: tuple[str, ...]) -> str:
    code = IMPORT_EACH.format(names=names, forbidden=forbidden)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode else ""


def test_what_pages_need_is_imported_without_torch() -> None:
    rooms = [f"quantcore.{room}" for room in TORCH_FREE if f"quantcore.{room}" in MODULES]
    problem = import_in_a_fresh_process(rooms, (*HEAVY, "streamlit"))
    assert not problem, problem


def test_what_pages_share_is_imported_without_torch() -> None:
    shared = [module_name(path) for path in python_files("ui")]
    problem = import_in_a_fresh_process(shared, HEAVY)
    assert not problem, problem


def test_a_module_that_brings_torch_would_be_seen() -> None:
    assert "brings torch" in import_in_a_fresh_process(["torch"], HEAVY)


@pytest.mark.browser
@pytest.mark.skipif(not (PROJECT / "app.py").exists(), reason="there is no page yet")
def test_a_server_that_has_drawn_every_page_holds_no_torch(live: LiveServer, page: Page) -> None:
    addresses = ["", *(path.stem.lstrip("0123456789_") for path in python_files("pages"))]
    for address in addresses:
        page.goto(f"{live.url}/{address}")
        page.get_by_test_id("stAppViewContainer").get_by_role("heading").first.wait_for()
        page.get_by_test_id("stStatusWidget").wait_for(state="detached")
        assert page.get_by_test_id("stException").count() == 0, f"the page {address!r} broke"
    loaded = {Path(line.split()[-1]).name for line in _memory_map(live.pid)}
    assert "libtorch_cpu.so" not in loaded
    assert any(name.startswith("libpython") or name.startswith("python") for name in loaded)


def _memory_map(pid: int) -> list[str]:
    return [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/" in line]
