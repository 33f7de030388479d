"""Two hundred files of weights as people save them, none of which should be refused."""

import random
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.untrusted import files

COUNT = 200
NETWORKS = ("shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "mobilenet_v3_small")
PREFIXES = ("", "module.", "model.", "_orig_mod.", "module._orig_mod.", "net.backbone.")
WRAPPERS = ("", "state_dict", "model_state_dict", "model", "net", "weights", "generator_d")
KINDS = (torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Good:
    """A good file, and what must be recognised in it."""

    path: Path
    architecture: str
    classes: int
    labels: tuple[str, ...]
    first: torch.Tensor


def make(number: int, folder: Path) -> Good:
    """Write good file `number`."""
    chance = random.Random(number)
    name = NETWORKS[number % len(NETWORKS)]
    classes = chance.choice([2, 3, 10, 37, 1_000])
    state = OrderedDict(files.small_state(name, classes))
    kind = chance.choice(KINDS)
    first = next(iter(state.values())).to(kind).float()
    state = OrderedDict(
        (key, tensor.to(kind) if tensor.is_floating_point() else tensor)
        for key, tensor in state.items()
    )
    if chance.random() < 0.2:
        state = OrderedDict((k, v) for k, v in state.items() if not k.endswith("tracked"))
    if chance.random() < 0.2:
        state = OrderedDict(
            (k, v.to(memory_format=torch.channels_last) if v.dim() == 4 else v)
            for k, v in state.items()
        )
    if chance.random() < 0.2:
        state = OrderedDict((k, torch.nn.Parameter(v, False)) for k, v in state.items())
    prefix = chance.choice(PREFIXES)
    state = OrderedDict((prefix + key, tensor) for key, tensor in state.items())
    labels = tuple(f"class {i}" for i in range(classes)) if chance.random() < 0.5 else ()
    path, content = _written(state, labels, chance)
    path = folder / f"{number}{path}"
    path.write_bytes(content)
    return Good(path, name, classes, labels, first)


def _written(
    state: dict[str, torch.Tensor], labels: tuple[str, ...], chance: random.Random
) -> tuple[str, bytes]:
    if chance.random() < 0.3:
        import json

        from safetensors.torch import save

        plain = {key: tensor.detach().contiguous() for key, tensor in state.items()}
        metadata = {"format": "pt"} | ({"class_names": json.dumps(labels)} if labels else {})
        return ".safetensors", save(plain, metadata)
    wrapper = chance.choice(WRAPPERS[1:] if labels else WRAPPERS)
    value: Any = _wrapped(state, wrapper, labels, chance) if wrapper else state
    options: dict[str, Any] = {"_use_new_zipfile_serialization": chance.random() < 0.7}
    if chance.random() < 0.2:
        options["pickle_protocol"] = chance.choice([3, 4, 5])
    return chance.choice([".pt", ".pth", ".ckpt", ".bin"]), files.saved(value, **options)


def _wrapped(
    state: dict[str, torch.Tensor], wrapper: str, labels: tuple[str, ...], chance: random.Random
) -> dict[str, Any]:
    import argparse

    weight = torch.nn.Parameter(torch.zeros(3, 3))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.zeros(3, 3)
    optimizer.step()
    beside: dict[str, Any] = {
        "epoch": 3,
        "optimizer": optimizer.state_dict(),
        "best_acc": np.float64(0.5),
        "args": argparse.Namespace(lr=0.1, data=Path("data")),
        "ema": OrderedDict(state),
    }
    chosen = {key: beside[key] for key in chance.sample(list(beside), chance.randrange(5))}
    named: dict[str, Any] = {}
    if labels:
        numbered = {label: index for index, label in enumerate(labels)}
        named = chance.choice(
            [
                {"classes": list(labels)},
                {"class_to_idx": numbered},
                {"meta": {"id2label": {str(index): label for label, index in numbered.items()}}},
            ]
        )
    return {wrapper: state, **chosen, **named}
