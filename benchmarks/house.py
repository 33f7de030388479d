"""The code itself: rooms and floors by imports, lines, and the longest function and class."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

from benchmarks.lines import Figure, at_most, note

PROJECT = Path(__file__).parents[1]
PACKAGE = "quantcore"
PRODUCT = (PACKAGE, "ui", "pages", "app.py")
# What is no room: the package itself and its way in.
OUTSIDE = {"__main__"}
MAX_ROOMS = 24
MAX_FUNCTION_LINES, MAX_CLASS_LINES = 60, 200

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def lines() -> Iterator[Figure | str]:
    """Yield how many rooms there are, on how many floors, and how long the code is."""
    floors = floors_by_room()
    for floor in range(max(floors.values()) + 1):
        names = sorted(room for room, number in floors.items() if number == floor)
        yield note(f"floor {floor}: {', '.join(names)}")
    yield at_most("rooms: folders and modules in quantcore/", len(floors), "", MAX_ROOMS, digits=0)
    yield Figure("floors, by imports", max(floors.values()) + 1, "", digits=0)
    sources = {path: path.read_text() for path in _files()}
    total = sum(len(source.splitlines()) for source in sources.values())
    yield Figure("lines of the product: quantcore, ui, pages, app.py", total, "", digits=0)
    functions = _longest(sources, ast.FunctionDef, ast.AsyncFunctionDef)
    classes = _longest(sources, ast.ClassDef)
    for what, (length, where), limit in (
        ("longest function", functions, MAX_FUNCTION_LINES),
        ("longest class", classes, MAX_CLASS_LINES),
    ):
        yield at_most(f"lines of the {what}: {where}", length, "", limit, digits=0)


def floors_by_room() -> dict[str, int]:
    """Return the floor of each room: 0 for one that imports no other, else one above the highest.

    Rooms that import each other in a circle have no floor.

    Raises:
        graphlib.CycleError: there is such a circle.
    """
    graph = grimp.build_graph(PACKAGE)
    rooms = {name.removeprefix(f"{PACKAGE}.") for name in graph.find_children(PACKAGE)} - OUTSIDE
    below: dict[str, set[str]] = {room: set() for room in rooms}
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            upper, lower = _room(importer), _room(imported)
            if upper != lower and upper in rooms and lower in rooms:
                below[upper].add(lower)
    floors: dict[str, int] = {}
    for room in TopologicalSorter(below).static_order():
        floors[room] = 1 + max((floors[lower] for lower in below[room]), default=-1)
    return floors


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _files() -> Iterator[Path]:
    for folder in PRODUCT:
        path = PROJECT / folder
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _longest(sources: dict[Path, str], *kinds: type[Definition]) -> tuple[int, str]:
    """Return how many lines the longest definition has, and where it stands."""
    return max(
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{node.name} in {_relative(path)}")
        for path, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, kinds)
    )


def _relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()
