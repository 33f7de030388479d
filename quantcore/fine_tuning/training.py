"""What a child process does to fine-tune a float model on classes of one's own.

The last layer is made anew and trained alone on what the frozen rest sees, which takes a second;
then every weight is tuned. What comes out is a float model in the plain architecture's names. The
rounding to 8 bits is trained into it where it is compared: by `qat`, on the same pictures.

Sources: "How transferable are features in deep neural networks?", Yosinski et al., 2014; PyTorch's
tutorial "Quantized Transfer Learning for Computer Vision".
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from quantcore import models
from quantcore.errors import RequestError
from quantcore.fine_tuning.spec import CHOOSE, FineTuningSpec, Point, check_backbone, stage
from quantcore.images import collected, load_images, read_source
from quantcore.models import find
from quantcore.sandbox import progress_sender
from quantcore.schema import ImageSpec
from quantcore.settings import default_threads

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from quantcore.images import Split

WEIGHTS = "weights.safetensors"
# On two cores an epoch of these takes minutes for a large model; more would take a day.
MAX_TRAINED = 2_000
MAX_HELD_OUT = 500
BATCH = 16
EVALUATION_BATCH = 64
HEAD_ROUNDS = 60
HEAD_BATCH = 64
HEAD_RATE = 1e-2
RATE = 1e-3
WEIGHT_DECAY = 1e-4
# Of the gradient's norm: without it, the first steps undo much of what the backbone knows.
LARGEST_STEP = 1.0
# Of the picture's side: how far a picture is moved, at most, so that no place in it is learnt.
SHIFT = 1 / 16
# Shares of the work at which reading the pictures, and training the last layer, are done.
READ_AT, HEAD_AT = 0.1, 0.2
READING = "reading the pictures"
MIN_PICTURES = 40

# Pictures in half precision `[N, 3, S, S]`, and their classes.
LabelledPictures: TypeAlias = "tuple[Tensor, Tensor]"


@dataclass(frozen=True)
class Trained:
    """The result of a run; the weights lie in the child's folder.

    Attributes:
        parameters: numbers in the weights.
        trained_on: pictures.
        curve: a point for each epoch, the first before any.
        held_out_accuracy: of the weights that are kept, those of the best epoch.
        seconds: it took.
    """

    parameters: int
    trained_on: int
    curve: tuple[Point, ...]
    held_out_accuracy: float
    seconds: float


def run_fine_tuning_child(connection: Connection, spec: FineTuningSpec, folder: Path) -> Trained:
    """Train, write `weights.safetensors` into the folder, and tell of every epoch.

    Raises:
        RequestError: the pictures have no classes or are too few, or the model has no last layer.
    """
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(default_threads())
    torch.manual_seed(spec.seed)
    began, report = time.monotonic(), progress_sender(connection)
    qat, held_out, labels = _splits(spec)
    seen = _loaded(qat, lambda share: report(READING, 0.8 * READ_AT * share))
    held_out_pictures = _loaded(
        held_out, lambda share: report(READING, (0.8 + 0.2 * share) * READ_AT)
    )
    model = models.build(spec.backbone).requires_grad_(True)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    head = _new_head(model, find(spec.backbone).classes, len(labels))
    report("training the new last layer", READ_AT)
    _train_head(model, head, seen)
    curve = [Point(0, _evaluated(model, seen)[1], _evaluated(model, held_out_pictures)[0])]
    best = _Best(model, _evaluated(model, held_out_pictures))

    # Every step reports the last epoch again: of reports in quick succession, some are dropped.
    def at(share: float) -> None:
        report(stage(curve[-1], spec.epochs), HEAD_AT + (1 - HEAD_AT) * share)

    at(0.0)
    for epoch, loss in enumerate(_tuned(model, seen, spec, at), 1):
        score = _evaluated(model, held_out_pictures)
        best.offer(model, score)
        curve.append(Point(epoch, loss, score[0]))
        at(epoch / spec.epochs)
    weights = {name: tensor.contiguous() for name, tensor in best.state.items()}
    save_file(weights, folder / WEIGHTS)
    return Trained(
        parameters=sum(each.numel() for each in model.parameters()),
        trained_on=len(qat),
        curve=tuple(curve),
        held_out_accuracy=best.score[0],
        seconds=time.monotonic() - began,
    )


def _splits(spec: FineTuningSpec) -> tuple["Split", "Split", tuple[str, ...]]:
    """Return the pictures to train on, those held out to evaluate each epoch, and the classes."""
    info = check_backbone(spec.backbone)
    labels = tuple(sorted(set(collected.classes_of(read_source(spec.images)) or ())))
    if len(labels) < 2:
        raise RequestError(
            "These pictures do not say what they show.",
            "Put them into one folder for each class, at least 2, and upload them again.",
        )
    fine_tuned = replace(
        info, classes=len(labels), labels=labels, dataset="own", title="your classes"
    )
    data = load_images(ImageSpec(spec.images), fine_tuned)
    if data.qat is None or data.qat_held_out is None:
        raise RequestError(
            "These pictures are too few to train on.",
            f"Upload at least {MIN_PICTURES}; some are held out to evaluate the model.",
        )
    return data.qat.first(MAX_TRAINED), data.qat_held_out.first(MAX_HELD_OUT), labels


def _loaded(split: "Split", report: Callable[[float], None]) -> LabelledPictures:
    """Return a split's pictures as one tensor in half precision, and their classes."""
    import torch

    images, labels = [], []
    for batch, classes in split.batches(EVALUATION_BATCH):
        assert classes is not None
        images.append(batch.half())
        labels.append(classes)
        report(min(1.0, len(images) * EVALUATION_BATCH / len(split)))
    return torch.cat(images), torch.cat(labels)


def _new_head(model: "nn.Module", before: int, classes: int) -> "nn.Module":
    """Put a fresh layer in place of the one that gives the logits; return it.

    Raises:
        RequestError: there is no such layer.
    """
    from torch import nn

    layers = [
        name
        for name, part in model.named_modules()
        if (isinstance(part, nn.Linear) and part.out_features == before)
        or (isinstance(part, nn.Conv2d) and part.out_channels == before)
    ]
    if not layers:
        raise RequestError("This model has no last layer that could be replaced.", CHOOSE)
    parent, _, name = layers[-1].rpartition(".")
    owner, old = model.get_submodule(parent), model.get_submodule(layers[-1])
    has_bias = old.bias is not None
    head: nn.Module
    if isinstance(old, nn.Linear):
        head = nn.Linear(old.in_features, classes, bias=has_bias)
    else:
        head = nn.Conv2d(old.in_channels, classes, old.kernel_size, bias=has_bias)  # type: ignore[arg-type]
    # By name in `_modules`: a part of a Sequential is called by its number.
    owner._modules[name] = head
    return head


def _train_head(model: "nn.Module", head: "nn.Module", seen: LabelledPictures) -> None:
    """Train the new layer alone on what the frozen rest makes of each picture, and its mirror."""
    import torch
    from torch import nn

    if not isinstance(head, nn.Linear):
        # The inputs of a convolution are feature maps, too large to keep for every picture.
        return
    features = torch.cat([_features(model, head, images) for images in (seen[0], seen[0].flip(3))])
    labels = torch.cat([seen[1], seen[1]])
    optimizer = torch.optim.Adam(head.parameters(), HEAD_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(HEAD_ROUNDS):
        for batch in torch.randperm(len(labels)).split(HEAD_BATCH):
            _step(optimizer, head(features[batch]), labels[batch])


def _features(model: "nn.Module", head: "nn.Module", images: "Tensor") -> "Tensor":
    """Return the input of the last layer for each picture."""
    import torch

    caught: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    model.eval()
    with torch.no_grad():
        for batch in images.split(EVALUATION_BATCH):
            model(_floats(batch))
    hook.remove()
    return torch.cat(caught)


def _tuned(
    model: "nn.Module",
    seen: LabelledPictures,
    spec: FineTuningSpec,
    report: Callable[[float], None],
) -> Iterator[float]:
    """Train every weight; yield the mean loss after each epoch."""
    import torch

    images, labels = seen
    order = torch.Generator().manual_seed(spec.seed)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    each = math.ceil(len(labels) / BATCH)
    steps = spec.epochs * each
    for epoch in range(spec.epochs):
        _set_training(model)
        total = 0.0
        shuffled = torch.randperm(len(labels), generator=order)
        for step, batch in enumerate(shuffled.split(BATCH)):
            done = epoch * each + step
            for group in optimizer.param_groups:
                group["lr"] = _rate(done, steps)
            moved = _moved(_floats(images[batch]), order)
            total += len(batch) * _step(optimizer, model(moved), labels[batch], LARGEST_STEP)
            report(done / steps)
        yield total / len(labels)


def _set_training(model: "nn.Module") -> None:
    """Set a model to training, but not batch norm: few pictures give worse statistics."""
    from torch.nn.modules.batchnorm import _BatchNorm

    model.train()
    for part in model.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


def _rate(step: int, steps: int) -> float:
    """Return the learning rate: it rises for a third of the steps, then falls along a cosine."""
    rising = max(1, steps // 3)
    if step < rising:
        return RATE * (step + 1) / rising
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _moved(images: "Tensor", chance: "torch.Generator") -> "Tensor":
    """Return each picture mirrored or not, and moved by a few px."""
    import torch
    from torch.nn import functional

    side = images.shape[-1]
    most = max(1, round(side * SHIFT))
    padded = functional.pad(images, (most,) * 4, mode="reflect")
    flips = torch.rand(len(images), generator=chance) < 0.5
    corners = torch.randint(0, 2 * most + 1, (len(images), 2), generator=chance).tolist()
    moved = [
        picture[:, top : top + side, left : left + side]
        for picture, (top, left) in zip(padded, corners, strict=True)
    ]
    mirrored = [
        picture.flip(2) if flip else picture
        for picture, flip in zip(moved, flips.tolist(), strict=True)
    ]
    return torch.stack(mirrored).contiguous(memory_format=torch.channels_last)


def _step(optimizer: Any, logits: "Tensor", labels: "Tensor", largest: float = math.inf) -> float:
    """Take one step, its gradient's norm at most `largest`; return the loss before it."""
    from torch.nn import functional, utils

    loss = functional.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    utils.clip_grad_norm_(
        (each for group in optimizer.param_groups for each in group["params"]), largest
    )
    optimizer.step()
    return float(loss.detach())


def _evaluated(model: "nn.Module", pictures: LabelledPictures) -> tuple[float, float]:
    """Return the share of pictures named right, and the mean loss."""
    import torch
    from torch.nn import functional

    model.eval()
    right, loss = 0, 0.0
    with torch.inference_mode():
        for images, labels in zip(
            *(part.split(EVALUATION_BATCH) for part in pictures), strict=True
        ):
            logits = model(_floats(images))
            right += int((logits.argmax(1) == labels).sum())
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
    return right / len(pictures[1]), loss / len(pictures[1])


def _floats(images: "Tensor") -> "Tensor":
    import torch

    return images.float().contiguous(memory_format=torch.channels_last)


class _Best:
    """The weights of the best epoch so far."""

    def __init__(self, model: "nn.Module", score: tuple[float, float]) -> None:
        self.score = score
        self.state = copy.deepcopy(model.state_dict())

    def offer(self, model: "nn.Module", score: tuple[float, float]) -> None:
        """Take these weights if they name more right, or as many and more surely."""
        if (score[0], -score[1]) >= (self.score[0], -self.score[1]):
            self.score, self.state = score, copy.deepcopy(model.state_dict())
