"""Quantization-aware training: fine-tune with the rounding in the loop, then convert.

What it trains towards is the float model's own answers, softened to probabilities, rather than the
labels: a few hundred pictures would teach the labels by heart, while these answers carry what the
float model knows of every class. Labels only judge when to stop.

Sources: "Quantizing deep convolutional networks for efficient inference", Krishnamoorthi, 2018;
"Apprentice: using knowledge distillation techniques to improve low-precision network accuracy",
Mishra and Marr, 2017.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from quantcore import models
from quantcore.backends import Backend, qat_qconfig, runtime
from quantcore.errors import RequestError
from quantcore.workflows import calibration, graph
from quantcore.workflows.base import ConversionInput, Report, Subject, Support
from quantcore.workflows.static import observable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from quantcore.images import Split

Part = TypeVar("Part")

CALIBRATION_IMAGES = 256
# Held-out accuracy is looked at this often, and training ends after this many looks without a rise.
# Looking costs as much as training, so it is done seldom and on some of the pictures only.
STEPS_BETWEEN_LOOKS = 20
PATIENCE = 3
IMAGES_A_LOOK = 500
EVALUATION_BATCH = 100
# Shares of the steps after which batch-norm statistics, then activation ranges, stand still.
FREEZE_STATISTICS_AT = 0.5
FREEZE_OBSERVERS_AT = 0.7


@dataclass(frozen=True)
class Qat:
    """Fine-tune the float weights with fake quantization, keep the best step, convert.

    Attributes:
        steps: training steps at most; fewer are taken once held-out accuracy stops rising.
        learning_rate: at its peak; it falls to zero along a cosine.
        batch: pictures per step.
        seed: of the order of pictures.
        per_channel: one weight scale per output channel; None takes the backend's default.
        equalize: balance neighbouring layers' weights first (see `equalize`); None does it where
            a layer has one weight scale, which is where it helps.
    """

    steps: int = 40
    learning_rate: float = 2e-3
    batch: int = 32
    seed: int = 0
    per_channel: bool | None = None
    equalize: bool | None = None

    name: ClassVar[str] = "qat"
    title: ClassVar[str] = "QAT"
    summary: ClassVar[str] = (
        "Fine-tunes on labelled pictures with 8-bit rounding in the loop. Minutes, best accuracy."
    )
    uses: ClassVar[tuple[str, ...]] = ("calibration", "qat", "qat_held_out")
    weight: ClassVar[float] = 10.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.learning_rate <= 0:
            raise RequestError(
                f"QAT cannot train {self.steps} steps of {self.batch} images at a learning rate "
                f"of {self.learning_rate}.",
                "Take at least 1 step, batches of at least 2, and a positive rate.",
            )

    def supports(self, subject: Subject, backend: Backend) -> Support:
        """Return yes where there are labelled pictures and weights worth tuning."""
        if subject.spec.is_random:
            return Support(
                False,
                "Random weights have learned nothing that fine-tuning could keep.",
                f"Choose {subject.model.name} without @random, or static for size and latency.",
            )
        if subject.model.static_mode == graph.MODE:
            return Support(False, graph.NO_SOURCE, "Use static, or upload the weights alone.")
        if not subject.labelled:
            return Support(
                False,
                "QAT trains on labelled pictures, and this model has none here.",
                "Bring class folders (--images), or use static.",
            )
        return observable(subject, backend)

    def qconfig(self, backend: Backend) -> str:
        """Return the configuration trained for; x86, FBGEMM and oneDNN share one.

        oneDNN would take activations of a full 8 bits, which its sums overflow on without VNNI.
        Training makes up for the bit that x86's configuration leaves free, and one training then
        serves all three.
        """
        return "x86" if backend.qconfig == "onednn" else backend.qconfig

    def convert(self, inputs: ConversionInput, backend: Backend, report: Report) -> "nn.Module":
        """Return the fine-tuned, converted module."""
        import torch

        torch.manual_seed(self.seed)
        report("fusing layers", 0.0)
        trained_for = runtime(self.qconfig(backend))
        module = calibration.prepared(
            inputs,
            trained_for,
            qat_qconfig(trained_for, self.per_channel),
            is_qat=True,
            equalized=calibration.equalizes(self.equalize, self.per_channel, trained_for),
        )
        _set_fake_quantization(module, observing=True, rounding=False)
        calibration.calibrate(module, inputs, CALIBRATION_IMAGES, _scaled(report, 0.0, 0.1))
        # Depthwise convolutions train about twice as fast with the channels innermost.
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        _set_fake_quantization(module, observing=True, rounding=True)
        self._fine_tune(module, inputs, _scaled(report, 0.1, 0.95))
        report("converting", 0.95)
        module = module.to(memory_format=torch.contiguous_format)
        return calibration.converted(module, inputs)

    def empty_converted(self, inputs: ConversionInput, backend: Backend) -> "nn.Module":
        """Return the converted module as it is without training."""
        trained_for = runtime(self.qconfig(backend))
        qconfig = qat_qconfig(trained_for, self.per_channel)
        return calibration.empty_converted(inputs, trained_for, qconfig, is_qat=True)

    def _fine_tune(self, module: "nn.Module", inputs: ConversionInput, report: Report) -> None:
        import torch

        optimizer = torch.optim.SGD(module.parameters(), self.learning_rate, momentum=0.9)
        teacher = _teacher(inputs, self.batch)
        best = _Best(module, _judge(module, inputs))
        batches = self._batches(_required(inputs.images.qat))
        for step in range(self.steps):
            report(f"training, step {step + 1} of at most {self.steps}", step / self.steps)
            self._set_schedule(module, optimizer, step)
            _train_step(module, teacher, optimizer, next(batches))
            if (step + 1) % STEPS_BETWEEN_LOOKS == 0 or step + 1 == self.steps:
                best.offer(module, _judge(module, inputs))
                if best.looks_without_rise >= PATIENCE:
                    break
        module.load_state_dict(best.state)

    def _set_schedule(self, module: "nn.Module", optimizer: Any, step: int) -> None:
        rate = self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        module.train()
        if step >= self.steps * FREEZE_STATISTICS_AT:
            _freeze_statistics(module)
        if step >= self.steps * FREEZE_OBSERVERS_AT:
            _set_fake_quantization(module, observing=False, rounding=True)

    def _batches(self, split: "Split") -> Iterator["Tensor"]:
        while True:
            for images, _ in split.shuffled(self.seed).batches(self.batch):
                # A short last batch would give batch norm poor statistics.
                if len(images) == min(self.batch, len(split)):
                    yield images


class _Best:
    """The best state seen so far, and how many looks ago it was better than all before."""

    def __init__(self, module: "nn.Module", score: tuple[float, float]) -> None:
        self.state = copy.deepcopy(module.state_dict())
        self.score = score
        self.looks_without_rise = 0

    def offer(self, module: "nn.Module", score: tuple[float, float]) -> None:
        self.looks_without_rise += 1
        if score > self.score:
            rose = score[0] > self.score[0]
            self.state, self.score = copy.deepcopy(module.state_dict()), score
            if rose:
                self.looks_without_rise = 0


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


def _judge(module: "nn.Module", inputs: ConversionInput) -> tuple[float, float]:
    """Return held-out accuracy and, to break ties, the negative loss."""
    import torch

    split = _required(inputs.images.qat_held_out)
    module.eval()
    right, loss = 0, 0.0
    judged = min(IMAGES_A_LOOK, len(split))
    with torch.inference_mode():
        for images, found in split.batches(EVALUATION_BATCH, judged):
            labels = _required(found)
            logits = module(images.contiguous(memory_format=torch.channels_last))
            right += int((logits.argmax(1) == labels).sum())
            loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
    return right / judged, -loss / judged


def _set_fake_quantization(module: "nn.Module", *, observing: bool, rounding: bool) -> None:
    from torch.ao import quantization

    module.apply(quantization.enable_observer if observing else quantization.disable_observer)
    module.apply(quantization.enable_fake_quant if rounding else quantization.disable_fake_quant)


def _freeze_statistics(module: "nn.Module") -> None:
    from torch.nn.modules.batchnorm import _BatchNorm

    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
        elif hasattr(part, "freeze_bn_stats"):
            part.freeze_bn_stats()  # type: ignore[operator]


def _scaled(report: Report, start: float, end: float) -> Report:
    return lambda stage, share: report(stage, start + share * (end - start))


def _required(part: Part | None) -> Part:
    if part is None:
        raise RequestError(
            "QAT trains on labelled pictures, and there are none.", "Bring class folders."
        )
    return part
