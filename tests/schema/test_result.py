"""The public format of a comparison: what is written, and what of earlier versions is read."""

import json
from pathlib import Path

import jsonschema

from quantcore.jobs import shipped_comparison
from quantcore.models import bundled_file
from quantcore.schema import FLOAT_WORKFLOW, Comparison, Variant
from tests.support import fixtures

DOCS = Path(__file__).parents[2] / "docs"
# Of a real file of schema 1, three rows and a few of their samples.
SCHEMA_1 = Path(__file__).parent / "data" / "schema-1.json"


def test_what_is_written_is_schema_3() -> None:
    written = fixtures.typical().to_json()
    jsonschema.validate(json.loads(written), json.loads((DOCS / "schema.json").read_text()))
    assert Comparison.from_json(written) == fixtures.typical()
    assert json.loads(written)["schema"] == 3


def test_a_file_of_schema_1_is_read_without_speed_ups_that_it_cannot_know() -> None:
    text = SCHEMA_1.read_text()
    jsonschema.validate(json.loads(text), json.loads((DOCS / "schema-1.json").read_text()))
    comparison = Comparison.from_json(text)
    assert comparison.schema == 1
    assert len(comparison.results) == len(json.loads(text)["results"])
    assert all(row.speedups == {} for row in comparison.results)


def test_a_file_of_schema_2_is_read_without_turns_that_it_cannot_know() -> None:
    content = json.loads(SCHEMA_1.read_text()) | {"schema": 2}
    for row in content["results"]:
        row["speedups"] = {"torch": row["speedup"]}
    jsonschema.validate(content, json.loads((DOCS / "schema-2.json").read_text()))
    comparison = Comparison.from_json(json.dumps(content))
    assert comparison.schema == 2
    assert all(row.speedups == {"torch": row.speedup} for row in comparison.results)
    assert all((row.turns, row.latency_ms.starts) == ((), 0) for row in comparison.results)


def test_the_shipped_comparison_is_of_a_documented_schema() -> None:
    content = json.loads(bundled_file("comparison.json").read_text())
    name = {1: "schema-1.json", 2: "schema-2.json", 3: "schema.json"}[content["schema"]]
    jsonschema.validate(content, json.loads((DOCS / name).read_text()))
    assert len(shipped_comparison().results) == len(content["results"])


def test_statistics_of_the_float_model_are_written_and_read() -> None:
    source = fixtures.disappointing()
    assert source.results[0].statistics is not None
    assert Comparison.from_json(source.to_json()) == source
    without = json.loads(source.to_json())
    for row in without["results"]:
        row.pop("statistics")
    read = Comparison.from_json(json.dumps(without))
    assert [row.statistics for row in read.results] == [None, None]


def test_variants_rows_and_failures_say_whether_they_are_float32() -> None:
    for name, is_float in ((FLOAT_WORKFLOW, True), *((name, False) for name in fixtures.WORKFLOWS)):
        cells = Variant(name, None), fixtures.result(name), fixtures.failure(name)
        assert [cell.is_float for cell in cells] == [is_float] * 3
