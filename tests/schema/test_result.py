"""The public format of a comparison: what is written, and what of earlier versions is read."""

import json
from pathlib import Path

import jsonschema

from quantcore.models import bundled_file
from quantcore.schema import FLOAT_WORKFLOW, Comparison, Variant
from tests.support import fixtures

DOCS = Path(__file__).parents[2] / "docs"


def test_what_is_written_is_schema_2() -> None:
    written = fixtures.typical().to_json()
    jsonschema.validate(json.loads(written), json.loads((DOCS / "schema.json").read_text()))
    assert Comparison.from_json(written) == fixtures.typical()
    assert json.loads(written)["schema"] == 2


def test_a_file_of_schema_1_is_read_without_speed_ups_that_it_cannot_know() -> None:
    text = bundled_file("comparison.json").read_text()
    content = json.loads(text) | {"schema": 1}
    for row in content["results"]:
        row.pop("speedups", None)
    jsonschema.validate(content, json.loads((DOCS / "schema-1.json").read_text()))
    comparison = Comparison.from_json(json.dumps(content))
    assert comparison.schema == 1
    assert len(comparison.results) == len(content["results"])
    assert all(row.speedups == {} for row in comparison.results)


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
