"""HTML is written by templates only, and text that Streamlit takes for Markdown is escaped by type.

What these tests read is the source: a new fragment or sentence is held to it, too.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SOURCES = sorted(
    [
        PROJECT / "app.py",
        *(path for room in ("quantcore", "ui", "pages") for path in (PROJECT / room).rglob("*.py")),
    ]
)
PAGES = [path for path in SOURCES if "quantcore" not in path.relative_to(PROJECT).parts]
TEMPLATES = [path for room in ("quantcore", "ui") for path in (PROJECT / room).rglob("*.j2")]
TAG = re.compile(r"</?[a-z][a-z0-9]*(\s[^<>]*)?/?>|<[a-z][a-z0-9]*\s+[a-z-]+=")
# plotly's hover texts: what ends the box, and what ends a line.
PLOTLY_TAGS = {"<extra></extra>", "<br>"}
# Where text becomes HTML without being escaped: what templates wrote, and our own style sheets,
# scripts and JSON. In `picture` tags are taken out again.
TRUSTED = {
    "quantcore/draw/templating.py": 1,
    "quantcore/draw/picture.py": 2,
    "quantcore/report/page.py": 5,
    "quantcore/exports/bundle/page.py": 1,
}
# Elements of Streamlit whose first argument is Markdown, and arguments that are in all elements.
ELEMENTS = {
    *("button", "camera_input", "caption", "checkbox", "download_button", "error", "expander"),
    *("file_uploader", "header", "info", "link_button", "markdown", "metric", "multiselect"),
    *("number_input", "pills", "popover", "radio", "segmented_control", "selectbox", "slider"),
    *("spinner", "status", "subheader", "success", "tabs", "text_area", "text_input", "toast"),
    *("toggle", "warning"),
}
NAMED = {"body", "caption", "help", "label", "text"}
# Their options are Markdown as well; a selectbox shows its options as they are.
WITH_OPTIONS = {"pills", "segmented_control", "radio"}
# What functions that draw a widget hand on: words of our own, never those of others.
OUR_WORDS = {"label", "help", "meanings"}


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def literals(tree: ast.Module) -> Iterator[ast.Constant]:
    """Return the texts of a module, also those within f-strings, without docstrings."""
    nodes = list(ast.walk(tree))
    bodies = [getattr(node, "body", None) for node in nodes]
    first = [body[0] for body in bodies if isinstance(body, list) and body]
    docstrings = {id(each.value) for each in first if isinstance(each, ast.Expr)}
    texts = (node for node in nodes if isinstance(node, ast.Constant))
    yield from (
        node for node in texts if isinstance(node.value, str) and id(node) not in docstrings
    )


def tags(source: str) -> list[str]:
    """Return the HTML tags in the texts of a module."""
    found = [
        (text.lineno, match.group())
        for text in literals(ast.parse(source))
        for match in TAG.finditer(text.value)
    ]
    return [f"line {line}: {tag}" for line, tag in found if tag not in "".join(PLOTLY_TAGS)]


def escapes(source: str) -> list[str]:
    """Return the calls and imports of functions that escape by hand."""
    nodes = list(ast.walk(ast.parse(source)))
    imported = [
        f"line {node.lineno}: {node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in {"escape", "quoteattr"} and node.module != "re"
    ]
    called = [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(("html.escape", "Markup.escape"))
    ]
    return imported + called


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_html_is_written_by_templates_only(path: Path) -> None:
    assert tags(path.read_text()) == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_escaped_by_hand(path: Path) -> None:
    assert escapes(path.read_text()) == []


def test_what_builds_html_by_hand_would_be_seen() -> None:
    for text in (
        'f"<b>{x}</b>"',
        "'<img src=\"x\">'",
        '"</p>"',
        "f'<li class=\"{a}\">'",
        '"<br/>"',
    ):
        assert tags(f"y = {text}"), text
    assert not tags('"""A docstring with <b>."""\ny = "a < b > c"')
    assert escapes("from html import escape")
    assert escapes("import html\nhtml.escape(x)")
    assert not escapes("import re\nre.escape(x)")


def test_text_is_trusted_in_few_places() -> None:
    counts = {
        name_of(path): len(re.findall(r"\bMarkup\([^)]", path.read_text())) for path in SOURCES
    }
    assert {name: count for name, count in counts.items() if count} == TRUSTED


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_no_template_turns_escaping_off(path: Path) -> None:
    assert not re.search(r"\|\s*(safe|forceescape)\b|autoescape", path.read_text())


def is_escaped(node: ast.expr) -> bool:
    """Return whether an expression is a text of our own, or escapes what is in it."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper() or name in OUR_WORDS
        case ast.Subscript(value=part) | ast.Lambda(body=part) | ast.ListComp(elt=part):
            return is_escaped(part)
        case ast.IfExp(body=first, orelse=second):
            return is_escaped(first) and is_escaped(second)
        case ast.BoolOp(values=parts):
            return all(map(is_escaped, parts))
        case ast.Call():
            return is_call_escaped(node)
    return isinstance(node, ast.Constant)


def is_call_escaped(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id="list"):
            return is_escaped(call.args[0])
        case ast.Name(id=name):
            return name in {"markdown", "reason_and_remedy"}
        case ast.Attribute(value=value, attr="get" | "values"):
            return is_escaped(value)
        case ast.Attribute(value=ast.Call(func=maker), attr="format" | "join"):
            return ast.unparse(maker) == "Markdown"
    return False


def texts(call: ast.Call, element: str) -> Iterator[ast.expr]:
    """Return what an element of Streamlit draws as Markdown."""
    named = {each.arg: each.value for each in call.keywords}
    yield from (value for name, value in named.items() if name in NAMED)
    if element == "progress":
        yield from call.args[1:2]
    elif element in ELEMENTS:
        yield from call.args[:1]
    if element in WITH_OPTIONS:
        says = named.get("format_func", call.args[1])
        is_lookup = isinstance(says, ast.Attribute) and says.attr == "__getitem__"
        yield says.value if is_lookup else says


def unescaped(source: str) -> list[str]:
    """Return what is drawn as Markdown without going through the one function that escapes."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    drawn = [
        text
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in {*ELEMENTS, "image", "page_link", "progress"}
        for text in texts(call, call.func.attr)
        if not is_escaped(text)
    ]
    # What is declared to be Markdown is written out, so that nothing else can be in it.
    declared = [
        call.args[0]
        for call in calls
        if ast.unparse(call.func) == "Markdown" and not is_escaped(call.args[0])
    ]
    return [f"line {text.lineno}: {ast.unparse(text)}" for text in (*drawn, *declared)]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_markdown_is_escaped_by_type(path: Path) -> None:
    if path.name == "markdown.py":
        pytest.skip("the one module that escapes")
    assert unescaped(path.read_text()) == []


def test_what_draws_text_as_markdown_would_be_seen() -> None:
    for call in (
        'st.caption(f"of {name}")',
        "st.error(error.reason)",
        'left.markdown("**" + name + "**")',
        "st.button(name)",
        'st.text_input("Name", help=name)',
        "st.progress(0.5, name)",
        "st.pills('Which', names)",
        "st.pills('Which', names, format_func=lambda name: name)",
        "st.page_link('x', label=name)",
        "st.info(UNREAD.format(name=name))",
        'st.info(Markdown(f"**{name}**"))',
        "st.info('**{}**'.format(name))",
    ):
        assert unescaped(call), call
    for call in (
        'st.caption(markdown(f"of {name}"))',
        'st.markdown(Markdown("**{}**").format(name))',
        "st.pills('Which', names, format_func=lambda name: markdown(name))",
        "st.pills('Which', names, format_func=KINDS.__getitem__)",
        "st.selectbox('Which', names, format_func=str)",
    ):
        assert not unescaped(call), call
