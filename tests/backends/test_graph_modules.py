"""Programs as graphs of modules, and what FX graph mode gains by them: folds, bounds, padding."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import ObserverBase
from torch.nn import functional

from quantcore.backends import BACKENDS
from quantcore.backends.fidelity import sqnr_db
from quantcore.backends.torch_ao import biases, fx, kept, qconfigs, static, traced
from quantcore.backends.torch_ao.numerics import ONEDNN, QNNPACK, X86, Numerics
from tests.support.computing import QUIET, one_thread

pytestmark = QUIET
SIDE = 20
NUMERICS = {"x86": X86, "fbgemm": X86, "onednn": ONEDNN, "qnnpack": QNNPACK}


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    with one_thread():
        yield


class Same(nn.Conv2d):
    """A convolution of a class of its own, padded as TensorFlow does: more at the end."""

    def forward(self, pictures: Tensor) -> Tensor:
        total = max(0, self.kernel_size[0] - self.stride[0])
        sides = [total // 2, total - total // 2] * 2
        pictures = functional.pad(pictures, sides) if total else pictures
        return functional.conv2d(
            pictures, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


def layer(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    norm = nn.BatchNorm2d(outputs)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(outputs) * 3)
        norm.running_var.copy_(torch.rand(outputs) + 0.1)  # type: ignore[union-attr]
        norm.running_mean.copy_(torch.randn(outputs))  # type: ignore[union-attr]
    conv = Same(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return nn.Sequential(conv, norm)


class Block(nn.Module):
    """What a mobile network repeats, with a shortcut, in front of a view that knows the batch."""

    def __init__(self, activation: Callable[[], nn.Module], kernel: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(layer(3, 16, 3, 2), activation())
        self.deep = nn.Sequential(layer(16, 16, kernel, 1, 16), activation(), layer(16, 16, 1))
        self.less = nn.Sequential(layer(16, 16, kernel, 2, 16), activation())
        self.head = nn.Linear(16, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        stem = self.stem(pictures)
        features = self.less(self.deep(stem) + stem)
        pooled = functional.adaptive_avg_pool2d(features, 1)
        logits: Tensor = self.head(pooled.view(pooled.size(0), -1))
        return logits


ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)
every_block = pytest.mark.parametrize(
    ("activation", "kernel"), [(each, kernel) for each in ACTIVATIONS for kernel in (3, 5)]
)


def block(activation: Callable[[], nn.Module], kernel: int) -> nn.Module:
    return Block(activation, kernel).eval()


def program(module: nn.Module, batch: int = 1) -> Any:
    with torch.no_grad():
        example = torch.zeros(batch, 3, SIDE, SIDE)
        return torch.jit.freeze(torch.jit.trace(module, example, check_trace=False))


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def quantized(module: nn.Module, engine: str, numerics: Numerics, corrects: bool = True) -> Any:
    torch.backends.quantized.engine = engine
    qconfig = qconfigs.static_qconfig(numerics, "minmax")
    observed = fx.prepared(module, numerics, qconfig, pictures(2))
    watch = biases.Watch(observed)
    with torch.inference_mode():
        observed(pictures(64))
    shifts = watch.stop()
    biases.correct(observed, shifts if corrects else {})
    return fx.converted(observed)


def decibels(float_model: nn.Module, module: nn.Module) -> float:
    with torch.inference_mode():
        found = sqnr_db(float_model(pictures(16)).numpy(), module(pictures(16)).numpy())
    assert found is not None
    return found


@every_block
@pytest.mark.parametrize("side", [19, 20, 21])
def test_a_program_answers_as_before_at_any_batch(
    activation: Callable[[], nn.Module], kernel: int, side: int
) -> None:
    model = block(activation, kernel)
    module = traced.modular(program(model), torch.randn(2, 3, side, side))
    assert module is not None
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    assert sum(isinstance(part, nn.Conv2d) for part in module.modules()) == 4
    images = torch.randn(5, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(module(images), model(images), rtol=1e-4, atol=1e-4)


def test_depthwise_layers_pad_by_half_their_kernel() -> None:
    module = traced.modular(program(block(nn.ReLU6, 5)), pictures(2))
    assert module is not None
    depthwise = [each for each in module.modules() if getattr(each, "groups", 1) > 1]
    assert [each.padding for each in depthwise] == [(2, 2), (2, 2)]


def test_a_program_whose_path_depends_on_its_pictures_is_left_to_graph_mode() -> None:
    class Forked(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if bool(images.sum() > 0):
                return images.mean(dim=(2, 3))
            return images.amax(dim=(2, 3))

    assert traced.modular(torch.jit.script(Forked().eval()), pictures(2)) is None


@every_block
@pytest.mark.parametrize("engine", NUMERICS)
def test_programs_and_modules_keep_most_of_their_signal(
    activation: Callable[[], nn.Module], kernel: int, engine: str
) -> None:
    model = block(activation, kernel)
    modular = traced.modular(program(model), pictures(2))
    assert modular is not None
    numerics = NUMERICS[engine]
    # A single weight scale for a whole layer leaves small channels little.
    least = 20.0 if numerics.per_channel else 12.0
    assert decibels(model, quantized(modular, engine, numerics)) > least
    assert decibels(model, quantized(model, engine, numerics)) > least


def test_joined_maps_keep_their_bounds() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bounded, self.free = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
            self.act = nn.ReLU6()

        def forward(self, images: Tensor) -> Tensor:
            both = torch.cat([self.act(self.bounded(images)), self.free(images)], 1)
            return functional.adaptive_avg_pool2d(both, 1).flatten(1)

    torch.manual_seed(0)
    model = Joined().eval()
    with torch.no_grad():
        for layer in (model.bounded, model.free):
            layer.weight.mul_(20)
    assert decibels(model, quantized(model, "onednn", ONEDNN)) > 18


@pytest.mark.parametrize("numerics", [ONEDNN, X86], ids=["all 8 bits", "7 bits"])
def test_ranges_end_where_the_activation_does(numerics: Numerics) -> None:
    torch.backends.quantized.engine = "onednn"
    qconfig = qconfigs.static_qconfig(numerics, "minmax")
    observed = fx.prepared(block(nn.ReLU6, 3), numerics, qconfig, pictures(2))
    with torch.inference_mode():
        observed(30 * pictures(8))
    ends = [
        float(part.max_val)  # type: ignore[arg-type]
        for part in observed.modules()
        if isinstance(part, ObserverBase)
    ]
    # Behind the three activations, and what their pooled maps share with them.
    assert ends.count(6.0) == 3


@pytest.mark.parametrize("engine", NUMERICS)
def test_padding_and_bounds_leave_no_float_between_layers(engine: str) -> None:
    module = quantized(block(nn.ReLU6, 3), engine, NUMERICS[engine])
    targets = [node.target for node in module.graph.nodes]
    # The pictures once, and the sum of the shortcut, which is quantized by its own operator.
    assert targets.count("dequantize") == 1
    assert targets.count(torch.quantize_per_tensor) == 1


def test_layers_named_stay_in_float() -> None:
    torch.backends.quantized.engine = "onednn"
    model = block(nn.ReLU6, 3)
    qconfig = qconfigs.static_qconfig(ONEDNN, "minmax")
    observed = fx.prepared(model, ONEDNN, qconfig, pictures(2))
    with torch.inference_mode():
        observed(pictures(64))
    names = static.units(observed)
    assert len(names) == 5
    for named in ((), (names[0], names[-1]), tuple(names)):
        module = fx.converted(copy.deepcopy(observed))
        kept.keep(module, observed, named)
        assert kept.names_in(module.state_dict(), names) == named
        assert decibels(model, module) > 20


def test_corrected_biases_bring_the_means_back() -> None:
    model = block(nn.ReLU, 3)
    with torch.inference_mode():
        wanted = model(pictures(64)).mean(0)
        plain, mended = (
            quantized(model, "onednn", ONEDNN, corrects)(pictures(64)).mean(0)
            for corrects in (False, True)
        )
    assert (mended - wanted).abs().mean() < 0.7 * (plain - wanted).abs().mean()


# Whether sums are exact


def error(engine: str, kind: str, activations: int, signs: int) -> float:
    """Return the largest error in steps of the output, of the worst sums that there can be."""
    torch.backends.quantized.engine = engine
    channels, kernel, groups = SHAPES[kind]
    images = torch.full((1, channels, 9, 9), float(activations))
    weight = torch.full((channels, channels // groups, kernel, kernel), 127.0 * signs)
    exact = functional.conv2d(images.double(), weight.double(), padding=kernel // 2, groups=groups)
    scale, zero = float(exact.abs().max()) / 255, 0 if signs > 0 else 255
    ones = torch.ones(channels, dtype=torch.double)
    packed = torch.ops.quantized.conv2d_prepack(
        torch.quantize_per_channel(weight, ones, 0 * ones.long(), 0, torch.qint8),
        None, [1, 1], [kernel // 2] * 2, [1, 1], groups,
    )  # fmt: skip
    quantized_images = torch.quantize_per_tensor(images, 1.0, 0, torch.quint8)
    answer = torch.ops.quantized.conv2d(quantized_images, packed, scale, zero).int_repr()
    wanted = np.clip(np.round(exact.numpy() / scale) + zero, 0, 255)
    return float(np.abs(answer.numpy() - wanted).max())


# Channels, kernel, groups: x86 gives depthwise layers of more than 100 channels to FBGEMM.
SHAPES = {"depthwise": (128, 3, 128), "depthwise 5": (128, 5, 128), "dense": (64, 3, 1),
          "pointwise": (64, 1, 1)}  # fmt: skip


@pytest.mark.parametrize("signs", [1, -1])
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("engine", NUMERICS)
def test_sums_are_exact_in_the_range_that_an_engine_takes(
    engine: str, kind: str, signs: int
) -> None:
    from quantcore.backends.torch_ao.steps import ranges
    from quantcore.schema import current_environment
    from quantcore.workflows import Static

    reduced = ranges(Static(), BACKENDS[engine], current_environment()).reduce_range  # type: ignore[arg-type]
    assert error(engine, kind, 127 if reduced else 255, signs) <= 1


@pytest.mark.parametrize("engine", ["x86", "fbgemm"])
def test_fbgemm_overflows_beyond_it_on_every_processor(engine: str) -> None:
    assert error(engine, "depthwise", 255, 1) > 50
