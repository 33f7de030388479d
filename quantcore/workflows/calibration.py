"""What static quantization and QAT share: an observed module, calibrated on pictures.

torchvision's quantizable twins go through eager mode, which knows where their additions and
stubs are; every other architecture goes through FX graph mode, which finds them itself.
"""

from typing import TYPE_CHECKING, Any

from quantcore import models
from quantcore.backends import Backend, qconfigs
from quantcore.errors import RequestError, UnsupportedError
from quantcore.workflows import graph
from quantcore.workflows.base import ConversionInput, Report
from quantcore.workflows.equalize import equalize

if TYPE_CHECKING:
    from torch import nn
    from torch.ao.quantization import QConfig

BATCH = 32


def check_calibration_images(count: int) -> None:
    """Refuse to calibrate on nothing.

    Raises:
        RequestError: no pictures were asked for.
    """
    if count < 1:
        raise RequestError(
            "Calibration needs pictures: without them no activation range is known, and the "
            "converted model answers at random.",
            "Ask for at least 1 calibration image; 256 is a good start.",
        )


def equalizes(asked: bool | None, per_channel: bool | None, backend: Backend) -> bool:
    """Return whether neighbouring layers are balanced: as asked, or where one scale has to do."""
    if asked is not None:
        return asked
    return not (backend.per_channel if per_channel is None else per_channel)


def prepared(
    inputs: ConversionInput,
    backend: Backend,
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
        module.train(is_qat)
        module.fuse_model(is_qat=is_qat)  # type: ignore[operator]
        module.qconfig = qconfig  # type: ignore[assignment]
        prepare = quantization.prepare_qat if is_qat else quantization.prepare
        observed: nn.Module = prepare(module, inplace=True)
        return observed
    if inputs.model.static_mode == "fx":
        return _prepared_by_tracing(inputs, backend, qconfig, is_qat, equalized)
    raise UnsupportedError(inputs.model.static_refusal, "Use dynamic quantization.")


def _prepared_by_tracing(
    inputs: ConversionInput, backend: Backend, qconfig: "QConfig", is_qat: bool, equalized: bool
) -> "nn.Module":
    import torch
    from torch.ao.quantization import quantize_fx

    prepare = quantize_fx.prepare_qat_fx if is_qat else quantize_fx.prepare_fx
    example = torch.zeros(2, 3, inputs.image_size, inputs.image_size)
    module = models.build(inputs.spec)
    if equalized:
        equalize(module)
    module.train(is_qat)
    return prepare(module, qconfigs.mapping(backend, qconfig, is_qat), (example,))


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


def empty_converted(
    inputs: ConversionInput, backend: Backend, qconfig: "QConfig", is_qat: bool
) -> "nn.Module":
    """Return the converted module without showing it a picture, for a state dict to fill."""
    import warnings

    with warnings.catch_warnings():
        # Observers that saw nothing warn, and here none is meant to see anything.
        warnings.simplefilter("ignore")
        return converted(prepared(inputs, backend, qconfig, is_qat), inputs)
