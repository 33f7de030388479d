"""Quantization-aware training: fine-tune with the rounding in the loop, then convert.

Batch norms are folded into their convolutions first, so that a step computes what will run, once.

The training target is the float model's own answers, softened to probabilities, rather than the
labels: a model learns the labels of a few hundred pictures by heart, while these answers carry what
the float model knows of every class. Labels only decide when to stop.

Sources: "Quantizing deep convolutional networks for efficient inference", Krishnamoorthi, 2018;
"Apprentice: using knowledge distillation techniques to improve low-precision network accuracy",
Mishra and Marr, 2017.
"""

import copy
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from quantcore import models
from quantcore.backends.options import QatOptions
from quantcore.backends.torch_ao import calibration
from quantcore.backends.torch_ao.numerics import Numerics
from quantcore.backends.torch_ao.qconfigs import qat_qconfig
from quantcore.errors import RequestError
from quantcore.images import ConversionInput
from quantcore.schema import Report

if TYPE_CHECKING:
    from torch import Tensor, nn

    from quantcore.images import Split

Part = TypeVar("Part")
Model = TypeVar("Model", bound="nn.Module")
Convert = Callable[[Any], Any]

CALIBRATION_IMAGES = 256
# Held-out accuracy is looked at this often, and training ends after this many looks without a rise.
STEPS_BETWEEN_LOOKS = 20
PATIENCE = 3
IMAGES_A_LOOK = 500
EVALUATION_BATCH = 100
# Shares of the steps after which the statistics of the batch norms left, then activation ranges,
# stand still.
FREEZE_STATISTICS_AT = 0.5
FREEZE_OBSERVERS_AT = 0.7


def fine_tuned(
    options: QatOptions, inputs: ConversionInput, numerics: Numerics, report: Report
) -> "nn.Module":
    """Return the model fine-tuned with fake quantization, at its best step, converted.

    Raises:
        RequestError: there are no labelled pictures to train on.
    """
    report("fusing layers", 0.0)
    module = calibration.prepared(
        inputs,
        numerics,
        qat_qconfig(numerics, options.per_channel),
        is_qat=True,
        equalized=calibration.equalizes(options.equalize, options.per_channel, numerics),
    )
    return trained(
        options, module, inputs, lambda each: calibration.converted(each, inputs), report
    )


def trained(
    options: QatOptions, module: Model, inputs: ConversionInput, convert: Convert, report: Report
) -> Model:
    """Return a module that holds fake quantization, trained, at its best step, converted.

    `convert` makes an 8-bit module of a copy of the one in training.

    Raises:
        RequestError: there are no labelled pictures to train on.
    """
    import torch

    torch.manual_seed(options.seed)
    _set_fake_quantization(module, observing=True, rounding=False)
    shown = inputs.images.calibration.first(CALIBRATION_IMAGES)
    calibration.calibrate(module, shown, _scaled(report, 0.0, 0.1))
    # Depthwise convolutions train about twice as fast with the channels innermost.
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _set_fake_quantization(module, observing=True, rounding=True)
    return _fine_tune(options, module, inputs, convert, _scaled(report, 0.1, 0.95))


def _fine_tune(
    options: QatOptions, module: Model, inputs: ConversionInput, convert: Convert, report: Report
) -> Model:
    """Train the prepared module; return the best of what it was converted to on the way."""
    import torch

    optimizer = torch.optim.SGD(module.parameters(), options.learning_rate, momentum=0.9)
    teacher = _teacher(inputs, options.batch)
    best = _Best(inputs, module, convert)
    batches = _batches(options, _required(inputs.images.qat))
    for step in range(options.steps):
        report(f"training, step {step + 1} of at most {options.steps}", step / options.steps)
        _set_schedule(options, module, optimizer, step)
        _train_step(module, teacher, optimizer, next(batches))
        if (step + 1) % STEPS_BETWEEN_LOOKS == 0 or step + 1 == options.steps:
            best.offer(module)
            if best.looks_without_rise >= PATIENCE:
                break
    result: Model = best.converted
    return result


def _set_schedule(options: QatOptions, module: "nn.Module", optimizer: Any, step: int) -> None:
    rate = options.learning_rate * 0.5 * (1 + math.cos(math.pi * step / options.steps))
    for group in optimizer.param_groups:
        group["lr"] = rate
    module.train()
    if step >= options.steps * FREEZE_STATISTICS_AT:
        _freeze_statistics(module)
    if step >= options.steps * FREEZE_OBSERVERS_AT:
        _set_fake_quantization(module, observing=False, rounding=True)


def _batches(options: QatOptions, split: "Split") -> Iterator["Tensor"]:
    while True:
        for images, _ in split.shuffled(options.seed).batches(options.batch):
            # A short last batch would give batch norm poor statistics.
            if len(images) == min(options.batch, len(split)):
                yield images


class _Best:
    """The best converted module so far, and how many looks ago it was better than all before.

    What is judged is what would ship, in 8 bits, and it answers faster than the one in training.
    """

    def __init__(self, inputs: ConversionInput, module: Any, convert: Convert) -> None:
        self._inputs, self._convert = inputs, convert
        self.converted = _converted(module, convert)
        self._score = _evaluate(self.converted, inputs)
        self.looks_without_rise = 0

    def offer(self, module: Any) -> None:
        candidate = _converted(module, self._convert)
        score = _evaluate(candidate, self._inputs)
        self.looks_without_rise = 0 if score[0] > self._score[0] else self.looks_without_rise + 1
        if score > self._score:
            self.converted, self._score = candidate, score


def _converted(module: Any, convert: Convert) -> Any:
    """Return an 8-bit copy of the module in training, which stays as it is."""
    import torch

    return convert(copy.deepcopy(module).to(memory_format=torch.contiguous_format))


def _teacher(inputs: ConversionInput, batch: int) -> Any:
    """Return the float model as it answers fastest, for batches of this many pictures."""
    import torch

    side = inputs.image_size
    example = torch.zeros(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    model: Any = models.build(inputs.spec).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # torch's fused attention is one operator that a trace cannot follow.
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        traced = torch.jit.freeze(torch.jit.trace(model, example, check_trace=False))
    return torch.jit.optimize_for_inference(traced)


def _train_step(module: "nn.Module", teacher: Any, optimizer: Any, images: "Tensor") -> None:
    import torch

    images = images.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        wanted = teacher(images).softmax(dim=1)
    loss = torch.nn.functional.cross_entropy(module(images), wanted)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _evaluate(module: "nn.Module", inputs: ConversionInput) -> tuple[float, float]:
    """Return held-out accuracy and, to break ties, the negative loss."""
    import torch

    split = _required(inputs.images.qat_held_out)
    right, loss = 0, 0.0
    count = min(IMAGES_A_LOOK, len(split))
    with torch.inference_mode():
        for images, targets in split.batches(EVALUATION_BATCH, count):
            labels = _required(targets)
            logits = module(images)
            right += int((logits.argmax(1) == labels).sum())
            loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
    return right / count, -loss / count


def _set_fake_quantization(module: "nn.Module", *, observing: bool, rounding: bool) -> None:
    for part in module.modules():
        # torch's own and torchao's have these methods, and no class in common.
        if hasattr(part, "fake_quant_enabled"):
            part.enable_observer(observing)  # type: ignore[operator]
            part.enable_fake_quant(rounding)  # type: ignore[operator]


def _freeze_statistics(module: "nn.Module") -> None:
    from torch.nn.modules.batchnorm import _BatchNorm

    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


def _scaled(report: Report, start: float, end: float) -> Report:
    return lambda stage, share: report(stage, start + share * (end - start))


def _required(part: Part | None) -> Part:
    if part is None:
        raise RequestError(
            "QAT trains on labelled pictures, and there are none.", "Upload class folders."
        )
    return part
