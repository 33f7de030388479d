"""The ONNX graph: sound, whole, without what need not be in it, and read by others than torch."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from quantcore.backends import BACKENDS, agreement, sqnr_db
from quantcore.errors import UnsupportedError
from quantcore.formats import LayerKind, Onnx, Planned
from quantcore.formats.onnx import INPUT, OUTPUT, PRECISE, _passes
from quantcore.formats.onnx_graph import DEQUANTIZE, int8_operators
from quantcore.schema import ExportSpec, ModelSpec, Variant
from tests.support.exports import (
    LSTM,
    PICTURES,
    RESNET,
    SHUFFLENET,
    VIT,
    Bench,
    dynamic,
    planned,
    static,
    subject,
)

MODULES = "tests.formats.modules"
OPSETS = (13, 20)
ONE = [
    *(planned(RESNET, static("x86"), "onnx", opset=opset) for opset in OPSETS),
    planned(SHUFFLENET, static("qnnpack"), "onnx"),
    planned(VIT, dynamic("x86"), "onnx"),
]
ANY = [
    planned(SHUFFLENET, static("x86"), "onnx", dynamic_batch=True),
    planned(VIT, dynamic("x86"), "onnx", dynamic_batch=True),
]
Pictures = NDArray[np.float32]


def label(spec: ExportSpec) -> str:
    options = " ".join(f"{name}={value}" for name, value in spec.options)
    return f"{spec.request.model.architecture} {spec.variant.label} {options}"


def pictures(count: int) -> Pictures:
    """Return the first evaluation pictures, `[N, 3, 64, 64]`, from their bytes."""
    from quantcore.images import load_images
    from quantcore.models import find

    spec = ONE[0].request
    split = load_images(spec.images, find(spec.model)).evaluation
    found: Pictures = split.tensor(count).contiguous().numpy()
    return found


def answered(path: Path, images: Pictures) -> Pictures:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits: Pictures = session.run(None, {INPUT: images})[0]
    return logits


def dimensions(value: Any) -> list[int | str]:
    return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("spec", [*ONE, *ANY], ids=label)
def test_the_graph_is_sound_and_every_shape_is_known(bench: Bench, spec: ExportSpec) -> None:
    model = onnx.load(bench.path(spec))
    onnx.checker.check_model(model, full_check=True)
    graph, options = model.graph, dict(spec.options)
    batch = "pictures" if options.get("dynamic_batch") else 1
    assert [each.name for each in (*graph.input, *graph.output)] == [INPUT, OUTPUT]
    assert dimensions(graph.input[0]) == [batch, 3, 64, 64]
    assert dimensions(graph.output[0]) == [batch, 10]
    assert model.opset_import[0].version == options.get("opset", 17)
    known = {each.name for each in (*graph.value_info, *graph.output)}
    assert {name for node in graph.node for name in node.output} <= known


@pytest.mark.parametrize("spec", [*ONE, *ANY], ids=label)
def test_nothing_is_left_to_compute_that_is_known(bench: Bench, spec: ExportSpec) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(bench.path(spec)))
    graph = model.graph
    known = {each.name for each in graph.initializer}
    types = {each.name: each.type.tensor_type.elem_type for each in graph.value_info}
    for node in graph.node:
        # Weights and biases stay whole numbers.
        assert node.op_type == DEQUANTIZE or not set(node.input) <= known, node
        assert node.op_type not in ("Constant", "Identity", "Dropout")
        if node.op_type == "Cast":
            assert types[node.input[0]] != node.attribute[0].i, node
    if spec in ONE:
        assert not any(node.op_type in ("Shape", "ConstantOfShape") for node in graph.node)


def test_every_operator_of_a_static_model_runs_in_eight_bits(bench: Bench) -> None:
    model = onnx.load(bench.path(ONE[0]))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 20
    int8, total = int8_operators(model)
    assert int8 == total > len(convolutions)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in convolutions:
        assert {makers[name] for name in node.input} == {DEQUANTIZE}


@pytest.mark.parametrize("spec", ANY, ids=label)
def test_any_number_of_pictures_may_be_asked_at_once(bench: Bench, spec: ExportSpec) -> None:
    path, images = bench.path(spec), pictures(3)
    together = answered(path, images)
    assert together.shape == (3, 10)
    single = np.concatenate([answered(path, image[None]) for image in images])
    assert agreement(single, together) == 1.0
    if spec.variant.workflow == "static":
        np.testing.assert_array_equal(single, together)


@pytest.mark.parametrize("kind", get_args(LayerKind))
def test_layers_without_an_operator_are_refused_whichever_workflow_made_them(
    kind: LayerKind,
) -> None:
    unknown = Planned(subject(LSTM), Variant("unheard_of", "x86"), {}, BACKENDS["x86"], kind)
    assert Onnx().supports(unknown).ok == (kind in ("float", "weights", "static"))


@pytest.mark.parametrize(
    ("operators", "backend", "applied"),
    [
        (("Conv", "Relu"), "x86", {False: ["QuantizeLinear", "DynamicQuantizeLinear"]}),
        (("DequantizeLinear", "MatMul"), "x86", {False: ["QuantizeLinear"]}),
        (("QuantizeLinear",), "x86", {True: ["QuantizeLinear"], False: ["keep biases"]}),
        (("QuantizeLinear",), "qnnpack", {True: ["QuantizeLinear"]}),
        (("DynamicQuantizeLSTM",), "onnxruntime", {True: ["DynamicQuantizeLinear"]}),
    ],
)
def test_passes_are_told_by_the_operators_in_the_graph(
    operators: tuple[str, ...], backend: str, applied: dict[bool, list[str]]
) -> None:
    """Whatever the workflow was that made it; biases by the backend's own kernels."""
    found = _passes(operators, BACKENDS[backend], folded=0, dynamic_batch=False)
    for is_applied, names in applied.items():
        for name in names:
            (step,) = (each for each in found if each.name.startswith(name))
            assert step.applied == is_applied
            assert step.applied or step.reason
    keeps = any(each.name.startswith("keep biases") for each in found)
    assert keeps == ("keep biases" in applied.get(False, []))


def test_a_file_for_one_picture_takes_one(bench: Bench) -> None:
    assert answered(bench.path(ONE[0]), pictures(1)).shape == (1, 10)
    with pytest.raises(Exception, match="invalid dimensions"):
        answered(bench.path(ONE[0]), pictures(3))


def test_a_graph_that_holds_its_number_of_pictures_is_refused(bench: Bench, tmp_path: Path) -> None:
    options = {"dynamic_batch": True}
    with pytest.raises(UnsupportedError, match="how many pictures") as caught:
        bench.run(f"{MODULES}:export", "OfTwo", "onnx", options, tmp_path / "file")
    assert "one picture at a time" in caught.value.remedy


def test_the_opset_changes_no_answer(bench: Bench) -> None:
    first, last = (bench.logits(spec) for spec in ONE[:2])
    assert agreement(first, last) == 1.0
    np.testing.assert_array_equal(first, last)


def test_the_reference_evaluator_reads_the_file(bench: Bench) -> None:
    """It knows no DequantizeLinear older than opset 19, so the file is read at opset 20."""
    spec = ONE[1]
    assert dict(spec.options)["opset"] >= 19  # type: ignore[operator]
    path, image = bench.path(spec), pictures(1)
    (found,) = ReferenceEvaluator(str(path)).run(None, {INPUT: image})
    expected = bench.variant_logits(spec)[:1]
    assert np.argmax(found) == np.argmax(expected)
    noise = sqnr_db(expected, found)
    assert noise is None or noise > 30


def test_sums_that_overflow_without_vnni_are_taken_exactly(bench: Bench) -> None:
    """QNNPACK's activations use all 8 bits; in 16-bit sums this model agreed on 21 of 24."""
    spec = ONE[2]
    expected, found = bench.variant_logits(spec), bench.logits(spec)
    assert agreement(expected, found) == 1.0
    noise = sqnr_db(expected, found)
    assert noise is None or noise > 35
    assert PRECISE[0] in bench.export(spec).exported.runs_on
    assert PRECISE[0] not in bench.export(ONE[0]).exported.runs_on
    assert len(found) == PICTURES


def test_what_onnx_lacks_is_one_sentence_and_no_page_of_graph(bench: Bench, tmp_path: Path) -> None:
    error, heard = bench.run(f"{MODULES}:overheard", "Inverse", tmp_path / "file")
    assert "aten::linalg_inv" in error.reason
    assert "TorchScript" in error.remedy
    assert len(error.reason) < 300
    assert "graph(" not in heard


@pytest.mark.parametrize(
    ("model", "variant", "options", "reason", "remedy"),
    [(VIT, dynamic("x86"), {"opset": 13}, "opset version 13", "newer opset, up to 20")],
)
def test_an_opset_that_lacks_a_part_is_refused_with_a_newer_one(
    bench: Bench,
    model: ModelSpec,
    variant: Variant,
    options: dict[str, Any],
    reason: str,
    remedy: str,
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        bench.write(planned(model, variant, "onnx", **options))
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy
