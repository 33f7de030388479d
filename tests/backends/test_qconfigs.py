"""Our observers are torch's defaults, or the variation of them that was asked for."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization

from quantcore.backends import BACKENDS
from quantcore.backends.torch_ao.module import state_digest
from quantcore.backends.torch_ao.observers import FittedHistogramObserver
from quantcore.backends.torch_ao.qconfigs import qat_qconfig, static_qconfig
from quantcore.backends.torch_engines import TorchEngine
from tests.support.computing import QUIET, one_thread

pytestmark = QUIET
ENGINES = {name: each for name, each in BACKENDS.items() if isinstance(each, TorchEngine)}
every_backend = pytest.mark.parametrize("backend", ENGINES.values(), ids=ENGINES)


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    with one_thread():
        yield


def converted(backend: TorchEngine, qconfig: Any, is_qat: bool = False) -> nn.Module:
    """Return a small net, prepared, shown seeded pictures and converted."""
    torch.backends.quantized.engine = backend.engine
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    net = quantization.QuantWrapper(body).train(is_qat)
    net.qconfig = qconfig
    prepare = quantization.prepare_qat if is_qat else quantization.prepare
    prepared = prepare(net)
    # Two batches, the second wider: a moving average, a histogram and a maximum differ on them.
    for scale in (1.0, 3.0):
        prepared(scale * torch.randn(16, 3, 12, 12))
    result: nn.Module = quantization.convert(prepared.eval())
    return result


@every_backend
def test_static_defaults_convert_as_torchs_own(backend: TorchEngine) -> None:
    assert backend.engine is not None
    ours = converted(backend, static_qconfig(backend.numerics))
    default = quantization.get_default_qconfig(backend.engine)
    if backend.numerics.reduce_range:
        # torch fits its histogram to twice the steps there are.
        activation = FittedHistogramObserver.with_args(reduce_range=True)
        default = quantization.QConfig(activation=activation, weight=default.weight)
    assert state_digest(ours) == state_digest(converted(backend, default))


def error_after(observer: quantization.HistogramObserver, values: torch.Tensor) -> float:
    """Return the mean squared error of the values rounded to the 128 steps of a reduced range."""
    observer(values)
    scale, zero_point = observer.calculate_qparams()
    rounded = torch.fake_quantize_per_tensor_affine(values, float(scale), int(zero_point), 0, 127)
    return float((rounded - values).square().mean())


@pytest.mark.parametrize("tail", [0.25, 0.5, 1.0])
def test_the_fitted_histogram_rounds_a_reduced_range_better_than_torchs(tail: float) -> None:
    # Activations after Hardswish: most near zero, few far out.
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).abs() ** (1 + tail)
    fitted = error_after(FittedHistogramObserver(reduce_range=True), values)
    torchs = error_after(quantization.HistogramObserver(reduce_range=True), values)
    assert fitted < 0.95 * torchs


def test_a_full_range_is_fitted_as_torch_does() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    observers = FittedHistogramObserver(), quantization.HistogramObserver()
    for observer in observers:
        observer(values)
    assert observers[0].calculate_qparams() == observers[1].calculate_qparams()


@every_backend
def test_qat_defaults_convert_as_torchs_own(backend: TorchEngine) -> None:
    assert backend.engine is not None
    ours = converted(backend, qat_qconfig(backend.numerics), is_qat=True)
    torchs = converted(backend, quantization.get_default_qat_qconfig(backend.engine), is_qat=True)
    assert state_digest(ours) == state_digest(torchs)


@every_backend
def test_observer_and_channels_change_the_numbers(backend: TorchEngine) -> None:
    usual = state_digest(converted(backend, static_qconfig(backend.numerics)))
    minmax = state_digest(converted(backend, static_qconfig(backend.numerics, "minmax")))
    other = state_digest(
        converted(backend, static_qconfig(backend.numerics, per_channel=not backend.per_channel))
    )
    same = state_digest(
        converted(backend, static_qconfig(backend.numerics, per_channel=backend.per_channel))
    )
    assert len({usual, minmax, other}) == 3
    assert same == usual


@every_backend
def test_the_digest_sees_one_changed_weight(backend: TorchEngine) -> None:
    net = converted(backend, static_qconfig(backend.numerics))
    before = state_digest(net)
    state = net.state_dict()
    bias = state["module.4._packed_params._packed_params"][1]
    with torch.no_grad():
        bias[0] += 1
    net.load_state_dict(state)
    assert state_digest(net) != before
