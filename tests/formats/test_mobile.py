"""The lite interpreter's file: its passes, its size, its bytecode, and what reads it."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from quantcore.formats import Written
from quantcore.formats.mobile import (
    ADD_RELU,
    FIRST_RUNTIME,
    FROZEN,
    FUSED,
    HOISTED,
    LEAN,
    NO_DROPOUT,
    NO_XNNPACK,
    PACKED,
    PASSES,
    UNFROZEN,
    has_xnnpack,
)
from quantcore.schema import Pass
from tests.formats.modules import SIDE
from tests.support.exports import MOBILENET, SHUFFLENET, Bench, planned, static

MODULES = "tests.formats.modules"


def written(bench: Bench, name: str, path: Path, bytecode: int = 8) -> Written:
    made: Written = bench.run(f"{MODULES}:export", name, "mobile", {"bytecode": bytecode}, path)
    return made


def by_name(made: Written) -> dict[str, Pass]:
    return {step.name: step for step in made.passes}


def test_every_pass_is_told(bench: Bench, tmp_path: Path) -> None:
    made = written(bench, "Whole", tmp_path / "file")
    assert tuple(step.name for step in made.passes) == (*PASSES, LEAN)
    steps = by_name(made)
    assert all(steps[name].applied for name in (FUSED, NO_DROPOUT, ADD_RELU, LEAN))
    assert "aten::_add_relu" in {name.partition(".")[0] for name in made.operators}
    assert not any("norm" in name or "dropout" in name for name in made.operators)


def test_what_has_nothing_to_pass_over_says_so(bench: Bench, tmp_path: Path) -> None:
    steps = by_name(written(bench, "Bare", tmp_path / "file"))
    for name in (FUSED, NO_DROPOUT, ADD_RELU):
        assert not steps[name].applied
        assert steps[name].reason.endswith(".")


def test_what_needs_xnnpack_is_left_out_with_the_reason(bench: Bench, tmp_path: Path) -> None:
    assert not has_xnnpack()
    steps = by_name(written(bench, "Whole", tmp_path / "file"))
    assert steps[PACKED] == Pass(PACKED, False, NO_XNNPACK)
    assert not steps[HOISTED].applied
    assert steps[HOISTED].reason


@pytest.mark.parametrize("name", ["Whole", "Bare"])
def test_the_smaller_of_frozen_and_unfrozen_is_kept(
    bench: Bench, tmp_path: Path, name: str
) -> None:
    sizes: dict[bool, int] = bench.run(f"{MODULES}:sizes", name)
    assert set(sizes) == {True, False}
    frozen = by_name(written(bench, name, tmp_path / "file"))[FROZEN]
    assert frozen.applied == (sizes[True] <= sizes[False])
    assert frozen.reason == ("" if frozen.applied else UNFROZEN)
    # The provenance is all that the file has beyond the module.
    assert 0 < (tmp_path / "file").stat().st_size - min(sizes.values()) < 1_000


@pytest.mark.parametrize("bytecode", FIRST_RUNTIME)
def test_the_bytecode_is_the_one_asked_for(bench: Bench, tmp_path: Path, bytecode: int) -> None:
    from torch.jit.mobile import _get_model_bytecode_version

    path = tmp_path / "file"
    made = written(bench, "Whole", path, bytecode)
    assert _get_model_bytecode_version(str(path)) == bytecode
    assert f"PyTorch Mobile {FIRST_RUNTIME[bytecode]} or newer" in made.runs_on
    newest = tmp_path / "newest"
    written(bench, "Whole", newest)
    answers = [bench.run(f"{MODULES}:ask", each) for each in (path, newest)]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("fault", "reason"), [("empty", "cannot be written as bytecode 5"), ("broken", "does not run")]
)
def test_a_bytecode_that_lacks_the_model_is_refused_with_a_newer_one(
    bench: Bench, tmp_path: Path, fault: str, reason: str
) -> None:
    error = bench.run(f"{MODULES}:refuse", tmp_path / "file", fault)
    assert reason in error.reason
    assert "8" in error.remedy
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("name", ["Whole", "Bare"])
def test_the_operators_are_those_that_torchs_own_tool_finds(
    bench: Bench, tmp_path: Path, name: str
) -> None:
    made = written(bench, name, tmp_path / "file")
    assert list(made.operators) == bench.run(f"{MODULES}:needed", tmp_path / "file")
    assert made.operators


def test_what_nobody_reads_is_dropped(bench: Bench, tmp_path: Path) -> None:
    whole, lean = bench.run(f"{MODULES}:lean", "Whole", tmp_path)
    records = [set(zipfile.ZipFile(path).namelist()) for path in (whole, lean)]
    assert any("/code/" in name for name in records[0])
    assert not any("/code/" in name or "debug" in name for name in records[1])
    assert any(name.endswith("/bytecode.pkl") for name in records[1])
    assert lean.stat().st_size < whole.stat().st_size - 2_000
    answers = [bench.run(f"{MODULES}:ask", path) for path in (whole, lean)]
    np.testing.assert_array_equal(*answers)
    assert answers[0].shape == (2, 10)
    assert SIDE == 8


@pytest.mark.parametrize(
    ("model", "backend"), [(MOBILENET, "x86"), (MOBILENET, "qnnpack"), (SHUFFLENET, "x86")]
)
def test_a_phones_file_is_hardly_larger_than_the_state_dict(
    bench: Bench, model: object, backend: str
) -> None:
    """Frozen for x86, it would hold its weights twice."""
    spec = planned(model, static(backend), "mobile")  # type: ignore[arg-type]
    size = bench.export(spec).exported.artifact.size_bytes
    assert 0.9 < size / bench.conversion(spec).state_dict_bytes <= 1.10
