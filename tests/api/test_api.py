"""What `import quantcore` offers."""

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import quantcore
from quantcore import report
from quantcore.api import comparing, model_file
from quantcore.decide import decide
from quantcore.jobs import JobQueue
from quantcore.sandbox import PROJECT
from quantcore.schema import CompareRequest
from quantcore.settings import Settings
from tests.support import fixtures

EXAMPLE = PROJECT / "examples" / "compare.py"
SMALLEST = ("--backends=x86", "--calibration-images=4", "--images=4", "--image-size=48")
LIGHT = """
import sys, quantcore
assert dir(quantcore) == quantcore.__all__
heavy = ("pydantic", "numpy", "typer")
assert not [name for name in heavy if name in sys.modules]
for name in quantcore.__all__:
    getattr(quantcore, name)
# The room of exports and the function have names of their own, whatever is imported first.
import quantcore.exports
assert callable(quantcore.export) and callable(quantcore.compare)
heavy = ("torch", "torchvision", "distributed", "pandas", "streamlit")
assert not [name for name in heavy if name in sys.modules]
"""


def test_importing_it_is_light_and_using_its_names_brings_no_torch() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], cwd=PROJECT, check=True)


@pytest.mark.parametrize("name", quantcore.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(quantcore, name))


@pytest.mark.parametrize("function", [quantcore.compare, quantcore.export])
def test_every_argument_is_explained(function: object) -> None:
    explained = inspect.getdoc(function) or ""
    assert all(f"    {name}: " in explained for name in inspect.signature(function).parameters)


def test_there_is_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'plan'"):
        quantcore.plan  # noqa: B018


def test_a_comparison_gives_its_verdict_within_budgets() -> None:
    source = fixtures.typical()
    comparison = quantcore.Comparison.from_json(source.to_json())
    assert dataclasses.asdict(comparison) == dataclasses.asdict(source)
    assert comparison.to_json() == source.to_json()
    budgets = quantcore.Budgets(size_bytes=1.0)
    assert comparison.verdict() == decide(source)
    assert comparison.verdict(budgets) == decide(source, budgets) != decide(source)


def test_a_table_has_the_rows_and_columns_of_the_csv() -> None:
    source = fixtures.typical()
    table = quantcore.Comparison.of(source).to_dataframe()
    assert list(table.columns) == list(report.COLUMNS)
    assert len(table) == len(source.results) + len(source.failures)
    measured = table[table.outcome == "measured"]
    assert measured.latency_p50_ms.tolist() == [row.latency_ms.p50 for row in source.results]
    assert pd.api.types.is_numeric_dtype(measured.size_bytes)


@pytest.mark.slow
def test_the_example_compares_and_exports(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, *SMALLEST, f"--out={tmp_path / 'files'}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "QUANTCORE_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "static" in done.stdout
    (report_path,) = (tmp_path / "files").glob("*.verification.json")
    assert json.loads(report_path.read_text())["exported"]
    assert report_path.with_name(report_path.name.removesuffix(".verification.json")).is_file()


def test_an_unknown_name_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(quantcore.RequestError, match="Did you mean 'static'"):
        quantcore.compare("bundled/mobilenet_v2", ["statik"], data=tmp_path)
    with pytest.raises(quantcore.RequestError, match="no format"):
        quantcore.export("bundled/mobilenet_v2", "tflite", data=tmp_path)


def test_an_export_for_another_target_is_warned_of_before_anything_is_made(
    tmp_path: Path,
) -> None:
    refused = ("bundled/mobilenet_v2", "mobile", "pretrained", "onednn")
    with (
        pytest.warns(UserWarning, match="for phones, not for browsers. Choose ONNX"),
        pytest.raises(quantcore.UnsupportedError, match="ready-quantized"),
    ):
        quantcore.export(*refused, target="browser", data=tmp_path, out=tmp_path)
    with pytest.raises(quantcore.RequestError, match="target"):
        quantcore.export(*refused, target="moon", data=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch": 1.5},
        {"threads": "2"},
        {"threads": 10**6},
        {"evaluation_images": 8.5},
        {"evaluation_images": "8"},
        {"image_size": "64"},
        {"workflows": [None]},
        {"backends": [None]},
        {"workflows": "dynamic,statik"},
        {"settings": {"dynamic": None}},
        {"settings": [("dynamic", {})]},
        {"settings": {"dynamic": {"layers": float("nan")}}},
        {"settings": {"qat": {"learning_rate": float("nan")}}},
        {"settings": {"static": {"max_loss_points": float("inf")}}},
        {"settings": {"qat": {"seed": -1}}},
        {"workflows": "dynamic", "settings": {"static": {"observer": "minmax"}}},
        {"workflows": []},
        {"workflows": ""},
        {"backends": []},
        {"target": ["phone"]},
        {"target": 3},
        {"model": Path("not/there.pt")},
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_and_nothing_is_queued(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(quantcore.RequestError) as caught:
        quantcore.compare(**{"model": "bundled/row_lstm"} | arguments, data=tmp_path)
    assert caught.value.reason
    assert caught.value.remedy
    with closing(JobQueue.open(Settings(data=tmp_path))) as queue:
        assert queue.listing.summaries() == []


def test_names_may_stand_in_one_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requests = []

    def measured(_: object, request: CompareRequest, __: object) -> None:
        requests.append(request)

    monkeypatch.setattr(comparing, "_measured", measured)
    for workflows in ("dynamic, static", ["dynamic", "static"]):
        quantcore.compare("bundled/row_lstm", workflows, "x86", data=tmp_path)
    assert requests[0] == requests[1]


def test_budgets_are_budgets() -> None:
    comparison = quantcore.Comparison.of(fixtures.typical())
    with pytest.raises(quantcore.RequestError, match="no budgets"):
        comparison.verdict({"size_bytes": 5})  # type: ignore[arg-type]


def test_a_model_file_is_distinguished_from_a_name() -> None:
    assert model_file.is_file("ours.pt")
    assert not model_file.is_file("bundled/mobilenet_v2")
