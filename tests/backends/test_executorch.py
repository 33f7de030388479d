"""ExecuTorch as a backend: what it refuses, and its figures beside ExecuTorch's own Python API."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantcore.backends import BACKENDS, agreement, executorch, sqnr_db
from quantcore.engine import refusals
from quantcore.models import Subject, find
from quantcore.sandbox import ProcessPool
from quantcore.schema import (
    CompareRequest,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Variant,
    current_environment,
)
from quantcore.workflows import workflow

BACKEND = BACKENDS["executorch"]
RESNET = ModelSpec("bundled/resnet18")
LSTM = ModelSpec("bundled/row_lstm")
TIMEOUT_S = 560


def asked(model: ModelSpec, name: str, **settings: Setting) -> Any:
    """Return the answer to whether a cell is possible."""
    variant = Variant(name, "executorch", tuple(sorted(settings.items())))
    request = CompareRequest(model, (variant,), ImageSpec(), MeasureSpec())
    return refusals(request).get(variant)


@pytest.mark.parametrize(
    ("model", "name", "settings", "reason", "remedy"),
    [
        (LSTM, "float32", {}, "no LSTM", "QNNPACK"),
        (LSTM, "dynamic", {}, "no LSTM", "QNNPACK"),
        (RESNET, "half", {}, "32 or 8 bits", "static"),
        (RESNET, "dynamic", {"dtype": "float16"}, "not float16", "qint8"),
        (RESNET, "static", {"observer": "entropy"}, "no entropy observer", "histogram"),
        (RESNET, "static", {"reduce_range": True}, "cannot overflow", "reduce_range"),
        (RESNET, "static", {"bias_correction": True}, "not corrected", "QAT"),
    ],
)
def test_what_it_cannot_do_is_refused_with_what_instead(
    model: ModelSpec, name: str, settings: dict[str, Setting], reason: str, remedy: str
) -> None:
    row = asked(model, name, **settings)
    assert reason in row.reason
    assert remedy in row.remedy


@pytest.mark.parametrize("settings", [{}, {"observer": "auto"}, {"reduce_range": False}])
def test_what_it_can_do_is_not_refused(settings: dict[str, Setting]) -> None:
    assert asked(RESNET, "static", **settings) is None


def test_a_program_is_refused_since_it_came_without_its_source() -> None:
    info = replace(find(RESNET), is_program=True)
    subject = Subject(RESNET, info, True, current_environment())
    for name in BACKEND.toolchain.steps:
        support = workflow(name, {}).supports(subject, BACKEND)
        assert "torch.export" in support.reason
        assert "weights" in support.remedy


@pytest.mark.slow
def test_it_answers_as_executorchs_own_api_makes_it(pool: ProcessPool, tmp_path: Path) -> None:
    settings: dict[str, Setting] = {"calibration_images": 16, "observer": "histogram"}
    images = ImageSpec(evaluation_images=40, image_size=32)
    request = CompareRequest(RESNET, (), images, MeasureSpec())
    function = "tests.support.lowering:by_hand"
    with pool.spawn(function, request, settings, tmp_path) as child:
        found = child.receive(timeout_s=TIMEOUT_S)
    # Pictures are shown to the observers in other batches, so that histograms differ a little.
    assert agreement(found["hand"], found["ours"]) >= 0.975
    noise = sqnr_db(found["hand"], found["ours"])
    assert noise is None or noise > 30
    lowering = sqnr_db(found["graph"], found["hand"])
    assert lowering is None or lowering > 30


@pytest.mark.slow
def test_its_settings_decide_which_layers_are_rounded_and_how(
    pool: ProcessPool, tmp_path: Path
) -> None:
    images = ImageSpec(evaluation_images=8, image_size=32)
    request = CompareRequest(RESNET, (), images, MeasureSpec())
    with pool.spawn("tests.support.lowering:chosen", request, tmp_path) as child:
        found = child.receive(timeout_s=TIMEOUT_S)

    (auto,), (kept,), (per_tensor,) = (
        found[name]["tuning"] for name in ("auto", "kept", "per tensor")
    )
    assert set(auto.sqnr_db) == set(executorch.OBSERVERS)
    assert auto.sqnr_db[auto.observer] == max(auto.sqnr_db.values())
    assert (auto.kept_float, auto.layers, auto.loss_points) == ((), 21, None)
    assert found["auto"]["floats"] == []
    # ResNet's 20 convolutions and its linear layer.
    assert len(kept.kept_float) == 2
    assert set(found["kept"]["floats"]) == set(kept.kept_float)
    assert kept.loss_points is not None
    assert per_tensor.equalized
    assert not kept.equalized
    assert "fc" not in found["dynamic"]["floats"]
    assert len(found["dynamic"]["floats"]) == 20
    assert found["named"]["floats"] == found["dynamic"]["floats"]
    assert "no submodule 'layer9'" in found["unknown"]


def test_observers_that_auto_tries_are_taken_by_name_as_well() -> None:
    assert {asked(RESNET, "static", observer=name) for name in executorch.OBSERVERS} == {None}
