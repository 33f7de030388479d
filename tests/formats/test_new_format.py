"""A format is one module and one line: one that nobody has heard of goes all the way."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantcore.cache import Store
from quantcore.engine import FLOAT32
from quantcore.exports import bundle, exports
from quantcore.formats import FORMATS
from quantcore.sandbox import ProcessPool
from quantcore.settings import Settings
from tests.support import new_backend
from tests.support.exports import MOBILENET, job_of, planned

MODULE = '''
"""A trace and its metadata in a zip: a format for a test."""

import io, json, zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from quantcore.formats import FORMATS, PythonCode, Written
from quantcore.schema import YES, Check, Pass


@dataclass(frozen=True)
class Zipped:
    name: ClassVar = "zipped"
    aliases: ClassVar = ()
    title: ClassVar = "Zipped trace"
    summary: ClassVar = "For nobody."
    suffix: ClassVar = ".zipped"
    runtime: ClassVar = "Unzipper"
    package: ClassVar = "torch"
    modules: ClassVar = ()
    is_exact: ClassVar = True
    targets: ClassVar = ("server",)
    phone_engine: ClassVar = None
    needs_source: ClassVar = True
    max_overhead: ClassVar = 1.0
    templates: ClassVar = Path(__file__).parent

    def supports(self, planned):
        return YES

    def versions(self):
        return {}

    def write(self, source, path, report):
        trace = torch.jit.trace(source.module(), source.example, check_trace=False)
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("model", trace.save_to_buffer())
            file.writestr("made", json.dumps(dict(source.provenance)))
        return Written((Pass("zip", True),), ("zip",), (), "Unzipper 3.7 or newer", 0, 1)

    def load(self, path, kernels, threads):
        model = torch.jit.load(io.BytesIO(zipfile.ZipFile(path).read("model")))
        return lambda images: model(images).detach()

    def read_metadata(self, path):
        return json.loads(zipfile.ZipFile(path).read("made"))

    def checks(self, path):
        return (Check("zip", zipfile.is_zipfile(path), "It is one."),)

    def python(self, kernels):
        return PythonCode("import unzipper", "model = unzipper.load({path})", "scores = model()")

    def phone_facts(self, exported, version):
        return {"least": exported.runs_on.split()[1]}


FORMATS["zipped"] = Zipped
'''


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The format in this process, and in all children that load what the environment names."""
    path = tmp_path / "zipped.py"
    path.write_text(MODULE)
    for language in ("kotlin", "swift"):
        (tmp_path / f"{language}.txt").write_text("// $file needs Unzipper $least, at $side px.\n")
    monkeypatch.setenv(new_backend.VARIABLE, str(path))
    before = dict(FORMATS)
    new_backend.load(str(path))
    yield
    FORMATS.clear()
    FORMATS.update(before)


def test_a_new_format_goes_from_the_request_to_the_bundle(registered: None, tmp_path: Path) -> None:
    spec = planned(MOBILENET, FLOAT32, "zipped")
    settings, name = Settings(tmp_path / "data", threads=1), exports.file_name(spec)
    modules = [*exports.PRELOADED_MODULES, "tests.support.new_backend"]
    with ProcessPool(modules) as pool, Store.open(settings) as store:
        report = exports.make(job_of(spec, store, pool, settings), spec)
        assert report.passed, report.checks
        assert {"size", "zip", "provenance"} <= {check.name for check in report.checks}
        with store.using(*exports.stored(report)) as (file, picture):
            content = bundle.pack(report, name, file, picture)
    assert name == "mobilenet_v2-float32.zipped"
    assert bundle.snippets(report, name)["swift"] == f"// {name} needs Unzipper 3.7, at 64 px.\n"
    archive = zipfile.ZipFile(io.BytesIO(content))
    texts = {Path(each).name: archive.read(each) for each in archive.namelist()}
    assert b"Zipped trace" in texts["README.md"]
    assert b"unzipper.load(str(file))" in texts["check.py"]
