"""What every format promises of every variant it carries."""

import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import quantcore
from quantcore.backends import BACKENDS, agreement, runtime, sqnr_db
from quantcore.engine import FLOAT32, provenance
from quantcore.errors import QuantcoreError, RequestError
from quantcore.exports import exports
from quantcore.formats import FORMATS, LayerKind, Planned, file_format
from quantcore.models import find, weights_digest
from quantcore.schema import ModelSpec, Setting, Support, Variant, library_versions
from tests.support.exports import (
    LSTM,
    MOBILENET,
    SHUFFLENET,
    VIT,
    Bench,
    dynamic,
    planned,
    static,
    subject,
)

# A backend for each format that backends run.
MEASURED = list({each.format.name: name for name, each in BACKENDS.items()}.values())
# The share of a static model's operators that run in 8 bits. ShuffleNet's channel shuffle asks for
# sizes 32 times, which is arithmetic on no picture: 216 of 248.
STATIC_INT8 = {MOBILENET: 1.0, SHUFFLENET: 216 / 248}
DYNAMIC_INT8 = {LSTM: 2, VIT: 9}


@dataclass(frozen=True)
class Case:
    """A variant of a model, in a format that carries it."""

    model: ModelSpec
    variant: Variant
    format: str

    def __str__(self) -> str:
        return f"{self.model.architecture} {self.variant.label} as {self.format}"


VARIANTS = [
    (VIT, FLOAT32),
    (MOBILENET, static("x86")),
    (MOBILENET, static("qnnpack")),
    (SHUFFLENET, static("x86")),
    (LSTM, dynamic("x86")),
    (VIT, dynamic("x86")),
    # Programs of their own.
    (MOBILENET, static("executorch")),
    (MOBILENET, static("openvino")),
]
GRID = [Case(*pair, name) for pair in VARIANTS for name in FORMATS]
# What the variants were measured as.
OWN = runtime(FLOAT32.backend).format.name


def support(case: Case) -> Support:
    about = exports.planned_of(subject(case.model), case.variant)
    return file_format(case.format, {}).supports(about)


def offered(case: Case) -> Support:
    return exports.supports(planned(case.model, case.variant, case.format))


CASES = [case for case in GRID if offered(case).ok]
# Formats that torch's modules are written in.
TAKING_OVER = [name for name in FORMATS if offered(Case(LSTM, FLOAT32, name)).ok]
# Files whose kernels round elsewhere than their variant's.
ROUNDED = [case for case in CASES if not FORMATS[case.format].is_exact]


# What a possible file promises


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_file_answers_in_a_fresh_process_as_its_variant(bench: Bench, case: Case) -> None:
    spec = planned(case.model, case.variant, case.format)
    expected, found = bench.variant_logits(spec), bench.logits(spec)
    assert agreement(expected, found) == 1.0
    if file_format(case.format, {}).is_exact and case.variant.workflow == "static":
        np.testing.assert_array_equal(found, expected)
    elif file_format(case.format, {}).is_exact:
        # Float layers are fused after loading, and a dynamic layer's range follows what they give.
        np.testing.assert_allclose(found, expected, atol=0.005 * np.abs(expected).max())


@pytest.mark.parametrize("case", ROUNDED, ids=str)
def test_other_kernels_round_away_less_than_eight_bits_did(bench: Bench, case: Case) -> None:
    """One bit of rounding in a layer runs on through all that follow, so no step can be counted."""
    spec = planned(case.model, case.variant, case.format)
    original = bench.variant_logits(planned(case.model, FLOAT32, OWN))
    expected, found = bench.variant_logits(spec), bench.logits(spec)
    kept, left = sqnr_db(expected, found), sqnr_db(original, expected)
    if kept is None:
        # Not a bit differs.
        assert np.array_equal(expected, found)
    elif case.variant == FLOAT32:
        assert kept > 100
    elif case.variant.workflow == "static":
        assert left is not None
        assert kept > left
    else:
        # A picture asked alone has a range of its own; torch was asked for all of them at once.
        assert kept > 30


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_file_carries_what_it_was_made_from(bench: Bench, case: Case) -> None:
    spec = planned(case.model, case.variant, case.format)
    found, info = dict(bench.answers(spec).provenance), find(case.model)
    assert found["labels"] == list(info.labels)
    assert len(info.labels) == 10
    assert (found["image_size"], found["channels"]) == (64, "RGB")
    assert (found["mean"], found["std"]) == (list(info.mean), list(info.std))
    assert (found["workflow"], found["backend"]) == (case.variant.workflow, case.variant.backend)
    assert (found["model"], found["format"]) == (case.model.name, case.format)
    assert found["weights"] == weights_digest(case.model, None)
    toolchain = runtime(case.variant.backend).toolchain
    assert {"torch", *toolchain.packages} <= found["libraries"].keys()
    assert found["libraries"].items() <= library_versions().items()
    assert provenance(spec.request, case.variant).keys() <= found.keys()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_file_names_no_folder_of_the_machine_that_made_it(bench: Bench, case: Case) -> None:
    """Else the same model's file has other bytes, and another size, on the next machine."""
    path = bench.path(planned(case.model, case.variant, case.format))
    folders = {str(Path(quantcore.__file__).parent), sysconfig.get_path("purelib"), sys.prefix}
    for name, content in records(path):
        assert not [folder for folder in folders if folder.encode() in content], name


def records(path: Path) -> Iterator[tuple[str, bytes]]:
    """Return the file's content, and what is in it if it is an archive."""
    yield path.name, path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_eight_bit_operators_are_counted(bench: Bench, case: Case) -> None:
    made = bench.export(planned(case.model, case.variant, case.format)).exported
    if case.variant == FLOAT32:
        assert made.int8_operators == 0
    elif case.variant.workflow == "dynamic":
        assert made.int8_operators == DYNAMIC_INT8[case.model]
    else:
        # Shapes are constants in the graph of another runtime, for one picture.
        least = STATIC_INT8[case.model] if FORMATS[case.format].is_exact else 1.0
        assert made.int8_operators / made.total_operators == pytest.approx(least)
    assert made.total_operators >= 8


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_file_says_what_it_needs(bench: Bench, case: Case) -> None:
    spec = planned(case.model, case.variant, case.format)
    made, answers = bench.export(spec).exported, bench.answers(spec)
    assert made.artifact.size_bytes == bench.path(spec).stat().st_size
    assert made.suffix == FORMATS[case.format].suffix
    assert list(made.operators) == sorted(set(made.operators))
    engine = runtime(case.variant.backend).engine
    needs_engine = engine is not None and FORMATS[case.format].package == "torch"
    assert made.engines == ((engine,) if needs_engine else ())
    assert all(step.applied or step.reason for step in made.passes)
    assert all(check.passed for check in answers.checks), answers.checks


@pytest.mark.parametrize("format", TAKING_OVER)
@pytest.mark.parametrize("report", [1, 2, 3])
def test_a_cancelled_export_leaves_no_file(bench: Bench, format: str, report: int) -> None:
    spec = planned(LSTM, FLOAT32, format)
    arguments = (spec, bench.conversion(spec), bench.files(spec))
    before = _files(bench.settings.data)
    stopped = bench.take("tests.support.exports:stop_at", report, *arguments)
    assert stopped == (report <= (1 if format == OWN else 3))
    made = 0 if stopped else 1
    assert len(_files(bench.settings.data) - before) <= made
    assert not list((bench.settings.data / "tmp").iterdir())


def _files(folder: Path) -> set[Path]:
    return {path for path in (folder / "artifacts").rglob("*") if path.is_file()}


def test_a_file_of_another_format_is_refused_in_the_runtimes_words(bench: Bench) -> None:
    for name in FORMATS:
        case = next(case for case in CASES if case.format == name)
        spec = planned(case.model, case.variant, name)
        path = bench.settings.data / f"rotten{FORMATS[name].suffix}"
        path.write_bytes(b"not a model" * 100)
        with pytest.raises(QuantcoreError, match=f"{FORMATS[name].runtime} says"):
            bench.take("quantcore.exports.answers:run_answers_child", spec, path)


@pytest.mark.parametrize("backend", MEASURED)
def test_a_file_is_relabelled_in_its_own_format(bench: Bench, backend: str) -> None:
    """As for a backend that shares a recipe: other metadata, the same answers."""
    format = BACKENDS[backend].format.name
    spec = planned(MOBILENET, static(backend), format)
    twin, (source, _) = bench.conversion(spec), bench.files(spec)
    named = static(backend, calibration_images=33)
    arguments = spec.request, named, twin, source
    relabelled = bench.take("quantcore.engine.convert:run_relabel_child", *arguments)
    assert relabelled.artifact.format == format
    path = bench.store.checked_path(relabelled.artifact.sha256)
    found = bench.run("tests.support.conversions:metadata", backend, path)
    assert found["settings"]["calibration_images"] == 33
    assert found.get("engine") == BACKENDS[backend].engine
    answers = [
        bench.run("tests.support.conversions:answer", spec.request, backend, each)
        for each in (source, path)
    ]
    np.testing.assert_array_equal(*answers)


# The registry


def test_formats_can_be_distinguished() -> None:
    kinds = FORMATS.values()
    assert all(name == kind.name for name, kind in FORMATS.items())
    for facts in ([kind.suffix for kind in kinds], [kind.title for kind in kinds]):
        assert len(set(facts)) == len(FORMATS)
    assert all(kind.suffix.startswith(".") and kind.summary.endswith(".") for kind in kinds)


@pytest.mark.parametrize(
    ("format", "model", "variant", "reason", "remedy"),
    [
        ("onnx", LSTM, dynamic("x86"), "no 8-bit LSTM", "as TorchScript"),
        ("onnx", VIT, dynamic("x86", dtype="float16"), "float16 weights", "qint8"),
        ("executorch", MOBILENET, static("x86"), "from the float model", "static on executorch"),
        ("executorch", LSTM, dynamic("x86"), "from the float model", "dynamic on executorch"),
        ("executorch", LSTM, FLOAT32, "from the float model", "float32 on executorch"),
    ],
)
def test_what_a_format_cannot_carry_is_refused_with_why_and_what_instead(
    format: str, model: ModelSpec, variant: Variant, reason: str, remedy: str
) -> None:
    answer = support(Case(model, variant, format))
    assert not answer.ok
    assert answer.reason.endswith(".")
    assert answer.remedy.endswith(".")
    assert reason in answer.reason
    assert remedy in answer.remedy
    assert exports.supports(planned(model, variant, format)) == answer


@pytest.mark.parametrize("kind", get_args(LayerKind))
@pytest.mark.parametrize("format", FORMATS)
def test_an_unknown_workflow_is_judged_by_the_layers_it_makes(format: str, kind: LayerKind) -> None:
    """No format asks for a workflow's name, so what a workflow makes is carried or refused."""
    unknown = Variant("unheard_of", "x86")
    wanted = Planned(subject(LSTM), unknown, {}, BACKENDS["x86"], kind)
    answer = file_format(format, {}).supports(wanted)
    assert answer.ok or (answer.reason and answer.remedy)


def test_every_format_carries_something() -> None:
    assert {case.format for case in CASES} == set(FORMATS)


@pytest.mark.parametrize("case", GRID, ids=str)
def test_what_is_offered_the_format_carries_and_all_else_says_why_not(case: Case) -> None:
    answer = offered(case)
    assert support(case).ok or not answer.ok
    assert answer.ok or (answer.reason and answer.remedy)


@pytest.mark.parametrize(
    ("format", "options", "reason", "remedy"),
    [
        ("onxn", {}, "Did you mean 'onnx'", "torchscript, mobile"),
        ("onnx", {"opsett": 17}, "Did you mean 'opset'", "dynamic_batch"),
        ("onnx", {"opset": "new"}, "onnx.opset cannot be 'new'", "integer"),
        ("onnx", {"opset": 12}, "Opset 12 cannot be written", "13 to 20"),
        ("onnx", {"opset": 21}, "Opset 21 cannot be written", "13 to 20"),
        ("mobile", {"bytecode": 3}, "Bytecode 3 cannot be written", "4 to 8"),
        ("mobile", {"bytecode": 9}, "Bytecode 9 cannot be written", "4 to 8"),
        ("torchscript", {"opset": 17}, "no option 'opset'", "It has none"),
        ("executorch", {"calibration_images": 8}, "no option 'calibration_images'", "It has none"),
    ],
)
def test_an_unknown_option_of_a_format_is_refused_with_the_nearest(
    format: str, options: dict[str, Setting], reason: str, remedy: str
) -> None:
    with pytest.raises(RequestError) as caught:
        file_format(format, options)
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy
