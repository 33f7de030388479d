"""Set-up: pins, the Makefile, the scripts, the image, and what the documents say of the code."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import quantcore
from quantcore.backends import BACKENDS, base, float_backends
from quantcore.engine import FLOAT32, plan
from quantcore.formats import FORMATS
from quantcore.models import Subject, catalogue, find
from quantcore.schema import ModelSpec, Variant, current_environment
from quantcore.workflows import WORKFLOWS, workflow
from quantcore.workflows.dynamic import LAYER_TYPES
from scripts import schema, serve
from tests.project.test_layering import python_files, roots
from tests.support.processes import PATIENCE_S

PROJECT = Path(__file__).parents[2]
PIN = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)==(?P<version>[A-Za-z0-9_.]+)")
# Which of these an index offers depends on the build of torch it carries.
DEPENDS_ON_THE_BUILD = ("nvidia-", "cuda-", "triton")


def lines(name: str) -> list[str]:
    text = (PROJECT / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pins(name: str) -> dict[str, str]:
    """Return the versions one requirements file pins, by canonical name."""
    found = [PIN.fullmatch(line) for line in lines(name) if not line.startswith("-r ")]
    return {canonicalize_name(match["name"]): match["version"] for match in found if match}


RUNTIME, CONSTRAINTS = pins("requirements.txt"), pins("constraints.txt")
DEVELOPMENT = RUNTIME | pins("requirements-dev.txt")
MODEL = ModelSpec("bundled/mobilenet_v2")
DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md"))]
# A file or folder, and perhaps a function. `bundled/mobilenet_v2` is a model.
PLACE = re.compile(
    r"`(app\.py|bundled/(?:[\w./-]*(?:/|\.\w+))?"
    r"|(?:quantcore|ui|pages|tests|scripts|benchmarks|docs|examples)/[\w./-]*)(?::([\w.]+))?`"
)
# What stands in `docs/` and is no document.
UNLISTED = {"README.md", "bench.txt"}
WORDS_IN_TWO_MINUTES = 480


def needed_by(names: set[str]) -> set[str]:
    """Return these packages and, transitively, what their metadata says they need here."""
    seen: set[str] = set()
    while names:
        seen |= names
        names = {need for name in names for need in _needs(name)} - seen
    return seen


def _needs(name: str) -> set[str]:
    try:
        texts = distribution(name).requires or []
    except PackageNotFoundError:
        return set()
    needs = [Requirement(text) for text in texts]
    return {
        canonicalize_name(need.name)
        for need in needs
        if need.marker is None or need.marker.evaluate({"extra": ""})
    }


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "constraints.txt"])
def test_every_requirement_is_an_exact_public_version(name: str) -> None:
    loose = [x for x in lines(name) if not x.startswith("-r ") and not PIN.fullmatch(x)]
    assert loose == []


def test_the_constraints_repeat_the_requirements() -> None:
    assert {name: CONSTRAINTS.get(name) for name in DEVELOPMENT} == DEVELOPMENT


def test_the_constraints_pin_whatever_the_requirements_need() -> None:
    free = needed_by(set(DEVELOPMENT)) - set(CONSTRAINTS)
    assert [name for name in sorted(free) if not name.startswith(DEPENDS_ON_THE_BUILD)] == []


def test_what_is_installed_is_what_is_pinned() -> None:
    installed = {name: Version(distribution(name).version).public for name in DEVELOPMENT}
    assert installed == DEVELOPMENT


@pytest.mark.parametrize(
    ("places", "pinned"),
    [
        (("app.py", "pages", "ui", "quantcore"), RUNTIME),
        (("bundled", "benchmarks", "scripts", "tests"), DEVELOPMENT),
    ],
    ids=["product", "development"],
)
def test_every_imported_package_is_pinned_by_name(
    places: tuple[str, ...], pinned: dict[str, str]
) -> None:
    names = {name for path in python_files(*places) for name in roots(path)}
    sources = packages_distributions()
    third_party = {root: {canonicalize_name(x) for x in sources.get(root, ())} for root in names}
    unpinned = [root for root, names in third_party.items() if names and not names & set(pinned)]
    assert unpinned == []


def run_make(*arguments: str) -> str:
    return subprocess.run(
        ["make", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout


def test_make_alone_lists_every_target_a_person_may_ask_for() -> None:
    targets = "run setup check test test-fast soak bench bundle screenshots docs"
    assert set(targets.split()) <= set(re.findall(r"^  make ([a-z-]+) ", run_make(), re.MULTILINE))


def test_make_test_checks_first_and_hides_no_exit_status() -> None:
    recipe = run_make("--dry-run", "test")
    passes = ('-m "not soak and not timed"', '-m "timed and not soak"')
    words = ("setup", "ruff check", "mypy", *passes)
    order = [recipe.index(word) for word in words]
    assert order == sorted(order)
    assert not re.search(r"[^|]\|[^|]|\|\| *true", recipe)


def test_continuous_integration_calls_make_test_and_nothing_else() -> None:
    script = PROJECT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[1:] == [
        "set -euo pipefail",
        'cd "$(dirname "$0")/.."',
        "make test",
    ]


@pytest.fixture
def empty_project(tmp_path: Path) -> Path:
    """A folder with the set-up script and nothing to install."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "setup", tmp_path / "scripts")
    for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
        (tmp_path / name).touch()
    return tmp_path


def set_up(
    project: Path, *arguments: str, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/setup", *arguments],
        cwd=project,
        env=os.environ | {"PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_set_up_installs_once_and_again_when_a_pin_changes(empty_project: Path) -> None:
    assert "Installed in" in set_up(empty_project, "dev").stdout
    # What tests need contains what the app needs, so that neither is left to install.
    assert set_up(empty_project, "dev").stdout == set_up(empty_project).stdout == ""
    (empty_project / "constraints.txt").write_text("numpy==1.0\n")
    assert "Installed in" in set_up(empty_project).stdout


@pytest.mark.slow
def test_an_installation_that_broke_off_is_not_taken_for_done(empty_project: Path) -> None:
    (empty_project / "requirements.txt").write_text("./no-such-package\n")
    broken = set_up(empty_project)
    assert broken.returncode == 1
    assert "no-such-package" in broken.stderr
    assert "Run the same command again" in broken.stderr
    half_installed = empty_project / ".venv" / "half-installed"
    half_installed.touch()
    (empty_project / "requirements.txt").write_text("")
    assert "Installed in" in set_up(empty_project).stdout
    assert not half_installed.exists()


def fake_python(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ('echo Python 3.9.2; test "$1" = --version', "Python 3.9.2 is too old: Python 3.11"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "sudo apt-get install python3-venv"),
    ],
    ids=["too old", "without venv"],
)
def test_set_up_refuses_a_python_it_cannot_use(
    empty_project: Path, script: str, sentence: str
) -> None:
    done = set_up(empty_project, python=fake_python(empty_project, script))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not (empty_project / ".venv").exists()


def test_set_up_says_when_there_is_no_python(empty_project: Path) -> None:
    assert (
        "There is no python-of-nobody here"
        in set_up(empty_project, python="python-of-nobody").stderr
    )


@pytest.mark.parametrize(("text", "port"), [("1", 1), ("8501", 8_501), ("65535", 65_535)])
def test_ports_are_read(text: str, port: int) -> None:
    assert serve.parse_port(text) == port


@pytest.mark.parametrize(
    "text", ["", "0", "65536", "-1", "80 ", "8501.0", "http", "٣", "9" * 5_000]
)
def test_what_is_no_port_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 65535: make run PORT=8502"):
        serve.parse_port(text)


def test_serving_on_a_taken_port_is_refused_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "scripts.serve", str(port)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"Port {port} is taken.")
    assert done.stderr.count("\n") == 1


def test_a_port_just_freed_can_be_had_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    serve.require_free("127.0.0.1", port)


def dockerfile() -> str:
    return (PROJECT / "Dockerfile").read_text()


def test_the_image_copies_only_what_exists() -> None:
    copies = [line.split()[2:-1] for line in dockerfile().splitlines() if line.startswith("COPY")]
    assert copies
    assert [x for sources in copies for x in sources if not (PROJECT / x).exists()] == []


def test_the_image_lets_in_what_exists_and_nothing_made_here() -> None:
    rules = lines(".dockerignore")
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    assert {name for name in allowed if not (PROJECT / name).exists()} == set()
    assert {"app.py", "ui", "quantcore", "bundled", "scripts", ".streamlit"} <= allowed
    assert not allowed & {".venv", ".git"}


def test_the_image_runs_unprivileged_and_is_watched() -> None:
    text = dockerfile()
    assert text.index("\nUSER app") < text.index("make setup") < text.index("\nCMD")
    assert "USER root" not in text
    assert "/_stcore/health" in text
    assert "QUANTCORE_DATA=/data" in text
    assert "VOLUME /data" in text
    assert '"--host", "0.0.0.0"' in text


def test_the_written_schema_is_the_one_of_the_code() -> None:
    assert schema.SCHEMA.read_text() == schema.text(), "run `make docs`"


def document(name: str) -> str:
    return (PROJECT / name).read_text()


def said_of(name: str, backend: str) -> str:
    """Return the cell of the table of workflows; `as x86` stands for what that cell says."""
    table = document("docs/workflows.md").splitlines()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table]
    header = next(row for row in rows if row and row[0] == "workflow")
    row = next(row for row in rows if row and row[0] == f"`{name}`")
    cell = row[header.index(backend)]
    return said_of(name, cell.removeprefix("as ")) if cell.startswith("as ") else cell


@pytest.mark.parametrize(("name", "backend"), list(product(WORKFLOWS, BACKENDS)))
def test_the_documents_say_what_each_workflow_is_on_each_backend(name: str, backend: str) -> None:
    assert said_of(name, backend)


def test_float32_is_one_row_for_each_runtime_as_the_documents_say() -> None:
    rows = [Variant(FLOAT32.workflow, backend) for backend in float_backends(BACKENDS)]
    assert plan(MODEL, ["float32"], BACKENDS).variants == tuple(rows)
    assert rows[0] == FLOAT32
    assert all("row" in said_of("float32", backend) for backend in BACKENDS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_documents_say_who_has_a_ready_quantized_checkpoint(backend: str) -> None:
    models = catalogue().values()
    having = [info for info in models if BACKENDS[backend].engine in info.pretrained_engines]
    own = {info.name for info in having if info.source == "bundled"}
    convolutional = {i.name for i in models if i.source == "bundled" and i.static_mode == "eager"}
    assert own in (convolutional, set())
    said = f"bundled convolutional models, {len(having) - len(own)} of torchvision's"
    assert said_of("pretrained", backend) == (said if own else "no checkpoint")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_documents_say_which_types_dynamic_quantization_has(backend: str) -> None:
    engines = tuple(str(each.engine) for each in BACKENDS.values())
    everywhere = replace(current_environment(), engines=engines)
    subject = Subject(MODEL, find(MODEL), True, everywhere)
    possible = [
        kind
        for kind in ("qint8", "float16")
        if workflow("dynamic", {"dtype": kind}).supports(subject, BACKENDS[backend]).ok
    ]
    layers, _, kinds = said_of("dynamic", backend).rpartition("; ")
    if not possible:
        assert (layers, kinds) == ("", "not possible")
        return
    assert kinds == ", ".join(f"`{kind}`" for kind in possible)
    assert layers in ("", ", ".join(LAYER_TYPES))


@pytest.mark.parametrize(("name", "backend"), list(product(["static", "qat"], BACKENDS)))
def test_the_documents_say_how_finely_weights_are_scaled(name: str, backend: str) -> None:
    usual = "per channel" if BACKENDS[backend].per_channel else "per tensor"
    assert said_of(name, backend).partition(";")[0] == usual


def test_the_documents_name_every_bundled_model() -> None:
    text = document("docs/command-line.md")
    bundled = [info.architecture for info in catalogue().values() if info.source == "bundled"]
    assert [name for name in bundled if f"`{name}`" not in text] == []


def test_the_documents_name_every_format_with_its_suffix() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\.[\w.]+)` \|", document("docs/command-line.md"), re.M)
    assert dict(rows) == {name: kind.suffix for name, kind in FORMATS.items()}


def test_the_documents_name_every_setting() -> None:
    source = (PROJECT / "quantcore" / "settings.py").read_text()
    text = document("docs/settings.md")
    assert all(f"`{name}`" in text for name in re.findall(r"\bQUANTCORE_[A-Z_]+", source))


def test_the_documents_name_all_of_the_api() -> None:
    text = document("docs/python.md")
    assert [name for name in quantcore.__all__ if f"`{name}" not in text] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_link_to_files_that_exist(name: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document(name))
    folder = (PROJECT / name).parent
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_name_files_and_functions_that_exist(name: str) -> None:
    for path, function in PLACE.findall(document(name)):
        assert (PROJECT / path).exists(), path
        assert not function or function in _defined(ast.parse(document(path))), (path, function)


def test_a_place_is_a_file_or_a_folder_and_what_is_defined_in_it() -> None:
    text = "`app.py` `pages/` `bundled/` `bundled/NAME` `bundled/small/README.md` `ui/a.py:A.b`"
    assert PLACE.findall(text) == [
        ("app.py", ""),
        ("pages/", ""),
        ("bundled/", ""),
        ("bundled/small/README.md", ""),
        ("ui/a.py", "A.b"),
    ]
    source = "class A:\n    def b(self): ...\nclass B:\n    def c(self): ...\ndef d(): ..."
    assert _defined(ast.parse(source)) == {"A", "A.b", "B", "B.c", "d"}


def _defined(node: ast.AST, prefix: str = "") -> set[str]:
    """Return the functions and classes of a module, and what classes hold as `Class.method`."""
    names: set[str] = set()
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(prefix + each.name)
        if isinstance(each, ast.ClassDef):
            names |= _defined(each, f"{prefix}{each.name}.")
    return names


def test_the_documented_backend_is_a_whole_one() -> None:
    code = document("docs/extending.md").partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/extending.md", "exec"), names)
    backend = names["BACKEND"]
    assert _public(base.Backend) <= set(dir(backend))
    assert all(_public(base.Step) <= set(dir(each)) for each in backend.toolchain.steps.values())
    assert backend.name not in BACKENDS


def _public(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def test_every_document_is_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"\]\(([\w.-]+)\)", document("docs/README.md")))
    assert listed == {path.name for path in (PROJECT / "docs").glob("*.*")} - UNLISTED


def test_the_readme_is_read_in_two_minutes() -> None:
    text, _, _ = document("README.md").partition("## Licence")
    assert len(text.split()) <= WORDS_IN_TWO_MINUTES
