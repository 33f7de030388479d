"""Our observers are torch's defaults, or the variation of them that was asked for."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization

from quantcore.backends import BACKENDS, Backend
from quantcore.backends.qconfigs import qat_qconfig, static_qconfig
from quantcore.convert import state_digest

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{category}")
    for category in ("DeprecationWarning", "UserWarning")
]
every_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """Compute on one thread, and leave the process's engine and threads as they were."""
    engine, threads = torch.backends.quantized.engine, torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.backends.quantized.engine = engine


def converted(backend: Backend, qconfig: Any, is_qat: bool = False) -> nn.Module:
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
def test_static_defaults_convert_as_torchs_own(backend: Backend) -> None:
    assert backend.engine is not None
    ours = converted(backend, static_qconfig(backend))
    torchs = converted(backend, quantization.get_default_qconfig(backend.engine))
    assert state_digest(ours) == state_digest(torchs)


@every_backend
def test_qat_defaults_convert_as_torchs_own(backend: Backend) -> None:
    assert backend.engine is not None
    ours = converted(backend, qat_qconfig(backend), is_qat=True)
    torchs = converted(backend, quantization.get_default_qat_qconfig(backend.engine), is_qat=True)
    assert state_digest(ours) == state_digest(torchs)


@every_backend
def test_observer_and_channels_change_the_numbers(backend: Backend) -> None:
    usual = state_digest(converted(backend, static_qconfig(backend)))
    minmax = state_digest(converted(backend, static_qconfig(backend, "minmax")))
    other = state_digest(
        converted(backend, static_qconfig(backend, per_channel=not backend.per_channel))
    )
    same = state_digest(
        converted(backend, static_qconfig(backend, per_channel=backend.per_channel))
    )
    assert len({usual, minmax, other}) == 3
    assert same == usual


@every_backend
def test_the_digest_sees_one_changed_weight(backend: Backend) -> None:
    net = converted(backend, static_qconfig(backend))
    before = state_digest(net)
    state = net.state_dict()
    bias = state["module.4._packed_params._packed_params"][1]
    with torch.no_grad():
        bias[0] += 1
    net.load_state_dict(state)
    assert state_digest(net) != before
