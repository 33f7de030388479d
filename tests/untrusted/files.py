"""Files as people upload them, written by hand where torch.save would not write them so."""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from quantcore.models.torchvision_import import torchvision
from quantcore.untrusted.fingerprints import CLASSES, fingerprints

SMALL = "shufflenet_v2_x0_5"


@cache
def small_state(name: str = SMALL, classes: int = 3) -> dict[str, torch.Tensor]:
    """Return a state dict with real numbers, the same each time."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = OrderedDict()
    for key, shape in shapes(name, classes).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        else:
            state[key] = torch.rand(shape, generator=generator) * 0.1 + 0.01
    return state


def shapes(name: str, classes: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of an architecture with that many classes."""
    known = fingerprints()[name].shapes
    return {
        key: tuple(classes if side == CLASSES else side for side in shape)
        for key, shape in known.items()
    }


def saved(value: Any, **options: Any) -> bytes:
    """Return what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


@cache
def torch_zip() -> bytes:
    return saved(small_state())


@cache
def legacy() -> bytes:
    return saved(small_state(), _use_new_zipfile_serialization=False)


@cache
def safetensors() -> bytes:
    from safetensors.torch import save

    return save(dict(small_state()))


class Tiny(torch.nn.Module):
    """A classifier of a few numbers, which no architecture of torchvision is."""

    def __init__(self, channels: int = 3, outputs: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(channels, 4, 3)
        self.head = torch.nn.Linear(4, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.conv(images).mean((2, 3)))
        return answers


def scripted(module: torch.nn.Module, **extra: str) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module.eval()), buffer, _extra_files=dict(extra))
    return buffer.getvalue()


@cache
def torchscript() -> bytes:
    return scripted(Tiny())


def exported(module: torch.nn.Module, batch: int = 2, size: int = 32, free: bool = True) -> bytes:
    buffer = io.BytesIO()
    shape = ({0: torch.export.Dim("batch", min=1, max=64)},) if free else None
    example = (torch.zeros(batch, 3, size, size),)
    torch.export.save(torch.export.export(module, example, dynamic_shapes=shape), buffer)
    return buffer.getvalue()


@cache
def pt2() -> bytes:
    return exported(Tiny().eval())


class Storage:
    """Stands for bytes beside a pickle."""

    def __init__(self, *reference: Any) -> None:
        self.reference = reference


class Call:
    """Pickles as a call of something, with arguments."""

    def __init__(self, what: Any, *arguments: Any) -> None:
        self.what, self.arguments = what, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.what, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.reference if isinstance(value, Storage) else None


def pickled(value: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def promise(
    key: str, numbers: int, size: Any, stride: Any, offset: Any = 0, kind: Any = torch.FloatStorage
) -> Call:
    """Return what pickles as a tensor in a storage of so many numbers."""
    return Call(
        torch._utils._rebuild_tensor_v2,
        Storage("storage", kind, key, "cpu", numbers),
        offset,
        size,
        stride,
        False,
        OrderedDict(),
    )


def zipped(pickle_bytes: bytes, storages: Mapping[str, bytes] | None = None) -> bytes:
    """Return a zip like torch.save's around a pickle."""
    members = {
        "model/data.pkl": pickle_bytes,
        "model/byteorder": b"little",
        "model/version": b"3\n",
    }
    members |= {f"model/data/{key}": content for key, content in (storages or {}).items()}
    return plain_zip(members)


def plain_zip(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def with_header(header: Any, data: bytes = b"") -> bytes:
    """Return a safetensors file with a header of one's own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def build(name: str, classes: int, **options: Any) -> torch.nn.Module:
    """Return one of torchvision's models, seeded, in eval mode."""
    torch.manual_seed(0)
    model: torch.nn.Module = torchvision().models.get_model(
        name, weights=None, num_classes=classes, **options
    )
    return model.eval()


def floats(count: int) -> bytes:
    return np.zeros(count, "<f4").tobytes()
