"""The variants one step from a measured one."""

import pytest

from quantcore.backends import runtime
from quantcore.engine import suggested_variants, variant_of
from quantcore.engine.suggestions import CHANGES, SIXTEEN_BITS_WORDS
from quantcore.models import Subject, find
from quantcore.schema import CompareRequest, ModelSpec, Variant, current_environment
from quantcore.workflows import WORKFLOWS, workflow
from tests.support import fixtures

REQUEST = CompareRequest(ModelSpec("bundled/mobilenet_v2"), ())
SUBJECT = Subject(REQUEST.model, find(REQUEST.model), True, current_environment())


def told(
    workflow: str, backend: str, lost: float | None = None, **settings: object
) -> dict[str, Variant]:
    row = fixtures.result(workflow, backend)
    usual = {**WORKFLOWS[workflow]().__dict__, **settings}
    row.settings.clear()
    row.settings.update(usual)
    return {each.sentence: each.variant for each in suggested_variants(row, REQUEST, None, lost)}


def test_sixteen_bits_are_offered_where_the_backend_has_them() -> None:
    assert told("static", "onnxruntime")[SIXTEEN_BITS_WORDS] == Variant("half", "onnxruntime")
    assert SIXTEEN_BITS_WORDS not in told("static", "x86")


def test_sixteen_bits_are_not_offered_to_what_has_them() -> None:
    assert SIXTEEN_BITS_WORDS in told("dynamic", "onnxruntime")
    assert SIXTEEN_BITS_WORDS not in told("dynamic", "onnxruntime", dtype="float16")


@pytest.mark.parametrize(("lost", "is_offered"), [(None, False), (0.2, False), (1.5, True)])
def test_layers_are_kept_in_float_where_accuracy_is_lost(
    lost: float | None, is_offered: bool
) -> None:
    offered = told("static", "onnxruntime", lost).values()
    kept = Variant("static", "onnxruntime", (("keep_float", "auto"),))
    steps = runtime("onnxruntime").toolchain.steps
    options = workflow("static", dict(kept.settings))
    can = steps["static"].supports(options, SUBJECT, runtime("onnxruntime")).ok
    assert (kept in offered) == (is_offered and can)


def test_the_best_range_is_not_offered_to_what_takes_it() -> None:
    auto = told("static", "x86", observer="auto")
    assert not any("nearest to float32" in sentence for sentence in auto)


def test_static_is_offered_more_images_another_range_and_other_scales() -> None:
    assert told("static", "x86") == {
        "1,024 calibration images instead of 256": Variant(
            "static", "x86", (("calibration_images", 1_024),)
        ),
        "ranges from minimum and maximum, which keep rare outliers": Variant(
            "static", "x86", (("observer", "minmax"),)
        ),
        "ranges found the way that answers nearest to float32": Variant(
            "static", "x86", (("observer", "auto"),)
        ),
        "one weight scale for each layer": Variant("static", "x86", (("per_channel", False),)),
    }


def test_a_backend_with_one_scale_a_layer_is_offered_one_a_channel() -> None:
    assert "one weight scale for each channel" in told("static", "qnnpack")


def test_settings_that_were_changed_already_stay_in_the_suggestions() -> None:
    found = told("static", "x86", observer="minmax")
    assert found["1,024 calibration images instead of 256"].settings == (
        ("calibration_images", 1_024),
        ("observer", "minmax"),
    )
    back = found["ranges from a histogram, which ignores rare outliers"]
    assert dict(back.settings)["observer"] == "histogram"


def test_where_a_setting_is_at_its_end_nothing_more_of_it_is_offered() -> None:
    for images in (1_024, 2_000):
        sentences = told("static", "x86", calibration_images=images)
        assert not [text for text in sentences if "calibration images" in text]
    assert not [text for text in told("qat", "x86", steps=3_000) if "training steps" in text]


def test_qat_is_offered_a_longer_training() -> None:
    assert "120 training steps instead of 40" in told("qat", "x86")


def test_what_a_backend_cannot_do_is_not_offered() -> None:
    assert list(told("dynamic", "x86")) == ["16-bit float weights, which round less"]
    assert told("dynamic", "qnnpack") == {}


@pytest.mark.parametrize("workflow", ["float32", "pretrained"])
def test_what_has_no_settings_has_no_suggestions(workflow: str) -> None:
    assert suggested_variants(fixtures.result(workflow, "x86"), REQUEST) == ()


def test_every_step_is_of_a_setting_that_its_workflow_has() -> None:
    for name, steps in CHANGES.items():
        assert {step.setting for step in steps} <= set(WORKFLOWS[name].__dataclass_fields__)


def test_a_row_tells_its_variant() -> None:
    row = fixtures.result("static", "x86", calibration_images=64)
    assert variant_of(row) == Variant("static", "x86", (("calibration_images", 64),))
    assert variant_of(fixtures.float32()) == Variant("float32", None)
