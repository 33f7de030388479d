"""FlatBuffers, written here and by Google's own compiler."""

import json
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from quantcore.formats.flatbuffer import Schema

SCHEMA = """
namespace zoo;
file_identifier "ZOO1";
// Numbers of all kinds.
enum Size : byte { SMALL = 0, LARGE = 3, }
union Animal { Bird, Fish: Swimmer, Whale: Swimmer, }
table Bird { wings: uint; songs: [string]; }
table Swimmer { depth: double; }
table Cage { animal: Animal; size: Size = SMALL; open: bool; }
table Zoo {
  name: string;
  old: [ubyte] (deprecated);
  cages: [Cage];
  ticket: float;  // In francs.
  visitors: [long];
  raw: [ubyte] (force_align: 16);
  founded: uint64;
}
root_type Zoo;
"""
CONTENT: dict[str, Any] = {
    "name": "Zürich",
    "cages": [
        {"animal_type": "Bird", "animal": {"wings": 2, "songs": ["la", ""]}, "size": 3},
        {"animal_type": "Fish", "animal": {"depth": -0.1}},
        {"animal_type": "Whale", "animal": {"depth": float("inf")}, "open": True},
        {},
    ],
    "ticket": 1.5,
    "visitors": [-1, 2**62],
    "raw": [0, 255, 7],
    "founded": 2**64 - 1,
}
READ = {**CONTENT, "raw": bytes(CONTENT["raw"])}


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    (tmp_path / "zoo.fbs").write_text(SCHEMA)
    return Schema.parsed(tmp_path / "zoo.fbs")


def test_what_is_written_is_read(schema: Schema) -> None:
    written = schema.write("Zoo", CONTENT, b"ZOO1")
    assert written[4:8] == b"ZOO1"
    assert schema.read("Zoo", written) == READ
    assert schema.read("Zoo", b"before" + written, len(b"before")) == READ


def test_another_compiler_writes_what_is_read_and_reads_what_is_written(
    schema: Schema, tmp_path: Path
) -> None:
    tool = files("executorch.data.bin") / "flatc"
    (tmp_path / "a.json").write_text(json.dumps(CONTENT).replace("Infinity", "inf"))
    flatc = [str(tool), "-o", str(tmp_path)]
    subprocess.run([*flatc, "--binary", tmp_path / "zoo.fbs", tmp_path / "a.json"], check=True)
    assert schema.read("Zoo", (tmp_path / "a.bin").read_bytes()) == READ
    (tmp_path / "b.bin").write_bytes(schema.write("Zoo", CONTENT, b"ZOO1"))
    asked = [*flatc, "--json", "--strict-json", tmp_path / "zoo.fbs", "--", tmp_path / "b.bin"]
    subprocess.run(asked, check=True)
    found = json.loads((tmp_path / "b.json").read_text().replace("inf", "Infinity"))
    found["cages"][0]["size"] = 3
    assert found == CONTENT
