"""What static quantization and QAT share: an observed module, calibrated on pictures.

torchvision's quantizable twins go through eager mode, which knows where their additions and
stubs are; every other architecture goes through FX graph mode, which finds them itself. So do
programs, made a graph of modules again; graph mode of TorchScript is left for those that cannot be.
"""

from typing import TYPE_CHECKING

from quantcore import models
from quantcore.backends.torch_ao import fx, graph, module, qconfigs, traced
from quantcore.backends.torch_ao.equalize import equalize
from quantcore.backends.torch_ao.numerics import Numerics
from quantcore.errors import UnsupportedError
from quantcore.images import ConversionInput, Split
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
    if inputs.model.static_mode == graph.MODE:
        return _prepared_program(inputs, numerics, qconfig)
    if inputs.model.static_mode == "eager":
        return _prepared_twin(inputs, qconfig, is_qat, equalized)
    if inputs.model.static_mode == "fx":
        return _prepared_by_tracing(inputs, numerics, qconfig, is_qat, equalized)
    raise UnsupportedError(inputs.model.static_refusal, "Use dynamic quantization.")


def _prepared_program(
    inputs: ConversionInput, numerics: Numerics, qconfig: "QConfig"
) -> "nn.Module":
    example = module.example(inputs.image_size)
    modular = traced.modular(models.build(inputs.spec), example)
    if modular is None:
        return graph.observed(inputs, qconfig)
    return fx.prepared(modular, numerics, qconfig, example)


def _prepared_twin(
    inputs: ConversionInput, qconfig: "QConfig", is_qat: bool, equalized: bool
) -> "nn.Module":
    from torch.ao import quantization

    twin = models.build_quantizable(inputs.spec)
    if equalized:
        equalize(twin)
    twin.eval()
    twin.fuse_model(is_qat=False)  # type: ignore[operator]
    twin.train(is_qat)
    twin.qconfig = qconfig  # type: ignore[assignment]
    prepare = quantization.prepare_qat if is_qat else quantization.prepare
    observed: nn.Module = prepare(twin, inplace=True)
    return observed


def _prepared_by_tracing(
    inputs: ConversionInput, numerics: Numerics, qconfig: "QConfig", is_qat: bool, equalized: bool
) -> "nn.Module":
    from torch.ao.quantization import quantize_fx

    example = module.example(inputs.image_size)
    model = models.build(inputs.spec)
    if equalized:
        equalize(model)
    if not is_qat:
        return fx.prepared(model.eval(), numerics, qconfig, example)
    model = quantize_fx.fuse_fx(model.eval()).train(is_qat)
    mapping = qconfigs.mapping(numerics, qconfig, is_qat)
    return quantize_fx.prepare_qat_fx(model, mapping, (example,))


def calibrate(observed: "nn.Module", split: Split, report: Report) -> None:
    """Show the observers a split's pictures."""
    import torch

    total, seen = len(split), 0
    if hasattr(observed, "training"):
        observed.eval()
    with torch.inference_mode():
        for images, _ in split.batches(BATCH):
            report(f"calibrating on {total} images", seen / total)
            observed(images)
            seen += len(images)


def converted(observed: "nn.Module", inputs: ConversionInput) -> "nn.Module":
    """Return the observed module with its layers replaced by 8-bit ones."""
    from torch.ao import quantization

    if module.is_program(observed):
        return graph.converted(observed)
    observed.eval()
    if inputs.model.static_mode != "eager":
        return fx.converted(observed)
    result: nn.Module = quantization.convert(observed)
    return result
