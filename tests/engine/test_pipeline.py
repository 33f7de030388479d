"""One cell from start to end, its figures against an independent computation, and the cache."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from quantcore.cache import Store
from quantcore.engine import FLOAT32, CellContext, context, keys, pipeline, run_cell, stages
from quantcore.engine.predict import are_logits
from quantcore.errors import CancelledError
from quantcore.models import ModelInfo, bundled_file, find
from quantcore.sandbox import PROJECT, ProcessPool
from quantcore.schema import (
    CompareRequest,
    Failure,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Variant,
    VariantResult,
)
from quantcore.settings import Settings

IMAGES = 64
SIDE = 32
STATIC = Variant("static", "x86", (("calibration_images", 16),))
DYNAMIC = Variant("dynamic", "x86")
MEASURE = MeasureSpec(threads=1, starts=2, rounds=1, time_budget_s=0.2)
TRAINED = CompareRequest(
    ModelSpec("bundled/mobilenet_v2"), (FLOAT32, STATIC), ImageSpec(None, IMAGES, SIDE), MEASURE
)
RANDOM = replace(TRAINED, model=ModelSpec("torchvision/shufflenet_v2_x0_5@random"))
CELL_IN_A_PROCESS = """
import sys
from pathlib import Path
from quantcore.sandbox import ProcessPool
from quantcore.engine import PRELOADED_MODULES, CellContext, run_cell
from quantcore.settings import Settings
from quantcore.schema.request import CompareRequest
from quantcore.cache import Store

settings = Settings(Path(sys.argv[1]))
request = CompareRequest.from_json(sys.argv[2])
with ProcessPool(PRELOADED_MODULES) as pool, Store.open(settings) as store:
    job = CellContext(request, settings, store, pool, lambda stage, share: None, lambda: False)
    result = run_cell(job, request.variants[0])
print(result.cached, result.conversion_s, *(ms for turn in result.turns for ms in turn.samples_ms))
"""

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def shared(pool: ProcessPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CellContext]:
    """The job of a trained model, in a store that the tests of this module share."""
    settings = Settings(tmp_path_factory.mktemp("store"))
    with Store.open(settings) as store:
        yield CellContext(TRAINED, settings, store, pool, _hush, lambda: False)


@pytest.fixture
def own(pool: ProcessPool, settings: Settings) -> Iterator[CellContext]:
    """A job in a store of the test's own."""
    with Store.open(settings) as store:
        yield CellContext(RANDOM, settings, store, pool, _hush, lambda: False)


def _hush(_stage: str, _share: float) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def results(shared: CellContext) -> dict[Variant, VariantResult]:
    return {variant: measured(shared, variant) for variant in (FLOAT32, STATIC, DYNAMIC)}


def measured(job: CellContext, variant: Variant) -> VariantResult:
    row = run_cell(job, variant)
    assert isinstance(row, VariantResult), row
    return row


def nothing_spawns(job: CellContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        pytest.fail("a child was started")

    monkeypatch.setattr(job.pool, "spawn", fail)


def evaluation_pictures() -> tuple[Any, NDArray[np.int64]]:
    """Return the first evaluation pictures `[N, 3, S, S]` and their labels, prepared by hand."""
    import torch

    with np.load(bundled_file("fashion_mnist/evaluation.npz")) as file:
        grey, labels = file["images"][:IMAGES], file["labels"][:IMAGES]
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(grey).unsqueeze(1) / 255.0, size=SIDE, mode="bilinear"
    )
    return ((scaled - 0.2860) / 0.3530).repeat(1, 3, 1, 1), labels.astype(np.int64)


def answers(job: CellContext, row: VariantResult) -> NDArray[np.float64]:
    """Return the logits of a stored file, by plain torch."""
    import torch

    torch.backends.quantized.engine = row.backend or "x86"
    module = torch.jit.load(job.store.path(row.artifact.sha256))
    with torch.inference_mode():
        logits: NDArray[np.float64] = module(evaluation_pictures()[0]).double().numpy()
    return logits


# Figures


@pytest.mark.parametrize("variant", [FLOAT32, STATIC, DYNAMIC], ids=lambda each: each.label)
def test_accuracy_is_what_plain_torch_finds_in_the_file(
    shared: CellContext, results: dict[Variant, VariantResult], variant: Variant
) -> None:
    row = results[variant]
    right = int((answers(shared, row).argmax(1) == evaluation_pictures()[1]).sum())
    assert row.accuracy is not None
    assert (row.accuracy.images, row.fidelity_images) == (IMAGES, IMAGES)
    assert row.accuracy.top1 == pytest.approx(right / IMAGES, abs=1e-9)
    assert row.accuracy.low < row.accuracy.top1 < row.accuracy.high


def test_agreement_and_noise_are_those_of_the_two_files(
    shared: CellContext, results: dict[Variant, VariantResult]
) -> None:
    reference, found = (answers(shared, results[each]) for each in (FLOAT32, STATIC))
    noise = ((reference - found) ** 2).sum()
    row = results[STATIC]
    assert row.agreement == pytest.approx((reference.argmax(1) == found.argmax(1)).mean())
    assert row.sqnr_db == pytest.approx(10 * math.log10((reference**2).sum() / noise), abs=0.1)
    assert (results[FLOAT32].agreement, results[FLOAT32].sqnr_db) == (1.0, None)


def test_sizes_are_those_of_the_files(
    shared: CellContext, results: dict[Variant, VariantResult], tmp_path: Path
) -> None:
    import torch

    from quantcore import models

    for row in results.values():
        content = shared.store.path(row.artifact.sha256).read_bytes()
        assert row.artifact.size_bytes == len(content)
    torch.save(models.build(TRAINED.model).state_dict(), tmp_path / "state.pt")
    whole = (tmp_path / "state.pt").stat().st_size
    # The name of the file is written into it, once for every tensor.
    assert results[FLOAT32].state_dict_bytes == pytest.approx(whole, rel=0.005)
    assert 3 < results[FLOAT32].state_dict_bytes / results[STATIC].state_dict_bytes < 4


def test_the_share_of_int8_is_told(results: dict[Variant, VariantResult]) -> None:
    assert results[FLOAT32].int8_share == 0
    assert results[STATIC].int8_share == 1
    assert 0 < results[DYNAMIC].int8_share < 0.05


def test_the_float_model_is_looked_into_once(
    shared: CellContext,
    results: dict[Variant, VariantResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statistics = results[FLOAT32].statistics
    assert statistics is not None
    assert (statistics.calibration_images, statistics.evaluation_images) == (64, IMAGES)
    assert statistics.depthwise_layers == 17
    assert all(results[each].statistics is None for each in (STATIC, DYNAMIC))
    nothing_spawns(shared, monkeypatch)
    assert stages.float_statistics(shared, 0.75) == statistics


def test_a_row_says_what_it_is_of(
    shared: CellContext, results: dict[Variant, VariantResult]
) -> None:
    row = results[STATIC]
    assert (row.model, row.workflow, row.backend) == ("bundled/mobilenet_v2", "static", "x86")
    assert row.settings == {
        "calibration_images": 16,
        "observer": "histogram",
        "per_channel": None,
        "equalize": None,
        "reduce_range": None,
        "bias_correction": None,
        "keep_float": 0,
        "max_loss_points": 0.5,
    }
    assert (row.threads, row.batch, row.image_size, row.cached) == (1, 1, SIDE, False)
    assert row.key == pipeline.cell_key(TRAINED, STATIC)
    assert row.conversion_s > 0
    assert len({each.key for each in results.values()}) == len(results)
    assert set(pipeline.cached_results(shared.store, TRAINED)) == {FLOAT32, STATIC}


def test_progress_rises_and_names_its_stages(own: CellContext) -> None:
    told: list[tuple[str, float]] = []
    measured(replace(own, report=lambda stage, share: told.append((stage, share))), FLOAT32)
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert {"loading the model", "writing the file", "timing", "done"} <= {each for each, _ in told}


# What is not offered


def test_random_weights_have_size_and_latency_only(own: CellContext) -> None:
    variant = Variant("static", "qnnpack", (("calibration_images", 2),))
    row = measured(own, variant)
    assert (row.accuracy, row.agreement, row.sqnr_db, row.fidelity_images) == (None, None, None, 0)
    assert row.predictions is None
    assert row.artifact.size_bytes > 0
    assert row.latency_ms.p50 > 0
    assert row.int8_share == 1
    assert any("Random weights" in note for note in row.notes)


def test_loose_pictures_give_agreement_and_no_accuracy(own: CellContext, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(6):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    images = ImageSpec(str(folder), 10, SIDE)
    loose = replace(own, request=replace(TRAINED, images=images))
    row = measured(loose, DYNAMIC)
    assert row.accuracy is None
    assert stages.float_statistics(loose, 0.75) is None
    assert row.agreement is not None
    assert row.sqnr_db is not None
    assert 0 < row.fidelity_images < 6
    assert any("agreement with float32 stands for accuracy" in note for note in row.notes)


# The cache


def test_a_second_call_starts_no_child(
    shared: CellContext, results: dict[Variant, VariantResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_spawns(shared, monkeypatch)
    for variant, row in results.items():
        assert measured(shared, variant) == replace(row, cached=True)


def test_what_shares_its_numbers_shares_conversion_and_answers(
    shared: CellContext, results: dict[Variant, VariantResult]
) -> None:
    spawned: list[str] = []
    spawn = shared.pool.spawn

    class Watched:
        def spawn(self, function: str, *arguments: Any, **paths: Any) -> Any:
            spawned.append(function.partition(":")[2])
            return spawn(function, *arguments, **paths)

    row = measured(replace(shared, pool=Watched()), replace(STATIC, backend="fbgemm"))  # type: ignore[arg-type]
    assert "run_convert_child" not in spawned
    assert spawned.count("run_relabel_child") == 1
    # Float32, this file, and the first variant, in each start.
    assert spawned.count("run_timed_child") % 3 == 0
    assert row.conversion_s == results[STATIC].conversion_s
    assert row.accuracy == results[STATIC].accuracy
    assert row.latency_ms != results[STATIC].latency_ms
    assert row.artifact.sha256 != results[STATIC].artifact.sha256


def test_more_evaluation_pictures_convert_nothing_again(
    shared: CellContext, results: dict[Variant, VariantResult]
) -> None:
    fewer = replace(TRAINED, images=ImageSpec(None, 10, SIDE))
    row = measured(replace(shared, request=fewer), FLOAT32)
    assert not row.cached
    assert row.fidelity_images == 10
    assert row.artifact == results[FLOAT32].artifact
    assert row.conversion_s == results[FLOAT32].conversion_s


def test_a_damaged_file_is_set_aside_and_made_anew(own: CellContext) -> None:
    first = stages.convert(own, FLOAT32, 0.0, 1.0)
    path = own.store.path(first.artifact.sha256)
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = stages.convert(own, FLOAT32, 0.0, 1.0)
    assert own.store.maintenance.verify().is_clean
    assert own.store.checked_path(again.artifact.sha256).stat().st_size == again.artifact.size_bytes
    assert again.state_digest == first.state_digest
    assert len(list((own.settings.data / "quarantine").iterdir())) == 1
    assert isinstance(run_cell(own, FLOAT32), VariantResult)


def test_an_evicted_file_is_made_anew(own: CellContext) -> None:
    first = stages.convert(own, FLOAT32, 0.0, 1.0)
    own.store.path(first.artifact.sha256).unlink()
    again = stages.convert(own, FLOAT32, 0.0, 1.0)
    assert own.store.path(again.artifact.sha256).exists()


def test_two_processes_measure_one_cell_once(settings: Settings) -> None:
    request = replace(RANDOM, variants=(FLOAT32,))
    command = [sys.executable, "-c", CELL_IN_A_PROCESS, str(settings.data), request.to_json()]
    pair = [
        subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate(timeout=280)[0].split() for process in pair]
    assert sorted(cached for cached, *_ in told) == ["False", "True"]
    assert told[0][1:] == told[1][1:]
    assert len(told[0]) > 2


# Trouble


def test_a_cell_that_breaks_is_a_row_with_reason_and_details(own: CellContext) -> None:
    row = run_cell(own, Variant("dynamic", "x86", (("layers", ("no.such.layer",)),)))
    assert isinstance(row, Failure)
    assert "no submodule 'no.such.layer'" in row.reason
    assert row.remedy
    assert not row.refused
    assert "in convert" in row.details
    json.dumps(row.settings)


def test_a_cell_that_is_cancelled_raises_and_keeps_what_was_made(own: CellContext) -> None:
    stages.convert(own, FLOAT32, 0.0, 1.0)
    with pytest.raises(CancelledError):
        run_cell(replace(own, should_stop=lambda: True), FLOAT32)
    assert {entry.kind for entry in own.store.maintenance.entries()} == {"conversion", "recipe"}


def of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bundled models count as uploaded programs."""

    def find_program(spec: ModelSpec) -> ModelInfo:
        return replace(find(spec), is_program=True)

    for module in (context, keys, pipeline):
        monkeypatch.setattr(module, "find", find_program)


def test_a_program_whose_file_is_cached_is_not_timed_without_a_lock(
    own: CellContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(own, request=replace(TRAINED, variants=(FLOAT32,)))
    assert isinstance(run_cell(job, FLOAT32), VariantResult)
    of_a_program(monkeypatch)
    monkeypatch.setattr(stages, "convert", lambda *_: pytest.fail("went on without a lock"))
    # Another way of timing: all but the timing is known.
    other = replace(job, request=replace(job.request, measure=replace(MEASURE, batch=2)))
    row = run_cell(other, FLOAT32)
    assert isinstance(row, Failure)
    assert row.reason == context.NOT_LOCKED


def test_a_program_cannot_answer_in_the_name_of_another_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = keys.predictions_key("state", "probe", TRAINED)
    of_a_program(monkeypatch)
    one = keys.predictions_key("state", "probe", TRAINED)
    other = keys.predictions_key("state", "probe", replace(TRAINED, model=RANDOM.model))
    assert len({usual, one, other}) == 3


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 5), np.float64),
        np.zeros((3, 4), np.float32),
        np.zeros((4, 5), np.float32),
        np.zeros((0, 5), np.float32),
        np.zeros(5, np.float32),
    ],
    ids=["kind", "classes", "many", "none", "flat"],
)
def test_logits_are_held_against_what_was_asked(tmp_path: Path, array: NDArray[Any]) -> None:
    path = tmp_path / "logits"
    for content, fits in ((np.zeros((3, 5), np.float32), True), (array, False)):
        with path.open("wb") as file:
            np.save(file, content)
        assert are_logits(path, 3, 5) is fits


def test_a_file_that_only_claims_logits_is_none(tmp_path: Path) -> None:
    path = tmp_path / "logits"
    with path.open("wb") as file:
        np.savez(file, logits=np.zeros((3, 5), np.float32))
    assert not are_logits(path, 3, 5)
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3000000000, 5), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    assert not are_logits(path, 4_000_000_000, 5)
