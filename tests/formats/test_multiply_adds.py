"""Multiply-adds, against figures from elsewhere, and what of them a conversion moves to int8."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from quantcore import models
from quantcore.backends.torch_ao.numerics import X86
from quantcore.backends.torch_ao.qconfigs import static_qconfig
from quantcore.formats import torchscript
from quantcore.formats.multiply_adds import float_multiply_adds
from quantcore.models import catalogue, small
from quantcore.models.torchvision_import import torchvision
from quantcore.schema import ModelSpec
from tests.support.computing import QUIET, one_thread

SIDE = 64

pytestmark = QUIET


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    with one_thread("x86"):
        yield


def count(model: Callable[[Tensor], Any], *shape: int) -> int:
    return float_multiply_adds(model, torch.zeros(*shape))


def shipped(model: nn.Module, side: int = SIDE) -> Any:
    """Return the model as its file holds it: traced and frozen."""
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        traced = torch.jit.trace(model.eval(), torch.randn(2, 3, side, side), check_trace=False)
    return torch.jit.freeze(traced)


def share(original: nn.Module, converted: nn.Module, side: int = SIDE) -> float:
    """Return the share of the float file's multiply-adds that the converted one has left float."""
    before = count(shipped(original, side), 1, 3, side, side)
    return 1 - count(shipped(converted, side), 1, 3, side, side) / before


def dynamic(model: nn.Module, dtype: torch.dtype = torch.qint8) -> nn.Module:
    return quantization.quantize_dynamic(
        copy.deepcopy(model).eval(), {nn.Linear, nn.LSTM, nn.GRU}, dtype=dtype
    )


def random_model(name: str) -> nn.Module:
    return models.build(ModelSpec(f"torchvision/{name}@random"))


class SelfAttention(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        result: Tensor = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return result


class Einsum(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        return torch.einsum("nchw,ncvw->nchv", pictures, pictures)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        pytest.param(nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 12), 8 * 10 * 12 * 27, id="conv"),
        pytest.param(
            nn.Conv2d(8, 8, 3, stride=2, groups=8), (1, 8, 9, 9), 8 * 4 * 4 * 9, id="depthwise"
        ),
        pytest.param(nn.Linear(20, 7), (5, 20), 5 * 20 * 7, id="linear"),
        pytest.param(nn.Linear(20, 7, bias=False), (5, 20), 5 * 20 * 7, id="linear without bias"),
        pytest.param(
            nn.LSTM(6, 8, num_layers=2, batch_first=True),
            (1, 5, 6),
            5 * 4 * 8 * ((6 + 8) + (8 + 8)),
            id="lstm",
        ),
        pytest.param(
            nn.LSTM(6, 8, bidirectional=True), (5, 1, 6), 5 * 2 * 4 * 8 * (6 + 8), id="both ways"
        ),
        pytest.param(nn.GRU(6, 8, batch_first=True), (1, 5, 6), 5 * 3 * 8 * (6 + 8), id="gru"),
        pytest.param(SelfAttention(), (1, 2, 5, 4), 2 * 2 * 5 * 5 * 4, id="attention"),
        pytest.param(Einsum(), (1, 3, 4, 6), 3 * 4 * 4 * 6, id="einsum"),
    ],
)
def test_small_layers_cost_what_the_hand_counts(
    layer: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    assert count(layer, *shape) == expected
    with torch.no_grad():
        traced = torch.jit.trace(layer.eval(), torch.zeros(*shape), check_trace=False)
    assert count(torch.jit.freeze(traced), *shape) == expected


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_count_agrees_with_the_published_gflops(name: str) -> None:
    published = catalogue()[f"torchvision/{name}"].gflops
    assert published is not None
    assert count(random_model(name), 1, 3, 224, 224) / 1e9 == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("name", ["vit_tiny", "maxvit_t"])
def test_attention_agrees_with_torchs_own_counter(name: str) -> None:
    model = small.vit_tiny() if name == "vit_tiny" else random_model(name)
    model.eval()
    side = SIDE if name == "vit_tiny" else 224
    # Its counter knows attention in its plain form only.
    torch.backends.mha.set_fastpath_enabled(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, 3, side, side))
    assert count(shipped(model, side), 1, 3, side, side) * 2 == counter.get_total_flops()


def test_all_of_a_static_mobilenet_runs_in_int8() -> None:
    twin = models.build_quantizable(ModelSpec("torchvision/mobilenet_v2@random"))
    original = copy.deepcopy(twin)
    twin.fuse_model()  # type: ignore[operator]
    twin.qconfig = static_qconfig(X86)  # type: ignore[assignment]
    quantization.prepare(twin, inplace=True)
    twin(torch.randn(2, 3, SIDE, SIDE))
    assert share(original, quantization.convert(twin)) == 1.0


def test_dynamic_leaves_nearly_all_of_a_convolutional_model_in_float() -> None:
    model = torchvision().models.mobilenet_v2(num_classes=10)
    assert 0 < share(model, dynamic(model)) < 0.01


def test_dynamic_moves_a_recurrent_model_to_int8() -> None:
    model = small.row_lstm()
    assert share(model, dynamic(model)) == 1.0


def test_dynamic_leaves_a_transformers_stem_and_attention_in_float() -> None:
    model = small.vit_tiny()
    blocks, tokens, perceptron, head = 4, 1 + (SIDE // 16) ** 2, 2 * 128 * 512, 128 * 10
    in_int8 = blocks * tokens * perceptron + head
    assert share(model, dynamic(model)) == pytest.approx(
        in_int8 / count(shipped(model), 1, 3, SIDE, SIDE)
    )


@pytest.mark.parametrize("model", [small.row_lstm(), small.vit_tiny()], ids=["lstm", "linear"])
def test_half_precision_weights_compute_in_float(model: nn.Module) -> None:
    assert share(model, dynamic(model, torch.float16)) == 0.0


def test_a_file_is_counted_as_the_module_it_was_made_of(tmp_path: Any) -> None:
    model, path = small.row_lstm(), tmp_path / "file"
    torchscript.export(model.eval(), torch.randn(2, 3, SIDE, SIDE), None, {}, path)
    loaded = torch.jit.load(path)
    assert count(loaded, 1, 3, SIDE, SIDE) == count(model, 1, 3, SIDE, SIDE)
