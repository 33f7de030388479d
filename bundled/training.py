"""Train the bundled float checkpoints on Fashion-MNIST at 64 px.

The recipe is one for all: SGD (AdamW for the transformer and the LSTM) with a one-cycle schedule,
flips and small shifts, label smoothing, and pictures that grow from 32 to 64 px in the course of
training, since small pictures teach nearly as much at a quarter of the cost. Training state is
written after every epoch, so an interrupted run goes on where it stopped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bundled.splits import Split
from quantcore.images import preprocess
from quantcore.models import small, torchvision_import

IMAGE_SIZE = 64
LABEL_SMOOTHING = 0.05
LARGEST_SHIFT = 2


@dataclass(frozen=True)
class TrainingPlan:
    """How one checkpoint is trained; `sizes` holds the picture size in px of each epoch."""

    build: Callable[[], nn.Module]
    sizes: tuple[int, ...]
    peak_learning_rate: float
    optimizer: str = "sgd"
    weight_decay: float = 5e-4
    batch: int = 128
    bfloat16: bool = False
    seed: int = 0


def _torchvision(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision_import.torchvision().models.get_model(
        name, weights=None, num_classes=10
    )


PLANS: dict[str, TrainingPlan] = {
    "mobilenet_v2": TrainingPlan(_torchvision("mobilenet_v2"), (64,) * 6, 0.2, weight_decay=2e-4),
    "resnet18": TrainingPlan(_torchvision("resnet18"), (32,) * 2 + (64,) * 2, 0.1, bfloat16=True),
    "shufflenet_v2_x1_0": TrainingPlan(
        _torchvision("shufflenet_v2_x1_0"), (32,) * 2 + (64,) * 3, 0.2, weight_decay=1e-4
    ),
    "row_lstm": TrainingPlan(small.row_lstm, (64,) * 4, 4e-3, "adamw", weight_decay=0.01),
    "mobilenet_v3_large": TrainingPlan(
        _torchvision("mobilenet_v3_large"), (48,) * 2 + (64,) * 2, 0.2, weight_decay=1e-4
    ),
    "vit_tiny": TrainingPlan(small.vit_tiny, (64,) * 6, 2e-3, "adamw", weight_decay=0.05),
}


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch flipped at random, and shifted by up to two pixels with black edges."""
    flipped = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flipped[:, None, None], images.flip(-1), images)
    padded = functional.pad(images, [LARGEST_SHIFT] * 4)
    offsets = torch.randint(0, 2 * LARGEST_SHIFT + 1, (2, len(images)), generator=generator)
    side = torch.arange(images.shape[-1])
    rows = (offsets[0][:, None] + side)[:, :, None]
    columns = (offsets[1][:, None] + side)[:, None, :]
    return padded[torch.arange(len(images))[:, None, None], rows, columns]


def top1(model: nn.Module, split: Split, batch: int = 250) -> float:
    """Return the share of the split's pictures that the model labels right."""
    model.eval()
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    right = 0
    with torch.inference_mode():
        for start in range(0, len(labels), batch):
            logits = model(preprocess(images[start : start + batch], IMAGE_SIZE))
            right += int((logits.argmax(1) == labels[start : start + batch]).sum())
    return right / len(labels)


def untrained(plan: TrainingPlan) -> nn.Module:
    """Return the plan's model with seeded weights."""
    torch.manual_seed(plan.seed)
    model: nn.Module = plan.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def cycle(plan: TrainingPlan, number: int) -> TrainingPlan:
    """Return the plan itself, or a shorter, gentler one after it where a model missed its bar."""
    if number == 0:
        return plan
    rate = plan.peak_learning_rate / 4
    return replace(plan, sizes=(IMAGE_SIZE,) * 2, peak_learning_rate=rate, seed=plan.seed + number)


def train(name: str, model: nn.Module, plan: TrainingPlan, split: Split, state_path: Path) -> None:
    """Train the model, going on from `state_path` where an earlier run left one."""
    optimizer = _optimizer(model, plan)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=plan.peak_learning_rate,
        total_steps=len(plan.sizes) * (len(split.labels) // plan.batch),
        pct_start=0.25,
    )
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first = _restore(parts, state_path)
    for epoch in range(first, len(plan.sizes)):
        loss = _epoch(model, optimizer, schedule, plan, split, epoch)
        print(f"{name}: epoch {epoch + 1} of {len(plan.sizes)}, loss {loss:.4f}", flush=True)
        states = {key: part.state_dict() for key, part in parts.items()}
        torch.save({"epoch": epoch + 1, **states}, state_path)


def _optimizer(model: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(
            model.parameters(), lr=plan.peak_learning_rate, weight_decay=plan.weight_decay
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=plan.peak_learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=plan.weight_decay,
    )


def _restore(parts: dict[str, Any], state_path: Path) -> int:
    if not state_path.exists():
        return 0
    saved = torch.load(state_path, weights_only=True)
    for key, part in parts.items():
        part.load_state_dict(saved[key])
    return int(saved["epoch"])


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    plan: TrainingPlan,
    split: Split,
    epoch: int,
) -> float:
    model.train()
    # Seeded by the epoch, so that a resumed run sees the same pictures as one that never stopped.
    generator = torch.Generator().manual_seed(plan.seed * 1_000 + epoch)
    total, steps = 0.0, 0
    for images, labels in _batches(split, plan.batch, generator):
        inputs = preprocess(augment(images, generator), plan.sizes[epoch])
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
            logits = model(inputs)
        loss = functional.cross_entropy(
            logits.float(), labels.long(), label_smoothing=LABEL_SMOOTHING
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if plan.optimizer == "adamw":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total, steps = total + loss.item(), steps + 1
    return total / steps


def _batches(
    split: Split, batch: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    order = torch.randperm(len(labels), generator=generator)
    for start in range(0, len(order) - batch + 1, batch):
        index = order[start : start + batch]
        yield images[index], labels[index]
