"""ONNX Runtime's static: ranges, biases, layers left in float, and programs through ONNX."""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from quantcore import models
from quantcore.backends import sqnr_db
from quantcore.backends.onnxruntime import BACKEND, correction, graphs, qdq, ranges
from quantcore.backends.onnxruntime.qdq import Layout, Weights
from quantcore.errors import UnsupportedError
from quantcore.formats import onnx as onnx_format
from quantcore.formats import onnx_graph
from quantcore.images import ConversionInput, ImageData, Split
from quantcore.models import find
from quantcore.schema import ModelSpec, current_environment
from quantcore.workflows import Static, workflow

SIDE, PICTURES = 16, 24
SPEC = ModelSpec("bundled/mobilenet_v2")
EVERY_RULE = ("minmax", "percentile", "histogram", "entropy")
VNNI = ("AVX-512 VNNI",)
Logits = NDArray[np.float32]


class Small(nn.Module):
    """Layers of every kind that is put back in another way when it stays in float."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 8, 1)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[N, 5]` of pictures `[N, 3, S, S]`."""
        x = nn.functional.relu6(self.first(x))
        y = nn.functional.relu(self.deep(x))
        y = x + self.wide(y)
        return self.last(nn.functional.hardswish(y).mean((2, 3)))


class Branching(nn.Module):
    """What only scripting keeps: a path that depends on the picture's size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[N, 5]`."""
        if x.shape[2] > 8:
            x = x * 2
        return self.layer(x.mean((2, 3)))


class Transforming(nn.Module):
    """An operator that torch's exporter cannot write."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[N, 5]`."""
        return self.layer(torch.fft.fft2(x).abs().mean((2, 3)))


@dataclass(frozen=True)
class Noise:
    """Pictures of noise by index."""

    def picture(self, index: int) -> Any:
        raise NotImplementedError

    def tensors(self, indices: NDArray[np.int64]) -> Tensor:
        """Return pictures `[len(indices), 3, S, S]`."""
        made = [
            torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(int(index)))
            for index in indices
        ]
        return torch.stack(made)


def split(start: int, end: int) -> Split:
    return Split(Noise(), np.arange(start, end), None, f"{start} {end}")


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """What a child of its own would be left with."""
    yield
    tempfile.tempdir = None
    logging.disable(logging.NOTSET)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConversionInput:
    return inputs_of(seeded(), tmp_path, monkeypatch)


def seeded() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


def inputs_of(
    module: nn.Module, scratch: Path, monkeypatch: pytest.MonkeyPatch, *, is_program: bool = False
) -> ConversionInput:
    monkeypatch.setattr(models, "build", lambda _spec: module)
    info = replace(find(SPEC), is_program=is_program)
    images = ImageData(
        split(0, PICTURES), None, None, split(100, 100 + PICTURES), info.labels, False, "noise"
    )
    return ConversionInput(SPEC, info, images, SIDE, scratch)


def quiet(_stage: str, _share: float) -> None:
    """Hear a report."""


@pytest.fixture
def layout(inputs: ConversionInput) -> Layout:
    return layout_of(inputs)


def layout_of(
    inputs: ConversionInput, *, per_channel: bool = True, reduced: bool = False
) -> Layout:
    prepared = graphs.preprocessed(graphs.float_graph(inputs, quiet), inputs.scratch)
    return qdq.layout_of(prepared, inputs.scratch, Weights(per_channel, reduced))


def spans(layout: Layout, inputs: ConversionInput) -> dict[str, ranges.Span]:
    images = inputs.images.calibration
    seen = ranges.observed(layout.source, layout.tensors, images, shapes=False, report=quiet)
    return seen.fitted("minmax")


def answers(graph: onnx.ModelProto, inputs: ConversionInput) -> Logits:
    onnx.checker.check_model(graph, full_check=True)
    logits: Logits = graphs.predictor(graph)(inputs.images.evaluation.tensor(PICTURES)).numpy()
    return logits


def reference(inputs: ConversionInput) -> Logits:
    with torch.inference_mode():
        logits: Logits = models.build(SPEC)(inputs.images.evaluation.tensor(PICTURES)).numpy()
    return logits


def decibels(inputs: ConversionInput, graph: onnx.ModelProto) -> float:
    return sqnr_db(reference(inputs), answers(graph, inputs)) or np.inf


# Ranges


@pytest.mark.parametrize("rule", EVERY_RULE[1:])
def test_a_rule_cuts_off_what_hardly_ever_comes_and_keeps_zero(rule: str) -> None:
    values = np.linspace(0.0, 30.0, ranges.BINS)
    counts = np.round(100_000 * np.exp(-np.square(values / 3) / 2)).astype(np.int64)
    counts[-1] = 1
    low, high = ranges.RULES[rule](counts, (0.0, 30.0))
    assert low == 0.0
    assert 6.0 < high < 25.0


@pytest.mark.parametrize("rule", EVERY_RULE[1:])
def test_a_rule_keeps_what_is_spread_evenly(rule: str) -> None:
    counts = np.full(ranges.BINS, 1_000, np.int64)
    low, high = ranges.RULES[rule](counts, (-1.0, 2.0))
    assert low == pytest.approx(-1.0, abs=0.05)
    assert high == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_a_tensor_of_zeros_has_a_range(rule: str) -> None:
    seen = ranges.Observed({"x": (0.0, 0.0)}, {"x": np.full(ranges.BINS, 1, np.int64)})
    span = seen.fitted(rule)["x"]
    step, zero_point = qdq.step_of(span)
    assert np.isfinite(step)
    assert step > 0
    assert 0 <= zero_point < ranges.LEVELS


def test_ranges_hold_what_the_float_graph_gave(layout: Layout, inputs: ConversionInput) -> None:
    found = spans(layout, inputs)
    pictures = inputs.images.calibration.tensor(PICTURES)
    low, high = found[onnx_format.INPUT]
    assert (low, high) == pytest.approx((float(pictures.min()), float(pictures.max())))
    assert set(found) == set(layout.tensors)


# Graphs


def test_every_layer_is_in_eight_bits_and_logits_are_not_rounded(
    layout: Layout, inputs: ConversionInput
) -> None:
    graph = layout.graph(spans(layout, inputs))
    assert len(layout.layers) == 4
    makers = {name: node.op_type for node in graph.graph.node for name in node.output}
    for node in graph.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert {makers[name] for name in node.input} == {qdq.DEQUANTIZE}
    assert makers[onnx_format.OUTPUT] == "Gemm"
    assert decibels(inputs, graph) > 25


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_have_as_many_scales_as_asked_for(
    inputs: ConversionInput, per_channel: bool
) -> None:
    layout = layout_of(inputs, per_channel=per_channel)
    graph = layout.graph(spans(layout, inputs))
    sizes = {each.name: tuple(each.dims) for each in graph.graph.initializer}
    for layer in layout.layers.values():
        channels = (len(layer.values),) if per_channel else ()
        assert sizes[layer.weight_names.scale] == channels
    assert decibels(inputs, graph) > 20


@pytest.mark.parametrize("reduced", [True, False])
def test_weights_take_seven_bits_where_one_is_left_free(
    inputs: ConversionInput, reduced: bool
) -> None:
    layout = layout_of(inputs, reduced=reduced)
    graph = layout.graph(spans(layout, inputs))
    whole = [each for each in graph.graph.initializer if each.data_type == TensorProto.INT8]
    highest = max(int(np.abs(numpy_helper.to_array(each).astype(int)).max()) for each in whole)
    assert highest == (qdq.REDUCED if reduced else qdq.WHOLE)
    assert onnx_graph.takes_all_bits(graph) is not reduced


def test_all_layers_left_in_float_answer_as_the_float_model(
    layout: Layout, inputs: ConversionInput
) -> None:
    graph = layout.graph(spans(layout, inputs), kept=layout.multiplying)
    assert qdq.QUANTIZE not in {node.op_type for node in graph.graph.node}
    np.testing.assert_allclose(answers(graph, inputs), reference(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", range(4))
def test_a_layer_left_in_float_reads_float_weights_and_the_others_do_not(
    layout: Layout, inputs: ConversionInput, index: int
) -> None:
    name = layout.multiplying[index]
    graph = layout.graph(spans(layout, inputs), kept=(name,))
    makers = {each: node.op_type for node in graph.graph.node for each in node.output}
    weights = {
        node.name: makers.get(node.input[1])
        for node in graph.graph.node
        if node.name in layout.layers
    }
    assert [each for each, maker in weights.items() if maker != qdq.DEQUANTIZE] == [name]
    assert decibels(inputs, graph) > 25


def test_a_bias_that_32_bits_do_not_hold_makes_the_scale_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = seeded()
    with torch.no_grad():
        module.wide.weight[0] *= 1e-9
        module.wide.bias[0] = 3.0
    inputs = inputs_of(module, tmp_path, monkeypatch)
    layout = layout_of(inputs)
    assert decibels(inputs, layout.graph(spans(layout, inputs))) > 25


def test_corrected_biases_take_the_shift_out_of_the_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = seeded()
    with torch.no_grad():
        # One scale for weights of such different sizes rounds the small ones all one way.
        module.wide.weight[0] *= 100
        module.wide.weight[1:] = module.wide.weight[1:].abs() + 0.12
    inputs = inputs_of(module, tmp_path, monkeypatch)
    layout = layout_of(inputs, per_channel=False)
    found = spans(layout, inputs)
    biases = correction.corrected(layout, found, inputs.images.calibration, quiet)
    expected = reference(inputs).mean(axis=0)
    before, after = (
        np.abs(answers(layout.graph(found, each), inputs).mean(axis=0) - expected).mean()
        for each in ({}, biases)
    )
    assert after < before / 2


# The workflow


def test_what_was_tried_and_chosen_is_told(inputs: ConversionInput) -> None:
    made = Static(observer="auto", keep_float=2).convert(inputs, BACKEND, quiet)
    tuning = made.tuning
    assert tuning is not None
    assert set(tuning.sqnr_db) == {"minmax", "percentile", "histogram"}
    assert tuning.observer == max(tuning.sqnr_db, key=lambda name: tuning.sqnr_db[name])
    assert (tuning.layers, len(tuning.kept_float)) == (4, 2)
    assert tuning.loss_points is not None
    assert decibels(inputs, made.graph) > 25


def test_float_layers_are_as_many_as_the_limit_needs(
    inputs: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Static(observer="minmax", keep_float="auto", max_loss_points=100.0).convert(
        inputs, BACKEND, quiet
    )
    assert made.tuning is not None
    assert made.tuning.kept_float == ()
    monkeypatch.setattr(
        "quantcore.backends.tuning.loss_points",
        lambda before, after, _: (abs(before - after).sum(), 0.0),
    )
    made = Static(observer="minmax", keep_float="auto", max_loss_points=1e-6).convert(
        inputs, BACKEND, quiet
    )
    assert made.tuning is not None
    assert len(made.tuning.kept_float) == 4


@pytest.mark.parametrize("setting", [{"observer": "entropy"}, {"bias_correction": True}])
def test_a_setting_changes_the_numbers(inputs: ConversionInput, setting: dict[str, Any]) -> None:
    usual = Static(observer="minmax", bias_correction=False)
    changed = replace(usual, **setting)
    digests = {each.convert(inputs, BACKEND, quiet).digest for each in (usual, changed)}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("machine", "sets", "chosen", "reduced"),
    [
        ("x86_64", VNNI, None, False),
        ("x86_64", (), None, True),
        ("x86_64", (), False, False),
        ("x86_64", VNNI, True, True),
        ("aarch64", ("NEON",), None, False),
    ],
)
def test_the_range_follows_the_processor_unless_it_is_chosen(
    machine: str, sets: tuple[str, ...], chosen: bool | None, reduced: bool
) -> None:
    environment = replace(current_environment(), machine=machine, instruction_sets=sets)
    step = Static(reduce_range=chosen)
    names = {
        each: replace(step, reduce_range=each).recipe(BACKEND, environment)
        for each in (True, False)
    }
    assert step.recipe(BACKEND, environment) == names[reduced]
    causes = BACKEND.accuracy_causes({"reduce_range": chosen}, environment)
    assert bool(causes) == reduced


@pytest.mark.parametrize(("reduced", "sets"), [(True, ()), (False, ()), (False, VNNI)])
def test_sums_are_exact_where_all_bits_meet_a_processor_without_vnni(
    inputs: ConversionInput,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reduced: bool,
    sets: tuple[str, ...],
) -> None:
    made = Static(observer="minmax", reduce_range=reduced).convert(inputs, BACKEND, quiet)
    path = tmp_path / "static"
    made.write(path, {})
    assert BACKEND.format.read_metadata(path)["reduce_range"] is reduced
    entries: list[tuple[str, str]] = []

    class Options(onnxruntime.SessionOptions):
        """Notes what is set."""

        def add_session_config_entry(self, *entry: str) -> None:
            """Set an entry."""
            entries.append((entry[0], entry[1]))

    here = replace(current_environment(), instruction_sets=sets)
    monkeypatch.setattr(onnx_format, "current_environment", lambda: here)
    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    BACKEND.load(path, 1)
    assert (onnx_format.PRECISE in entries) is (not reduced and not sets)
    says = onnx_format.PRECISE[0] in onnx_format.runs_on(onnx.load(path), BACKEND)
    assert says is not reduced


def test_half_rounds_weights_and_stays_near(inputs: ConversionInput, tmp_path: Path) -> None:
    sizes, files = {}, {}
    for name in ("float32", "half"):
        files[name] = workflow(name, {}).convert(inputs, BACKEND, quiet)
        sizes[name] = files[name].state_bytes
        files[name].write(tmp_path / name, {})
    assert sizes["half"] < 0.75 * sizes["float32"]
    assert decibels(inputs, files["half"].graph) > 50
    assert files["half"].digest != files["float32"].digest


def test_half_says_that_it_computes_in_float32_and_static_has_nothing_to_say() -> None:
    assert "float32" in workflow("half", {}).note(BACKEND)
    assert not workflow("static", {}).note(BACKEND)


# Programs


def test_a_scripted_program_goes_through_onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantcore.models.uploads import frozen

    for module in (seeded(), Branching().eval()):
        program = frozen(torch.jit.script(module))
        inputs = inputs_of(program, tmp_path, monkeypatch, is_program=True)
        for name in ("float32", "static"):
            made = workflow(name, {}).convert(inputs, BACKEND, quiet)
            assert decibels(inputs, made.graph) > 20


def test_a_program_with_an_operator_that_onnx_lacks_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = torch.jit.trace(Transforming().eval(), torch.randn(2, 3, SIDE, SIDE))
    inputs = inputs_of(program, tmp_path, monkeypatch, is_program=True)
    with pytest.raises(UnsupportedError, match="fft_fft2") as caught:
        graphs.float_graph(inputs, quiet)
    assert "torch" in caught.value.remedy
