"""No test waits for a fixed time, and none looks at a page before it is as it will be."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.rglob("*.py"))
# Its functions look again and again.
HELPER = "support/looks.py"
# What answers with how a page is at this moment; Playwright's `expect` asks until it fits.
LOOKS = {
    "all",
    "all_inner_texts",
    "all_text_contents",
    "bounding_box",
    "content",
    "count",
    "evaluate",
    "evaluate_all",
    "get_attribute",
    "inner_html",
    "inner_text",
    "input_value",
    "is_checked",
    "is_disabled",
    "is_enabled",
    "is_hidden",
    "is_visible",
    "text_content",
    "title",
}
# What is true of a page that is not drawn yet.
ABSENCES = {
    "not_to_be_attached",
    "not_to_be_visible",
    "to_be_hidden",
}
# A pause that is not waited on: cut short, the test would tell less, and not fail.
PAUSES = {
    ("cache/test_processes.py", "test_killed_at_random_moments_of_many_writes"),
    ("jobs/test_faults.py", "test_nothing_is_lost_when_a_process_is_killed"),
    ("sandbox/lockdown/payloads.py", "fork_bomb"),
    ("support/child_functions.py", "chatter"),
    ("support/child_functions.py", "dribble"),
}
# A look at what the test has just waited for.
LOOKS_AFTER_A_WAIT = {
    ("browser/test_accessibility.py", "focused"),
    ("browser/test_export.py", "test_a_file_is_made_downloaded_and_is_the_one_that_was_verified"),
    ("browser/test_report.py", "contrast"),
    (
        "browser/test_report.py",
        "test_a_change_of_theme_redraws_the_plot_and_its_texts_stand_out",
    ),
    ("ui/test_markdown.py", "test_a_browser_shows_the_text_and_nothing_else"),
}

NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Find = Callable[[str], Iterator[tuple[str, str]]]


def waits(source: str) -> Iterator[tuple[str, str]]:
    """Yield the function and the name of each fixed wait in a file."""
    for function, call in _calls(ast.parse(source)):
        if _name(call) in {"sleep", "wait_for_timeout"}:
            yield function, ast.unparse(call)


def looks(source: str) -> Iterator[tuple[str, str]]:
    """Yield the function and the text of each look at a page that nothing repeats."""
    tree = ast.parse(source)
    if not any(isinstance(node, ast.ImportFrom) and _drives(node) for node in tree.body):
        return
    for function, call in _calls(tree):
        method = isinstance(call.func, ast.Attribute)
        # `text.count("…")` counts in a text: a locator's takes no argument.
        if method and _name(call) in LOOKS and not (_name(call) == "count" and call.args):
            yield function, ast.unparse(call)


def absences(source: str) -> Iterator[tuple[str, str]]:
    """Yield the function and the text of what may be asserted before anything is drawn."""
    for function, call in _calls(ast.parse(source)):
        arguments = {ast.unparse(each) for each in [*call.args, *call.keywords]}
        none = _name(call) == "to_have_count" and arguments & {"0", "count=0"}
        detached = _name(call) == "to_be_attached" and "attached=False" in arguments
        unseen = _name(call) == "to_be_visible" and "visible=False" in arguments
        waits_for = _name(call) == "wait_for" and arguments & {"state='detached'", "state='hidden'"}
        if _name(call) in ABSENCES or none or detached or unseen or waits_for:
            yield function, ast.unparse(call)


def _drives(node: ast.ImportFrom) -> bool:
    return node.module == "playwright.sync_api" and any(each.name == "Page" for each in node.names)


def _calls(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with the functions it stands in, `outer.inner`, but what `soon` repeats."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            if _name(node) == "soon":
                continue
            yield function, node
        inside = f"{function}.{node.name}".lstrip(".") if isinstance(node, NAMED) else function
        yield from _calls(node, inside)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def found(find: Find) -> set[tuple[str, str]]:
    """Return the file and the function of everything that is found in the tests."""
    return {
        (path.relative_to(TESTS).as_posix(), function)
        for path in FILES
        for function, _ in find(path.read_text())
    }


def test_nothing_waits_for_a_fixed_time() -> None:
    assert found(waits) - PAUSES == {("support/processes.py", "soon")}


def test_what_a_page_shows_is_waited_for() -> None:
    assert {each for each in found(looks) - LOOKS_AFTER_A_WAIT if each[0] != HELPER} == set()


def test_absence_is_asserted_of_what_is_drawn_to_its_end() -> None:
    """`expect_absent`, `expect_gone` and `expect_hidden` wait until something could be there."""
    assert {path for path, _ in found(absences)} == {HELPER}


def test_no_exception_outlives_what_it_was_made_for() -> None:
    assert PAUSES - found(waits) == set()
    assert LOOKS_AFTER_A_WAIT - found(looks) == set()


def test_a_wait_and_a_look_would_be_seen() -> None:
    source = """
from playwright.sync_api import Page, expect
def test_it(page):
    def work():
        time.sleep(1)
    page.wait_for_timeout(500)
    assert page.locator("li").count() > 3
    assert soon(lambda: page.locator("li").count() > 3)
    assert "text".count("t") == 2
"""
    assert list(waits(source)) == [
        ("test_it.work", "time.sleep(1)"),
        ("test_it", "page.wait_for_timeout(500)"),
    ]
    assert list(looks(source)) == [("test_it", "page.locator('li').count()")]


def test_an_absence_would_be_seen() -> None:
    source = """
def test_it(page):
    expect(page.locator("li")).to_have_count(0)
    expect(page.locator("li")).to_have_count(3)
    expect(page.locator("li")).not_to_have_count(0)
    expect(page.locator("li")).to_be_hidden()
    page.locator("li").wait_for(state="detached")
"""
    assert [text.rpartition(".")[2] for _, text in absences(source)] == [
        "to_have_count(0)",
        "to_be_hidden()",
        "wait_for(state='detached')",
    ]
