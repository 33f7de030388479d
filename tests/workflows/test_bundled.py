"""Static on every bundled model, where a runtime optimizes a graph of its own."""

from pathlib import Path

import pytest

from quantcore.backends import sqnr_db
from quantcore.models import offered
from quantcore.sandbox import ProcessPool
from quantcore.schema import CompareRequest, ImageSpec, ModelSpec, Variant
from tests.support.conversions import Logits, Made

FEW = (("calibration_images", 32),)
BUNDLED = [name for name in offered() if name.startswith("bundled/")]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("model", BUNDLED)
def test_static_is_near_float(model: str, backend: str, pool: ProcessPool, tmp_path: Path) -> None:
    made: dict[str, Logits] = {}
    for variant in (Variant("float32", None), Variant("static", backend, FEW)):
        request = CompareRequest(
            ModelSpec(model), (variant,), images=ImageSpec(evaluation_images=24)
        )
        with pool.spawn(
            "tests.support.conversions:make", request, variant, tmp_path / variant.workflow
        ) as child:
            found: Made = child.receive(timeout_s=280)
            made[variant.workflow] = found.logits
    near = sqnr_db(made["float32"], made["static"])
    assert near is None or near > 8
