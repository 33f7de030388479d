"""The grid that is asked for, and the rows of cells that cannot be."""

from dataclasses import replace

import pytest

from quantcore.backends import BACKENDS, default_backends, float_backends
from quantcore.engine import FLOAT32, default_workflows, keys, misfits, plan, refusals
from quantcore.errors import RequestError
from quantcore.models import find
from quantcore.schema import (
    TARGETS,
    CompareRequest,
    ModelSpec,
    Setting,
    Target,
    current_environment,
)
from quantcore.workflows import WORKFLOWS

MOBILENET = ModelSpec("bundled/mobilenet_v2")
# What a toolchain has no step for.
NOWHERE = {
    *(f"half on {name}" for name in ("x86", "fbgemm", "qnnpack", "executorch")),
    *(f"pretrained on {name}" for name in ("openvino", "executorch")),
    "dynamic on openvino",
}
WITH_BFLOAT16 = replace(current_environment(), instruction_sets=("AVX-512 BF16",))


def refused(model: str, *workflows: str) -> dict[str, str]:
    """Return the reasons of the cells that a grid refuses, by variant."""
    request = plan(ModelSpec(model), workflows or tuple(WORKFLOWS), tuple(BACKENDS))
    rows = refusals(request, WITH_BFLOAT16)
    return {variant.label: row.reason for variant, row in rows.items()}


def test_the_full_grid_is_every_workflow_on_every_backend_and_their_floats() -> None:
    variants = plan(MOBILENET, list(WORKFLOWS), list(BACKENDS)).variants
    assert len(variants) == len(set(variants))
    assert variants[0] == FLOAT32
    floats = {("float32", name) for name in float_backends(BACKENDS)}
    assert {(each.workflow, each.backend) for each in variants} == floats | {
        (name, backend) for name in WORKFLOWS if name != "float32" for backend in BACKENDS
    }


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_brings_one_backend_of_each_runtime_that_is_made_for_it(target: Target) -> None:
    request = plan(MOBILENET, target=target)
    names = list(dict.fromkeys(each.backend for each in request.variants if not each.is_float))
    assert request.target == target
    assert names
    assert all(target in BACKENDS[str(name)].targets for name in names)
    runtimes = [BACKENDS[str(name)].float_backend for name in names]
    here = {
        each.float_backend
        for each in BACKENDS.values()
        if target in each.targets and each.available(current_environment()).ok
    }
    assert sorted(map(str, runtimes)) == sorted(map(str, here))


@pytest.mark.parametrize("target", [None, *TARGETS])
def test_a_first_comparison_is_no_longer_than_torchs_own_grid(target: Target | None) -> None:
    torch_engines = [name for name, each in BACKENDS.items() if each.engine]
    torchs = plan(MOBILENET, ["pretrained", "dynamic", "static", "qat"], torch_engines)
    assert len(torchs.variants) == 17
    assert len(plan(MOBILENET, target=target).variants) <= len(torchs.variants)


def test_a_model_without_layers_for_static_is_offered_what_it_has() -> None:
    request = plan(ModelSpec("bundled/row_lstm"), target="phone")
    workflows = {each.workflow for each in request.variants}
    assert "dynamic" in workflows
    assert "static" not in workflows


def test_a_backend_that_cannot_run_here_is_not_chosen_by_itself() -> None:
    arm = replace(current_environment(), machine="aarch64", engines=("qnnpack",))
    assert "x86" not in default_backends("server", arm)
    assert "qnnpack" in default_backends("phone", arm)


@pytest.mark.parametrize("target", [None, *TARGETS])
def test_workflows_that_nobody_named_are_left_out_where_a_backend_has_none(
    target: Target | None,
) -> None:
    named = plan(MOBILENET, default_workflows(find(MOBILENET)), target=target).variants
    variants = plan(MOBILENET, target=target).variants
    assert set(variants) == {each for each in named if each.label not in NOWHERE}


@pytest.mark.parametrize("kind", ["is_program", "is_graph"])
def test_what_came_without_its_source_is_not_trained_in_a_first_comparison(kind: str) -> None:
    info = find(MOBILENET)
    assert "qat" in default_workflows(info)
    first = default_workflows(replace(info, **{kind: True}))
    assert first == tuple(name for name in default_workflows(info) if name != "qat")


def test_a_workflow_that_was_named_stays_with_the_reason_why_a_backend_has_none() -> None:
    request = plan(MOBILENET, ["half"], ["x86"])
    (row,) = refusals(request).values()
    assert row.reason == "x86 computes in 32 or 8 bits only."
    assert "static" in row.remedy


def test_a_named_backend_that_is_made_for_another_target_is_measured_with_a_sentence() -> None:
    request = plan(MOBILENET, ["static"], ["x86", "qnnpack"], target="phone")
    assert {each.backend for each in request.variants} == {None, "x86", "qnnpack"}
    (sentence,) = misfits(["x86", "qnnpack"], "phone")
    assert sentence.startswith("x86 is made for servers and PCs, not for phones.")
    assert "QNNPACK" in sentence
    assert misfits(["x86", "qnnpack"], None) == ()


def test_a_target_is_part_of_the_request_and_of_no_key() -> None:
    request = plan(MOBILENET, ["static"], ["onnxruntime"], target="browser")
    assert CompareRequest.from_json(request.to_json()) == request
    undecided = replace(request, target=None)
    variant = request.variants[-1]
    environment = current_environment()
    assert keys.result_key(request, variant, environment) == keys.result_key(
        undecided, variant, environment
    )


def test_a_backend_with_a_float32_of_its_own_brings_it_along() -> None:
    assert [each.label for each in plan(MOBILENET, ["static"], ["onnxruntime"]).variants] == [
        "float32",
        "float32 on onnxruntime",
        "static on onnxruntime",
    ]


def test_float32_is_there_although_nobody_asked() -> None:
    assert [each.label for each in plan(MOBILENET, ["static"], ["x86"]).variants] == [
        "float32",
        "static on x86",
    ]


def test_what_is_asked_twice_is_one_cell() -> None:
    assert len(plan(MOBILENET, ["static", "static"], ["x86", "x86"]).variants) == 2


def test_settings_take_the_type_their_workflow_wants_and_reach_their_cells_only() -> None:
    asked: dict[str, dict[str, Setting]] = {
        "static": {"per_channel": "no", "calibration_images": "16"}
    }
    request = plan(MOBILENET, ["static", "dynamic"], ["x86"], asked)
    settings = {each.workflow: each.settings for each in request.variants}
    assert settings["static"] == (("calibration_images", 16), ("per_channel", False))
    assert settings["dynamic"] == settings["float32"] == ()
    assert CompareRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    ("model", "workflows", "backends", "said"),
    [
        ("bundled/mobilnet_v2", ["static"], ["x86"], "bundled/mobilenet_v2"),
        ("bundled/mobilenet_v2", ["statc"], ["x86"], "static"),
        ("bundled/mobilenet_v2", ["static"], ["fbgem"], "fbgemm"),
        ("torchvision/resnet81", ["static"], ["x86"], "torchvision/resnet18"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(
    model: str, workflows: list[str], backends: list[str], said: str
) -> None:
    with pytest.raises(RequestError) as caught:
        plan(ModelSpec(model), workflows, backends)
    assert said in caught.value.reason
    assert caught.value.remedy


def test_refused_cells_are_rows_with_reason_and_remedy() -> None:
    request = plan(MOBILENET, ["pretrained", "half"], ["x86", "onednn", "onnxruntime"])
    rows = refusals(request, WITH_BFLOAT16)
    missing = {"half on x86", "pretrained on onednn", "pretrained on onnxruntime"}
    assert {variant.label for variant in rows} == missing
    for variant, row in rows.items():
        assert (row.model, row.workflow, row.backend) == (
            "bundled/mobilenet_v2",
            variant.workflow,
            variant.backend,
        )
        assert row.refused
        assert row.reason
        assert row.remedy


def test_random_weights_refuse_what_needs_trained_ones() -> None:
    reasons = refused("torchvision/shufflenet_v2_x0_5@random")
    trained = {f"{name} on {each}" for name in ("pretrained", "qat") for each in BACKENDS}
    assert set(reasons) == trained | NOWHERE
    assert "Random weights have learned nothing" in reasons["qat on x86"]


def test_unlabelled_pictures_refuse_qat() -> None:
    reasons = refused("torchvision/resnet18", "qat")
    assert len(reasons) == len(BACKENDS)
    assert all("labelled pictures" in reason for reason in reasons.values())


def test_a_model_without_layers_for_it_refuses_dynamic() -> None:
    reasons = refused("torchvision/squeezenet1_1@random", "dynamic", "static")
    assert set(reasons) == {f"dynamic on {each}" for each in BACKENDS}
    assert "would change nothing" in reasons["dynamic on x86"]
