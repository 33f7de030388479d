"""A backend is one module and one line: one that nobody has heard of goes all the way."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quantcore import report
from quantcore.backends import BACKENDS
from quantcore.cache import Store
from quantcore.decide import Budgets, decide
from quantcore.draw import charts, tables, titles
from quantcore.engine import PRELOADED_MODULES, CellContext, plan, refusals, run_cell
from quantcore.sandbox import ProcessPool
from quantcore.schema import (
    Comparison,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    VariantResult,
    current_environment,
)
from quantcore.settings import Settings
from tests.support import new_backend

MODULE = '''
"""Rounds weights to 8 bits and runs them in float: a backend for a test."""

from typing import ClassVar

import torch

from quantcore import models
from quantcore.backends import BACKENDS, RunsFormat, Toolchain, TorchModel
from quantcore.backends.base import FromFloat
from quantcore.formats import TorchScript
from quantcore.schema import YES, Cause, Support


class Static(FromFloat):
    toolchain: ClassVar = "rounding"
    name: ClassVar = "static"
    computes: ClassVar = "weights"

    def supports(self, options, subject, backend):
        return YES if subject.model.static_mode else Support(False, "Not this one.", "Another.")

    def convert(self, options, inputs, backend, report, state):
        report("rounding", 0.0)
        module = models.build(inputs.spec).eval()
        with torch.no_grad():
            for weight in module.parameters():
                step = weight.abs().max().clamp(min=1e-12) / 127
                weight.copy_((weight / step).round() * step)
        return TorchModel(module, inputs.image_size, None)


class Rounding(RunsFormat):
    name: ClassVar = "rounding"
    aliases: ClassVar = ()
    title: ClassVar = "Rounding"
    summary: ClassVar = "Rounds."
    targets: ClassVar = ("server",)
    format: ClassVar = TorchScript()
    toolchain: ClassVar = Toolchain("rounding", {"static": Static()}, makes_modules=True)
    float_backend: ClassVar = None
    symbol: ClassVar = "pentagon"
    pace: ClassVar = 1.0
    per_channel: ClassVar = False
    observer: ClassVar = "minmax"
    engine: ClassVar = None
    saturates: ClassVar = False
    rounds_biases: ClassVar = False

    def speed_causes(self, environment):
        return (Cause("It computes in float all the same.", "Use another backend."),)

    def accuracy_causes(self, settings, environment):
        return ()


BACKENDS["rounding"] = Rounding()
'''
REQUEST = {
    "images": ImageSpec(evaluation_images=40, image_size=32),
    "measure": MeasureSpec(starts=2, rounds=1, time_budget_s=0.2),
}


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The backend in this process, and in all children that load what the environment names."""
    path = tmp_path / "rounding.py"
    path.write_text(MODULE)
    monkeypatch.setenv(new_backend.VARIABLE, str(path))
    before = dict(BACKENDS)
    new_backend.load(str(path))
    yield
    BACKENDS.clear()
    BACKENDS.update(before)


def measured(tmp_path: Path) -> Comparison:
    """Return a comparison with the new backend, as a worker would measure it cell by cell."""
    settings = Settings(tmp_path / "data")
    request = plan(ModelSpec("bundled/mobilenet_v2"), ["static", "qat"], ["rounding"], **REQUEST)
    refused = refusals(request)
    modules = [*PRELOADED_MODULES, "tests.support.new_backend"]
    with ProcessPool(modules) as pool, Store.open(settings) as store:
        job = CellContext(
            request, settings, store, pool, lambda _stage, _share: None, lambda: False
        )
        rows = [run_cell(job, each) for each in request.variants if each not in refused]
    results = tuple(row for row in rows if isinstance(row, VariantResult))
    assert len(results) == len(rows), rows
    environment = current_environment()
    return Comparison("2026-11-29", environment, request, results, tuple(refused.values()))


def test_a_new_backend_goes_from_the_request_to_the_report(
    registered: None, tmp_path: Path
) -> None:
    comparison = measured(tmp_path)
    assert [row.backend for row in comparison.results] == [None, "rounding"]
    assert [row.workflow for row in comparison.failures] == ["qat"]
    own = comparison.results[1]
    assert own.speedup.ratio > 0
    assert own.artifact.format == "torchscript"
    assert titles.backend("rounding") == "Rounding"
    figure = charts.plot(comparison.results, "latency", "size")
    assert "pentagon" in str(figure)
    verdict = decide(comparison, Budgets())
    assert own.key in verdict.qualifying
    assert "Rounding" in tables.results(comparison.results)
    page = report.to_html(comparison)
    assert "Rounding" in page
    assert "It computes in float all the same." in page
    again = Comparison.from_json(comparison.to_json())
    assert replace(again, results=()) == replace(comparison, results=())


def test_a_backend_that_is_gone_is_still_drawn(registered: None, tmp_path: Path) -> None:
    comparison = measured(tmp_path)
    del BACKENDS["rounding"]
    assert "rounding" in report.to_html(comparison)
    assert decide(comparison).ship
