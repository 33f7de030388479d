"""ExecuTorch: told plainly where it is missing, and held against its PT2E model where it is not."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest

from quantcore.backends import agreement, sqnr_db
from quantcore.engine import FLOAT32, load_logits
from quantcore.errors import UnsupportedError
from quantcore.exports.exports import planned_of
from quantcore.formats import executorch
from quantcore.formats.executorch import PACKAGES, ExecuTorch
from quantcore.schema import ModelSpec, Variant
from tests.support.exports import LSTM, MOBILENET, Bench, dynamic, planned, static, subject

PINS = Path(__file__).parents[2] / "requirements.txt"
IS_HERE = all(find_spec(name) for name in PACKAGES)
needs_it = pytest.mark.skipif(not IS_HERE, reason="not installed")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions as if its packages were here."""
    monkeypatch.setattr(executorch, "_version", lambda _package: "1.4.1")


def test_where_it_is_missing_the_command_that_brings_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(executorch, "version", absent)
    support = ExecuTorch().supports(planned_of(subject(MOBILENET), FLOAT32))
    assert not support.ok
    assert "executorch and torchao are missing" in support.reason
    assert "pip install executorch torchao" in support.remedy
    assert ExecuTorch().versions() == {"executorch": "missing", "torchao": "missing"}


def test_every_package_is_pinned() -> None:
    pins = dict(line.split("==") for line in PINS.read_text().splitlines() if "==" in line)
    assert set(PACKAGES) <= set(pins)
    if IS_HERE:
        assert {name: version(name) for name in pins} == pins


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("model", "variant", "reason", "remedy"),
    [
        (LSTM, FLOAT32, "has no LSTM", "TorchScript mobile"),
        (MOBILENET, static("x86"), "not those of x86", "static on qnnpack"),
        (MOBILENET, dynamic("qnnpack"), "not dynamic on qnnpack", "float32 or static"),
    ],
)
def test_what_it_cannot_carry_is_refused_with_what_instead(
    model: ModelSpec, variant: Variant, reason: str, remedy: str
) -> None:
    support = ExecuTorch().supports(planned_of(subject(model), variant))
    assert not support.ok
    assert reason in support.reason
    assert remedy in support.remedy


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("variant", [FLOAT32, static("qnnpack")], ids=["float32", "static"])
def test_what_it_carries_is_offered(variant: Variant) -> None:
    assert ExecuTorch().supports(planned_of(subject(MOBILENET), variant)).ok
    assert ExecuTorch().versions() == dict.fromkeys(PACKAGES, "1.4.1")


@needs_it
@pytest.mark.parametrize("variant", [FLOAT32, static("qnnpack")], ids=["float32", "static"])
def test_the_file_answers_as_the_model_it_was_lowered_from(bench: Bench, variant: Variant) -> None:
    spec = planned(MOBILENET, variant, "executorch", calibration_images=64)
    made, found = bench.export(spec), bench.logits(spec)
    assert made.reference is not None
    reference = load_logits(bench.store.checked_path(made.reference))
    assert agreement(reference, found) == 1.0
    noise = sqnr_db(reference, found)
    assert noise is None or noise > 20
    assert agreement(bench.variant_logits(spec), found) > 0.9
    original = planned(MOBILENET, FLOAT32, "torchscript")
    kept = sqnr_db(bench.variant_logits(original), found)
    assert kept is None or kept > (15 if variant != FLOAT32 else 80)
    assert bench.answers(spec).provenance == made.provenance


@needs_it
def test_eight_bits_make_it_small(bench: Bench) -> None:
    spec, whole = (
        planned(MOBILENET, variant, "executorch", calibration_images=64)
        for variant in (static("qnnpack"), FLOAT32)
    )
    made, original = bench.export(spec).exported, bench.export(whole).exported
    assert made.artifact.size_bytes < 0.35 * original.artifact.size_bytes
    assert made.int8_operators / made.total_operators > 0.9
    assert original.int8_operators == 0
    assert any(step.name == "lower to XNNPACK" and step.applied for step in made.passes)


def test_a_part_that_cannot_be_lowered_is_one_sentence() -> None:
    error = executorch._not_carried(ValueError("No kernel\nfor this. And a page of graph"))
    assert isinstance(error, UnsupportedError)
    assert error.reason == "ExecuTorch cannot carry a part of this model: No kernel for this."
    assert "ONNX" in error.remedy
