"""Exports from what is asked for to the file and its report, and the command that asks."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import numpy as np
import pytest
import typer

from quantcore.api import exporting
from quantcore.cache import Store
from quantcore.cli import export
from quantcore.engine import FLOAT32, CellContext
from quantcore.errors import (
    CancelledError,
    ChildDiedError,
    DamagedArtifactError,
    DoesNotRunError,
    QuantcoreError,
    RequestError,
    StoreError,
)
from quantcore.exports import Exports, answers, checks, exports, verify
from quantcore.exports.checks import Evidence, Logits
from quantcore.formats import FORMATS, Format
from quantcore.jobs import Workers
from quantcore.models import find
from quantcore.sandbox import ProcessPool, never_stop
from quantcore.schema import (
    Artifact,
    Check,
    Exported,
    ExportSpec,
    Failure,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Variant,
    VerificationReport,
    current_environment,
)
from quantcore.settings import Settings
from tests.cache.test_damage import mounted
from tests.support.exports import (
    LSTM,
    MOBILENET,
    PICTURES,
    dynamic,
    ignore,
    job_of,
    planned,
    static,
)
from tests.support.processes import soon

WITHIN_S = 20.0
RANDOM = ModelSpec("torchvision/shufflenet_v2_x0_5@random")
ONNX = planned(LSTM, FLOAT32, "onnx")
MOBILE = planned(LSTM, dynamic("x86"), "mobile")

Make = Callable[[ExportSpec], VerificationReport]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with one data folder for the whole module."""
    return Settings(data=tmp_path_factory.mktemp("exports") / "data", quota_gb=1.0, threads=1)


@pytest.fixture(scope="module")
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def make(store: Store, pool: ProcessPool, settings: Settings) -> Make:
    return lambda spec: exports.make(job_of(spec, store, pool, settings), spec)


@pytest.fixture
def idle(store: Store, settings: Settings) -> Callable[[ExportSpec], CellContext]:
    """Jobs that could not start a child."""
    nobody = cast(ProcessPool, None)
    return lambda spec: CellContext(spec.request, settings, store, nobody, ignore, never_stop)


# What is asked for


@pytest.mark.parametrize(
    ("model", "variant", "format", "options", "reason"),
    [
        ("bundled/mobilnet_v2", FLOAT32, "onnx", {}, "mobilenet_v2"),
        ("bundled/row_lstm", Variant("dynamik", "x86"), "onnx", {}, "Did you mean 'dynamic'"),
        ("bundled/row_lstm", Variant("dynamic", "x68"), "onnx", {}, "Did you mean 'x86'"),
        ("bundled/row_lstm", Variant("dynamic", None), "onnx", {}, "dynamic needs a backend"),
        ("bundled/row_lstm", FLOAT32, "onxx", {}, "Did you mean 'onnx'"),
        ("bundled/row_lstm", FLOAT32, "onnx", {"obset": 17}, "Did you mean 'opset'"),
        (
            "bundled/row_lstm",
            Variant("dynamic", "x86", (("layer", "LSTM"),)),
            "onnx",
            {},
            "Did you mean 'layers'",
        ),
    ],
)
def test_a_typo_is_answered_with_the_nearest(
    model: str, variant: Variant, format: str, options: dict[str, Setting], reason: str
) -> None:
    with pytest.raises(RequestError) as caught:
        exports.planned(ModelSpec(model), variant, format, options)
    assert reason in f"{caught.value.reason} {caught.value.remedy}"
    assert caught.value.remedy


def test_what_was_typed_becomes_what_it_means() -> None:
    typed = Variant("static", "x86", (("observer", "minmax"), ("calibration_images", "64")))
    spec = exports.planned(MOBILENET, typed, "onnx", {"opset": "18", "dynamic_batch": "yes"})
    assert spec.variant.settings == (("calibration_images", 64), ("observer", "minmax"))
    assert spec.options == (("dynamic_batch", True), ("opset", 18))
    assert spec == exports.planned(
        MOBILENET, spec.variant, "onnx", {"dynamic_batch": True, "opset": 18}
    )


def test_float32_has_no_backend() -> None:
    assert exports.planned(LSTM, Variant("float32", "x86"), "onnx").variant == FLOAT32


def test_a_refusal_of_the_variant_comes_before_one_of_the_format() -> None:
    support = exports.supports(planned(LSTM, static("x86"), "onnx"))
    assert not support.ok
    assert "no static 8-bit form" in support.reason
    assert "Dynamic" in support.reason
    assert "ONNX has no 8-bit LSTM" in exports.supports(planned(LSTM, dynamic(), "onnx")).reason
    assert exports.supports(ONNX).ok


@pytest.mark.parametrize("format", FORMATS)
def test_a_program_is_written_in_every_format_that_needs_no_source(
    monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.setattr(exports, "find", lambda model: replace(find(model), is_program=True))
    support = exports.supports(planned(LSTM, FLOAT32, format))
    assert support.ok != FORMATS[format].needs_source
    others = [kind.title for kind in FORMATS.values() if not kind.needs_source]
    assert support.ok or all(title in support.remedy for title in others)


def test_a_size_is_checked_where_the_format_limits_it() -> None:
    for limit in (None, 0.5):
        names = [each.name for each in checks.checks(evidence(VARIANT, max_overhead=limit))]
        assert ("size" in names) == (limit is not None)


@pytest.mark.parametrize(
    ("model", "variant", "format", "name"),
    [
        (MOBILENET, static("qnnpack"), "mobile", "mobilenet_v2-static-qnnpack.ptl"),
        (LSTM, FLOAT32, "onnx", "row_lstm-float32.onnx"),
        (RANDOM, FLOAT32, "torchscript", "shufflenet_v2_x0_5-random-float32.pt"),
        (
            MOBILENET,
            Variant("float32", "executorch"),
            "executorch",
            "mobilenet_v2-float32-executorch.pte",
        ),
    ],
)
def test_a_file_has_a_name_that_every_system_takes(
    model: ModelSpec, variant: Variant, format: str, name: str
) -> None:
    assert exports.file_name(planned(model, variant, format)) == name


# What is made and verified


@pytest.mark.parametrize("spec", [ONNX, MOBILE], ids=lambda spec: spec.format)
def test_a_file_is_made_and_verified(make: Make, store: Store, spec: ExportSpec) -> None:
    card = make(spec)
    assert card.passed, card.checks
    assert card.spec == spec
    names = [check.name for check in card.checks]
    assert names[:3] == ["loads in a fresh process", "provenance", "answers as its variant"]
    assert (
        names[3:] == {"onnx": ["onnx.checker"], "mobile": ["size", "bytecode version"]}[spec.format]
    )
    assert card.images == PICTURES
    assert card.agreement == 1.0
    assert card.accuracy is not None
    assert card.accuracy.images == PICTURES
    path = store.checked_path(card.exported.artifact.sha256)
    assert 0 < card.zipped_bytes < path.stat().st_size
    assert any("No phone ran this file" in told for told in card.not_verified)
    assert VerificationReport.from_json(card.to_json()) == card


def test_a_file_is_timed_in_turns_with_its_variants_own(make: Make) -> None:
    (latency,) = make(ONNX).latency
    assert latency.runtime == "ONNX Runtime"
    assert latency.latency_ms is not None
    assert latency.latency_ms.p50 > 0
    assert latency.speedup is not None
    assert latency.speedup.low <= latency.speedup.ratio <= latency.speedup.high


def test_a_phones_own_kernels_are_asked_as_well(make: Make) -> None:
    (note,) = make(MOBILE).notes
    assert note.startswith("On a phone this format has only QNNPACK's kernels.")
    assert f"{PICTURES} pictures" in note
    assert make(ONNX).notes == ()


@pytest.mark.parametrize(
    ("backend", "format", "sets", "is_told"),
    [
        ("onednn", "onnx", ("AVX2",), True),
        ("onednn", "onnx", ("AVX2", "AVX-512 VNNI"), False),
        ("onednn", "mobile", ("AVX2",), False),
        ("qnnpack", "onnx", ("AVX2",), False),
    ],
)
def test_a_variant_that_may_overflow_here_has_a_note(
    monkeypatch: pytest.MonkeyPatch, backend: str, format: str, sets: tuple[str, ...], is_told: bool
) -> None:
    here = replace(current_environment(), instruction_sets=sets)
    monkeypatch.setattr(verify, "current_environment", lambda: here)
    notes = verify.overflows(planned(MOBILENET, static(backend), format))
    assert ["the file may be right and the variant wrong" in note for note in notes] == (
        [True] if is_told else []
    )


def test_what_was_made_before_is_given_without_a_child(
    make: Make, store: Store, idle: Callable[[ExportSpec], CellContext]
) -> None:
    card = make(ONNX)
    assert exports.make(idle(ONNX), ONNX) == card
    assert exports.cached(store, ONNX) == card
    assert exports.cached(store, planned(LSTM, FLOAT32, "onnx", opset=18)) is None


def test_a_damaged_file_is_made_again(make: Make, store: Store) -> None:
    card = make(ONNX)
    path = store.checked_path(card.exported.artifact.sha256)
    content = path.read_bytes()
    path.write_bytes(b"rot" + content[3:])
    assert exports.cached(store, ONNX) is None
    again = make(ONNX)
    assert again.passed
    assert again.exported == card.exported
    assert store.checked_path(card.exported.artifact.sha256).read_bytes() == content


def test_a_proof_over_fewer_pictures_is_another_proof_of_the_same_file(make: Make) -> None:
    card, fewer = make(ONNX), make(replace(ONNX, images=3))
    assert (card.images, fewer.images) == (PICTURES, 3)
    assert fewer.accuracy is not None
    assert fewer.accuracy.images == 3
    assert fewer.exported == card.exported
    assert make(ONNX).images == PICTURES


def test_no_more_pictures_are_judged_than_there_are(make: Make, store: Store) -> None:
    make(ONNX)
    card = exports.cached(store, replace(ONNX, images=9_999))
    assert card is not None
    assert card.images == PICTURES


def random_weights(images: int) -> ExportSpec:
    pictures, measure = (
        ImageSpec(evaluation_images=8, image_size=64),
        MeasureSpec(starts=2, rounds=1),
    )
    return exports.planned(RANDOM, FLOAT32, "mobile", {}, pictures, measure, images)


@pytest.mark.parametrize("images", [3, 9_999])
def test_random_weights_are_judged_by_their_logits(make: Make, images: int) -> None:
    card = make(random_weights(images))
    assert card.passed, card.checks
    assert card.images == min(images, 8)
    assert (card.agreement, card.accuracy) == (None, None)
    assert card.checks[2].found.startswith("Logits differ by at most")
    assert any("weights are random" in told for told in card.not_verified)


def test_what_ran_the_file_is_on_its_card_and_decides_it(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, here = make(ONNX), version("onnxruntime")
    assert card.runtime_version == here
    assert any(f"ONNX Runtime {here} on this machine" in told for told in card.not_verified)
    assert exports.recorded(store, ONNX) == card
    monkeypatch.setattr(exports, "runtime_version", lambda _spec: "0.1")
    assert exports.recorded(store, ONNX) is None


@pytest.mark.parametrize("changed", [{"threads": 2}, {"batch": 3}])
def test_a_file_timed_otherwise_has_another_proof(
    make: Make, store: Store, changed: dict[str, Any]
) -> None:
    make(ONNX)
    measure = replace(ONNX.request.measure, **changed)
    spec = replace(ONNX, request=replace(ONNX.request, measure=measure))
    assert exports.recorded(store, spec) is None


# What is not made


@pytest.mark.parametrize(
    "error", [ChildDiedError("Killed."), StoreError("Full."), CancelledError("Stopped.")]
)
def test_what_says_nothing_of_the_file_is_no_proof(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch, error: QuantcoreError
) -> None:
    make(ONNX)
    spec = replace(ONNX, images=5)
    monkeypatch.setattr(verify._Verification, "_answers", Mock(side_effect=error))
    with pytest.raises(type(error)):
        make(spec)
    assert exports.recorded(store, spec) is None


def test_a_file_that_does_not_run_has_a_card_that_says_so(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(ONNX)
    spec = replace(ONNX, images=6)
    error = DoesNotRunError("ONNX Runtime says: no such operator.")
    monkeypatch.setattr(verify._Verification, "_answers", Mock(side_effect=error))
    card = make(spec)
    assert not card.passed
    assert "no such operator" in card.checks[0].found
    assert exports.recorded(store, spec) == card


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (RuntimeError("no such operator"), DoesNotRunError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError),
        (MemoryError(), MemoryError),
        (OSError(28, "No space left on device"), OSError),
        (StoreError("Full."), StoreError),
        (RequestError("a.png cannot be read as a picture."), RequestError),
    ],
    ids=str,
)
def test_only_what_a_runtime_says_of_a_file_is_held_against_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, becomes: type[Exception]
) -> None:
    import torch

    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    made = cast(Format, SimpleNamespace(runtime="It", load=Mock(side_effect=error)))
    with pytest.raises(Exception) as caught:  # noqa: PT011
        answers._evaluated(Mock(), made, ONNX, Path("a.onnx"), None)
    assert type(caught.value) is becomes


def test_what_cannot_be_is_a_failure_with_the_remedy(
    idle: Callable[[ExportSpec], CellContext],
) -> None:
    spec = planned(LSTM, dynamic(), "onnx")
    failed = exports.attempt(idle(spec), spec)
    assert isinstance(failed, Failure)
    assert failed.refused
    assert "no 8-bit LSTM" in failed.reason
    assert "TorchScript" in failed.remedy


def test_a_crash_is_a_failure_that_was_not_refused(
    idle: Callable[[ExportSpec], CellContext],
) -> None:
    spec = planned(LSTM, FLOAT32, "onnx", opset=14)
    failed = exports.attempt(idle(spec), spec)
    assert isinstance(failed, Failure)
    assert not failed.refused
    assert "AttributeError" in failed.details


@pytest.mark.parametrize("report", [1, 3, 6])
def test_a_cancelled_export_raises_and_proves_nothing(
    store: Store, pool: ProcessPool, settings: Settings, report: int
) -> None:
    spec = planned(LSTM, FLOAT32, "mobile", bytecode=7)
    told: list[str] = []
    job = job_of(
        spec,
        store,
        pool,
        settings,
        lambda stage, _share: told.append(stage),
        lambda: len(told) >= report,
    )
    with pytest.raises(CancelledError):
        exports.attempt(job, spec)
    assert len(told) >= report
    assert exports.cached(store, spec) is None
    # A child that was killed leaves a draft, which the next to open the folder removes.
    Store.open(settings).close()
    assert not list((settings.data / "tmp").iterdir())


# What a file is held against


def evidence(logits: Logits, **changed: Any) -> Evidence:
    artifact = Artifact("0" * 64, 1_000, "onnx")
    facts = {"labels": ["cat", "dog"], "image_size": 64, "channels": "RGB"}
    usual = Evidence(
        spec=ONNX,
        exported=Exported(artifact, ".onnx", (), (), (), "", 0, 1),
        is_exact=False,
        max_overhead=None,
        expected=facts,
        embedded=facts,
        logits=logits,
        variant_logits=VARIANT,
        labels=None,
        state_dict_bytes=1_000,
    )
    return replace(usual, **changed)


def check(name: str, given: Evidence) -> Check:
    return next(each for each in checks.checks(given) if each.name.startswith(name))


def differing(count: int, total: int = 1_000) -> Logits:
    """Return logits `[N, 2]` of which so many name the other class than `VARIANT` does."""
    logits = np.zeros((total, 2), np.float32)
    logits[:count, 1] = logits[count:, 0] = 1.0
    return logits


VARIANT = differing(0)


@pytest.mark.parametrize(
    ("count", "is_exact", "passed"),
    [(0, True, True), (1, True, False), (5, False, True), (6, False, False)],
)
def test_classes_may_differ_a_little_where_kernels_do(
    count: int, is_exact: bool, passed: bool
) -> None:
    found = check("answers as its variant", evidence(differing(count), is_exact=is_exact))
    assert found.passed == passed
    share = "All 1,000 pictures" if not count else f"{100 - count / 10:.2f} % of 1,000 pictures"
    assert found.found.startswith(share)


@pytest.mark.parametrize(
    ("noise", "is_exact", "passed"),
    [(0.0, True, True), (5e-4, True, True), (2e-3, True, False), (0.05, False, True)],
)
def test_random_weights_are_held_against_logits(noise: float, is_exact: bool, passed: bool) -> None:
    given = evidence(VARIANT + np.float32(noise), is_exact=is_exact, spec=random_weights(8))
    assert check("answers as its variant", given).passed == passed


def test_much_noise_in_random_logits_is_too_much() -> None:
    given = evidence(VARIANT + np.float32(0.2), spec=random_weights(8))
    assert not check("answers as its variant", given).passed


def test_what_a_file_does_not_carry_is_named() -> None:
    assert check("provenance", evidence(VARIANT)).passed
    missing = check("provenance", evidence(VARIANT, embedded={"labels": ["cat", "dog"]}))
    assert not missing.passed
    assert "image_size and channels" in missing.found


@pytest.mark.parametrize(
    ("size", "passed", "words"),
    [(1_100, True, "larger"), (1_101, False, "larger"), (900, True, "smaller")],
)
def test_a_phones_file_may_be_a_tenth_larger(size: int, passed: bool, words: str) -> None:
    exported = replace(evidence(VARIANT).exported, artifact=Artifact("0" * 64, size, "mobile"))
    found = check("size", evidence(VARIANT, spec=MOBILE, exported=exported, max_overhead=0.1))
    assert found.passed == passed
    assert words in found.found


def test_only_a_phones_file_is_held_against_a_size() -> None:
    assert [each.name for each in checks.checks(evidence(VARIANT))] == [
        "loads in a fresh process",
        "provenance",
        "answers as its variant",
    ]


# Exports that several ask for


@pytest.fixture
def workers() -> Mock:
    """Workers that take everything and finish nothing."""
    return Mock(spec=Workers)


@pytest.fixture
def queue(settings: Settings, workers: Mock) -> Iterator[Exports]:
    opened = Exports(settings, workers)
    yield opened
    opened.close()


def unmade(images: int = 7) -> ExportSpec:
    return planned(MOBILENET, FLOAT32, "mobile", images)


def test_an_export_stops_when_the_last_who_asked_leaves(queue: Exports, workers: Mock) -> None:
    export_id = queue.start(unmade(), "ann")
    assert queue.start(unmade(), "bob") == queue.start(unmade(), "ann") == export_id
    assert soon(lambda: workers.submit_task.called)
    for leaving in ("eve", "ann", "ann"):
        assert not queue.cancel(export_id, leaving)
        assert queue.wait(export_id, 0.0).is_open
    workers.cancel.assert_not_called()
    assert queue.cancel(export_id, "bob")
    assert queue.wait(export_id, WITHIN_S).state == "cancelled"
    workers.cancel.assert_called_once_with(workers.submit_task.call_args.args[0].attempt_id)
    assert queue.start(unmade(), "ann") != export_id


def test_what_is_over_can_be_cancelled_by_nobody(queue: Exports) -> None:
    export_id = queue.start(unmade())
    queue.cancel(export_id)
    assert queue.cancel(export_id, "eve")
    assert queue.wait(export_id, 0.0).state == "cancelled"


def test_too_many_exports_are_refused_for_now(queue: Exports) -> None:
    started = [
        queue.start(unmade(images + 1), f"visitor {images % 2}")
        for images in range(queue.limits.in_all)
    ]
    with pytest.raises(RequestError, match="20 files are being made"):
        queue.start(unmade(50))
    assert queue.start(unmade(1), "bob") == started[0], "who joins takes no room"
    queue.cancel(started[1])
    assert queue.wait(queue.start(unmade(50)), 0.0).is_open


def test_a_full_queue_still_gives_what_is_there(
    make: Make, queue: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(ONNX)
    monkeypatch.setattr(queue, "limits", replace(queue.limits, in_all=0))
    assert queue.wait(queue.start(ONNX), 0.0).state == "done"


def test_a_page_reads_no_file_and_a_download_reads_all_of_it(
    make: Make, store: Store, queue: Exports
) -> None:
    card = make(ONNX)
    with queue.files(card) as (path, sample):
        assert sample is not None
        assert queue.picture(card) == sample.read_bytes()
        content = path.read_bytes()
    path.write_bytes(b"rot" + content[3:])
    assert queue.cached(ONNX) == card, "a page only looks whether it is there"
    with pytest.raises(DamagedArtifactError), queue.files(card):
        pass
    assert queue.cached(ONNX) is None
    assert make(ONNX).passed


# The command


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "files to take"
    folder.mkdir()
    return folder


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, pool: ProcessPool
) -> Callable[..., int]:
    """The command with the module's data folder and a process pool that is there already."""
    monkeypatch.setenv("QUANTCORE_DATA", str(settings.data))
    monkeypatch.setenv("QUANTCORE_THREADS", "1")
    monkeypatch.setattr(exporting, "ProcessPool", lambda *_, **__: nullcontext(pool))

    def run(**asked: Any) -> int:
        with pytest.raises(typer.Exit) as ended:
            export.export(**({"evaluation_images": PICTURES} | asked))
        return ended.value.exit_code

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_command_writes_the_file_and_its_report(
    command: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = out / "not" / "there"
    asked: dict[str, Any] = {"model": LSTM.name, "format": "onnx", "out": out}
    assert command(**asked) == 0
    assert names(out) == ["row_lstm-float32.onnx", "row_lstm-float32.onnx.verification.json"]
    report = VerificationReport.from_json(
        (out / "row_lstm-float32.onnx.verification.json").read_bytes()
    )
    size = (out / "row_lstm-float32.onnx").stat().st_size
    assert report.exported.artifact.size_bytes == size
    assert f"Written: {out / 'row_lstm-float32.onnx'}" in capsys.readouterr().out
    before = (out / "row_lstm-float32.onnx").stat()
    with pytest.raises(RequestError, match="is there already"):
        export.export(**asked)
    assert (out / "row_lstm-float32.onnx").stat() == before
    assert command(**asked, force=True) == 0
    assert (out / "row_lstm-float32.onnx").stat().st_ino != before.st_ino


def test_every_format_that_can_be_is_written_and_the_others_say_why_not(
    command: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {
        "model": LSTM.name,
        "workflow": "dynamic",
        "backend": "x86",
        "out": out,
    }
    assert command(**asked, all_=True) == 0
    files = [name for name in names(out) if not name.endswith(".verification.json")]
    assert files == ["row_lstm-dynamic-x86.pt", "row_lstm-dynamic-x86.ptl"]
    assert len(names(out)) == 4
    told = capsys.readouterr().out
    assert "onnx: ONNX has no 8-bit LSTM." in told
    assert "dynamic on executorch" in told


def test_a_full_disk_leaves_nothing_half_written(command: Callable[..., int], out: Path) -> None:
    with mounted(out, "-t", "tmpfs", "-o", "size=64k", "none"):
        with pytest.raises(StoreError, match="No space left on device"):
            export.export(LSTM.name, format="onnx", out=out, evaluation_images=PICTURES)
        assert names(out) == []


@pytest.mark.parametrize(
    ("asked", "reason", "remedy"),
    [
        ({"format": None}, "No format was asked for", "--all"),
        ({"format": "onxx"}, "Did you mean 'onnx'", "torchscript"),
        ({"all_": True, "option": ["opset=18"]}, "belong to one format", "--format"),
        ({"option": ["opset"]}, "'opset' is not an option", "NAME=VALUE"),
        ({"option": ["opset=99"]}, "Opset 99", "13 to 20"),
        ({"set_": ["dynamic"]}, "'dynamic' is not a setting", "WORKFLOW.SETTING=VALUE"),
        ({"out": Path(__file__)}, "is a file, not a folder", "--out"),
        ({"model": "row_lstm"}, "does not name a model", "bundled/NAME"),
        ({"workflow": "dynamic"}, "dynamic needs a backend", "qnnpack"),
        ({"workflow": "dynamic", "backend": "x86"}, "no 8-bit LSTM", "TorchScript"),
        ({"images": Path("/nowhere/at all")}, "/nowhere/at all", ""),
    ],
    ids=str,
)
def test_a_refusal_is_one_sentence_and_a_remedy(
    command: Callable[..., int], out: Path, asked: dict[str, Any], reason: str, remedy: str
) -> None:
    usual: dict[str, Any] = {"model": LSTM.name, "format": "onnx", "out": out}
    with pytest.raises(QuantcoreError) as caught:
        export.export(**(usual | asked))
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy
    assert "\n" not in caught.value.reason
    assert names(out) == []


def test_a_file_that_failed_a_check_is_written_only_anyway(
    command: Callable[..., int],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    capsys: pytest.CaptureFixture[str],
) -> None:
    red = replace(make(ONNX), checks=(Check("provenance", False, "It carries nothing."),))
    monkeypatch.setattr(exports, "make", lambda _job, _spec: red)
    asked: dict[str, Any] = {"model": LSTM.name, "format": "onnx", "out": out}
    assert command(**asked) == export.EXIT_NOTHING_WRITTEN
    assert names(out) == []
    assert "--anyway" in capsys.readouterr().out
    assert command(**asked, anyway=True) == 0
    assert len(names(out)) == 2


def test_every_format_is_offered_by_the_command() -> None:
    hints = export.export.__annotations__["format"]
    assert all(name in str(hints.__metadata__[0].help) for name in FORMATS)
