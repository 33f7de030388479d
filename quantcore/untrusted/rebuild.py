"""Tensors that a pickle of torch.save would rebuild, their claims checked against the storages."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantcore.errors import RequestError
from quantcore.untrusted.pickles import Call, Global, Pickled, StorageReference
from quantcore.untrusted.tensors import (
    ALREADY,
    ALREADY_REMEDY,
    KINDS,
    Contents,
    Tensor,
    check_number,
    check_sides,
    damaged,
)

MAX_WRAPPERS = 4
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "quantized",
    "QUInt8Storage": "quantized",
    "QUInt4x2Storage": "quantized",
    "QUInt2x4Storage": "quantized",
    "UntypedStorage": "uint8",
}
REBUILDS = {
    "torch._utils._rebuild_tensor": 4,
    "torch._utils._rebuild_tensor_v2": 6,
    "torch._utils._rebuild_tensor_v3": 7,
}
PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
SUBCLASS = "torch._tensor._rebuild_from_type_v2"
QUANTIZED = "torch._utils._rebuild_qtensor"


@dataclass(frozen=True)
class Storage:
    """Where a storage's bytes stand in the file, and in which order."""

    start: int
    size: int
    big_endian: bool


def item_sizes(pickled: Pickled) -> dict[str, int]:
    """Return the bytes of one number by storage; the older form has them in references only."""
    sizes: dict[str, int] = {}
    for stored in _instances(pickled.value, StorageReference):
        kind, key, _ = _reference(stored)
        sizes[key] = np.dtype(KINDS[kind]).itemsize
    return sizes


def _instances(value: Any, kind: type) -> Iterator[Any]:
    """Yield every object of a kind inside a value, each once, however deep it lies."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, kind):
            yield item
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
        elif isinstance(item, Call):
            waiting.extend((item.arguments, item.state, item.items, item.appended))
        elif isinstance(item, StorageReference):
            waiting.append(item.reference)


def _reference(stored: StorageReference) -> tuple[str, str, int]:
    """Return kind, key and number of numbers of the storage that a pickle refers to."""
    reference = stored.reference
    if (
        not isinstance(reference, tuple)
        or len(reference) not in {5, 6}
        or reference[0] != "storage"
        or not isinstance(reference[1], Global)
        or type(reference[4]) is not int
        or (len(reference) == 6 and reference[5] is not None)
    ):
        raise damaged("a tensor in it refers to something that is no tensor's storage")
    kind = STORAGES.get(reference[1].path.rpartition(".")[2])
    if kind is None:
        raise RequestError(
            "The file holds numbers of a kind that is not known here.",
            "Save the model in float32: model.float().",
        )
    return kind, str(reference[2]), reference[4]


def contents_of(pickled: Pickled, storages: Mapping[str, Storage]) -> Contents:
    """Return the pickled value, with a checked tensor in place of each call that rebuilds one."""
    tensors: dict[int, Tensor] = {}
    for number, call in enumerate(_instances(pickled.value, Call)):
        tensor = _tensor(call, storages)
        if tensor is not None:
            tensors[id(call)] = tensor
        if number % 1_000 == 0:
            check_number(len(tensors))
    return Contents(_WithTensors(tensors).within(pickled.value), pickled.globals)


class _WithTensors:
    """Nested dicts with tensors in place of the calls that rebuild them; other leaves stay."""

    def __init__(self, tensors: Mapping[int, Tensor]) -> None:
        self._tensors = tensors
        self._done: dict[tuple[int, int], Any] = {}

    def within(self, value: Any, depth: int = 0) -> Any:
        """Return the value with its tensors; dicts nested deeper than wrappers stay as they are."""
        if id(value) in self._tensors:
            return self._tensors[id(value)]
        items = value.items if isinstance(value, Call) and value.items else value
        if not isinstance(items, dict) or depth == MAX_WRAPPERS:
            return value
        # A few dicts that hold each other many times over would be copied without end.
        visited = (id(items), depth)
        if visited not in self._done:
            self._done[visited] = {key: self.within(item, depth + 1) for key, item in items.items()}
        return self._done[visited]


def _tensor(call: Call, storages: Mapping[str, Storage], depth: int = 0) -> Tensor | None:
    """Return the checked tensor that a call would rebuild; None where it makes something else."""
    path, arguments = call.path, call.arguments
    if path == QUANTIZED:
        raise RequestError(ALREADY, ALREADY_REMEDY)
    if not isinstance(arguments, tuple):
        return None
    if path in PARAMETERS and arguments and isinstance(arguments[0], Call) and depth < 4:
        return _tensor(arguments[0], storages, depth + 1)
    if path == SUBCLASS and len(arguments) == 4 and isinstance(arguments[0], Global) and depth < 4:
        return _tensor(Call(arguments[0], arguments[2]), storages, depth + 1)
    if path not in REBUILDS:
        return None
    if len(arguments) < REBUILDS[path] or not isinstance(arguments[0], StorageReference):
        raise damaged("a tensor in it cannot be read")
    stored, offset, sizes, strides = arguments[:4]
    kind, key, numbers = _reference(stored)
    item = np.dtype(KINDS[kind]).itemsize
    storage = storages.get(key)
    if storage is None or numbers < 0 or numbers * item != storage.size:
        raise damaged("the numbers of a tensor are missing or cut off")
    if path.endswith("_v3"):
        kind, item = _late_kind(arguments[6])
        numbers = storage.size // item
    shape, steps = check_sides("a tensor", sizes), check_sides("a tensor's strides", strides)
    return _within(kind, item, shape, steps, offset, numbers, storage)


def _late_kind(kind: Any) -> tuple[str, int]:
    name = kind.path.removeprefix("torch.") if isinstance(kind, Global) else ""
    name = "float8" if name.startswith("float8") else name
    if name not in KINDS:
        raise RequestError(
            "The file holds numbers of a kind that is not known here.",
            "Save the model in float32: model.float().",
        )
    return name, np.dtype(KINDS[name]).itemsize


def _within(
    kind: str,
    item: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: Any,
    numbers: int,
    storage: Storage,
) -> Tensor:
    """Return the tensor if it lies within its storage and repeats none of its numbers."""
    if len(strides) != len(shape) or type(offset) is not int or offset < 0:
        raise damaged("a tensor in it is not where it says")
    total = math.prod(shape)
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if total and (last >= numbers or total > numbers):
        raise RequestError(
            f"A tensor in the file says it has {total:,} numbers, and the file holds {numbers:,} "
            "for it.",
            "Save the model again, with state = {k: v.clone() for k, v in state.items()} where "
            "its tensors are views of others.",
        )
    return Tensor(kind, shape, strides, storage.start + offset * item, storage.big_endian)
