"""Exceptions are made where they are raised: one made once would collect every traceback."""

import ast
import builtins
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from quantcore import errors

PROJECT = Path(__file__).parents[2]
ROOMS = (PROJECT / "quantcore", PROJECT / "ui", PROJECT / "pages")
FILES = sorted(path for room in ROOMS for path in room.rglob("*.py"))
EXCEPTIONS = {
    name
    for module in (builtins, errors)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}


def evaluated_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is evaluated with it on import: all but the bodies of functions."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        parts: Iterable[ast.AST] = [node.args, *node.decorator_list]
    else:
        parts = [node.args] if isinstance(node, ast.Lambda) else ast.iter_child_nodes(node)
    for part in parts:
        yield from evaluated_on_import(part)


def exceptions_made_on_import(source: str) -> list[int]:
    """Return the lines of a module on which its import makes an exception that is not raised."""
    tree = ast.parse(source)
    raised = {id(node.exc) for node in ast.walk(tree) if isinstance(node, ast.Raise)}
    return [
        node.lineno
        for node in evaluated_on_import(tree)
        if isinstance(node, ast.Call) and id(node) not in raised
        if getattr(node.func, "id", getattr(node.func, "attr", "")) in EXCEPTIONS
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_no_module_makes_an_exception_when_it_is_imported(path: Path) -> None:
    assert not exceptions_made_on_import(path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        'TOO_MUCH = RequestError("Too much.", "Send less.")',
        'PROBLEMS = {"empty": errors.StoreError("Empty.")}',
        'class Child:\n    gone = ChildDiedError("Gone.")',
        'def read(problem=ValueError("no")):\n    pass',
        'read = lambda problem=ValueError("no"): problem',
        '@guarded(OSError("no"))\ndef read():\n    pass',
    ],
)
def test_an_exception_that_is_made_on_import_would_be_seen(source: str) -> None:
    assert exceptions_made_on_import(source)


@pytest.mark.parametrize(
    "source",
    [
        'def too_much():\n    return RequestError("Too much.")',
        'too_much = lambda: RequestError("Too much.")',
        'if not torch:\n    raise ImportError("no torch")',
        "KINDS = (RequestError, StoreError)",
    ],
)
def test_an_exception_that_is_made_when_it_is_raised_is_fine(source: str) -> None:
    assert not exceptions_made_on_import(source)
