"""What static quantization and QAT share: an observed module, calibrated on pictures.

torchvision's quantizable twins go through eager mode, which knows where their additions and
stubs are; every other architecture goes through FX graph mode, which finds them itself.
"""

from typing import TYPE_CHECKING, Any

from quantcore import models
from quantcore.backends.torch_ao import graph, qconfigs
from quantcore.backends.torch_ao.equalize import equalize
from quantcore.backends.torch_ao.numerics import Numerics
from quantcore.errors import UnsupportedError
from quantcore.images import ConversionInput
from quantcore.schema import Report

if TYPE_CHECKING:
    from torch import nn
    from torch.ao.quantization import QConfig

BATCH = 32


def equalizes(setting: bool | None, per_channel: bool | None, numerics: Numerics) -> bool:
    """Return whether neighbouring layers are balanced: as asked, or where one scale has to do."""
    if setting is not None:
        return setting
    return not (numerics.per_channel if per_channel is None else per_channel)


def prepared(
    inputs: ConversionInput,
    numerics: Numerics,
    qconfig: "QConfig",
    is_qat: bool,
    *,
    equalized: bool = False,
) -> "nn.Module":
    """Return the float model, fused, with an observer or fake quantization at every activation.

    `equalized` balances neighbouring layers first, which helps where a layer has one weight scale.
    """
    from torch.ao import quantization

    if inputs.model.static_mode == graph.MODE:
        return graph.observed(inputs, qconfig)
    if inputs.model.static_mode == "eager":
        module = models.build_quantizable(inputs.spec)
        if equalized:
            equalize(module)
        module.eval()
        module.fuse_model(is_qat=False)  # type: ignore[operator]
        module.train(is_qat)
        module.qconfig = qconfig  # type: ignore[assignment]
        prepare = quantization.prepare_qat if is_qat else quantization.prepare
        observed: nn.Module = prepare(module, inplace=True)
        return observed
    if inputs.model.static_mode == "fx":
        return _prepared_by_tracing(inputs, numerics, qconfig, is_qat, equalized)
    raise UnsupportedError(inputs.model.static_refusal, "Use dynamic quantization.")


def _prepared_by_tracing(
    inputs: ConversionInput, numerics: Numerics, qconfig: "QConfig", is_qat: bool, equalized: bool
) -> "nn.Module":
    import torch
    from torch.ao.quantization import quantize_fx

    prepare = quantize_fx.prepare_qat_fx if is_qat else quantize_fx.prepare_fx
    example = torch.zeros(2, 3, inputs.image_size, inputs.image_size)
    module = models.build(inputs.spec)
    if equalized:
        equalize(module)
    module = quantize_fx.fuse_fx(module.eval()).train(is_qat)
    return prepare(module, qconfigs.mapping(numerics, qconfig, is_qat), (example,))


def calibrate(module: "nn.Module", inputs: ConversionInput, count: int, report: Report) -> None:
    """Show the observers up to `count` calibration pictures."""
    import torch

    split = inputs.images.calibration
    total = min(count, len(split))
    if hasattr(module, "training"):
        module.eval()
    seen = 0
    with torch.inference_mode():
        for images, _ in split.batches(BATCH, total):
            report(f"calibrating on {total} images", seen / total)
            module(images)
            seen += len(images)


def converted(module: "nn.Module", inputs: ConversionInput) -> "nn.Module":
    """Return the observed module with its layers replaced by 8-bit ones."""
    from torch.ao import quantization
    from torch.ao.quantization import quantize_fx

    if inputs.model.static_mode == graph.MODE:
        return graph.converted(module)
    module.eval()
    eager = inputs.model.static_mode == "eager"
    convert: Any = quantization.convert if eager else quantize_fx.convert_fx
    result: nn.Module = convert(module)
    return result
