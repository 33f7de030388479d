"""What tensors a file claims to hold, held against the bytes that are there.

A tensor in a file is a claim: so many numbers of such a kind, starting there. A claim of a hundred
bytes can be of terabytes. Every claim is checked here before a number is read, for safetensors and
for what torch.save writes, today's zip and the older form. Nothing here needs torch.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcore.errors import RequestError
from quantcore.untrusted.archive import STORED, Archive, open_archive, shown
from quantcore.untrusted.pickles import MAX_BYTES, Global, Made, Pickled, Stored, read, read_bytes
from quantcore.wording import count

MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 20_000
MAX_NAME = 512
MAX_DIMENSIONS = 16
MAX_SIDE = 2**40
WRAPPED = 4
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
AGAIN = "Save or download the file again, and upload it as it is."
ALREADY = "These weights are already in 8 bits, and the comparison starts from 32."
ALREADY_REMEDY = "Bring the float32 model they were made from."

# Kind of number -> how numpy reads its bytes. bfloat16, which numpy lacks, is read as its bits.
KINDS: dict[str, str] = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "u1",
    "uint16": "u2",
    "uint32": "u4",
    "uint64": "u8",
    "complex64": "c8",
    "complex128": "c16",
    "float8": "u1",
    "quantized": "u1",
}
SAFETENSORS_KINDS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "C64": "complex64",
    "F8_E4M3": "float8",
    "F8_E5M2": "float8",
    "F8_E8M0": "float8",
}
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
class Tensor:
    """A tensor whose claim was checked: all its numbers are in the file.

    Attributes:
        kind: of number: `float32`, `int64`.
        shape: its sides.
        strides: numbers to step over for one step along each side.
        start: byte of the file where its first number stands.
        big_endian: the bytes of a number stand highest first.
    """

    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int
    big_endian: bool = False

    @property
    def is_float(self) -> bool:
        """Return whether it holds ordinary floating-point numbers."""
        return self.kind in {"float64", "float32", "float16", "bfloat16"}

    def read(self, path: Path) -> NDArray[Any]:
        """Return its numbers from the file: floats as float32, others as they are.

        Raises:
            RequestError: the file is shorter than it was.
        """
        sort = np.dtype(KINDS[self.kind]).newbyteorder(">" if self.big_endian else "<")
        if 0 in self.shape:
            return np.zeros(self.shape, np.float32 if self.is_float else sort)
        span = 1 + sum(
            (side - 1) * step for side, step in zip(self.shape, self.strides, strict=True)
        )
        numbers = np.fromfile(path, sort, span, offset=self.start)
        if len(numbers) != span:
            raise RequestError("The file changed while it was read.", AGAIN)
        steps = tuple(step * sort.itemsize for step in self.strides)
        view = np.lib.stride_tricks.as_strided(numbers, self.shape, steps, writeable=False)
        if self.kind == "bfloat16":
            # A bfloat16 is the upper half of a float32.
            return (view.astype("<u4") << 16).view("<f4")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(view, "<f4" if self.is_float else sort.newbyteorder("<"))


@dataclass(frozen=True)
class Contents:
    """What a file of weights holds: nested dicts whose leaves are `Tensor` or anything else.

    Attributes:
        value: the outermost object.
        globals: names of programs that the file mentions.
        metadata: text about the file that its maker put beside the tensors.
    """

    value: Any
    globals: frozenset[str] = frozenset()
    metadata: Mapping[str, str] | None = None


def read_safetensors(path: Path) -> Contents:
    """Return a safetensors file's tensors by name.

    Raises:
        RequestError: its header cannot be read, or claims what the file does not hold.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > length - 8:
            raise _damaged("its header is longer than the file, so it was cut off")
        if size > MAX_HEADER_BYTES:
            raise _damaged(f"its header says it has {size:,} bytes")
        header = _json(file.read(size))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise _damaged("its metadata is not text")
    _limit(len(header))
    begin = 8 + size
    places = sorted(
        (*_offsets(name, entry), name) for name, entry in header.items() if _named(name)
    )
    position = 0
    for first, last, name in places:
        if first != position:
            raise _damaged(f"{shown(name)} shares bytes with another tensor, or bytes are unused")
        position = last
    if position != length - begin:
        raise _damaged("its tensors do not end where the file does")
    tensors = {
        name: _from_header(name, header[name], begin + first, last - first)
        for first, last, name in places
    }
    return Contents(tensors, metadata=metadata)


def _json(content: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        header = json.loads(content, object_pairs_hook=once, parse_constant=refuse)
    # Too deep a nesting is a RecursionError.
    except (ValueError, RecursionError) as error:
        raise _damaged("its header is not a plain list of tensors") from error
    if not isinstance(header, dict):
        raise _damaged("its header is not a plain list of tensors")
    return header


def _offsets(name: str, entry: Any) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(place) is int for place in offsets)
        or not 0 <= offsets[0] <= offsets[1]
    ):
        raise _damaged(f"{shown(name)} has no place in it")
    return offsets[0], offsets[1]


def _from_header(name: str, entry: dict[str, Any], start: int, size: int) -> Tensor:
    kind = (
        SAFETENSORS_KINDS.get(entry.get("dtype", ""))
        if isinstance(entry.get("dtype"), str)
        else None
    )
    if kind is None:
        raise RequestError(
            f"{shown(name)} holds numbers of a kind that is not known here.",
            "Save the model in float32: model.float().",
        )
    shape = _sides(name, entry.get("shape"))
    if math.prod(shape) * np.dtype(KINDS[kind]).itemsize != size:
        raise _damaged(f"{shown(name)} says it has other numbers than the file holds for it")
    return Tensor(kind, shape, _contiguous(shape), start)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps = [1]
    for side in reversed(shape[1:]):
        steps.append(steps[-1] * side)
    return tuple(reversed(steps)) if shape else ()


def read_torch_zip(path: Path) -> Contents:
    """Return what torch.save wrote, with checked tensors in place of its promises.

    Raises:
        RequestError: zip, pickle or tensors are damaged or claim what the file does not hold.
    """
    archive = open_archive(path)
    root = root_of(archive)
    pickled = read_bytes(archive.read(f"{root}data.pkl", MAX_BYTES))
    return _contents(pickled, _zip_storages(archive, root))


def check_torchscript(path: Path) -> Archive:
    """Return a TorchScript file's archive, the claims of its tensors checked.

    Raises:
        RequestError: zip, pickles or tensors are damaged or claim what the file does not hold.
    """
    archive = open_archive(path)
    root = root_of(archive)
    for name, folder in (("data.pkl", "data/"), ("constants.pkl", "constants/")):
        if root + name in archive.entries:
            pickled = read_bytes(archive.read(root + name, MAX_BYTES))
            storages = _zip_storages(archive, root, folder)
            try:
                _contents(pickled, storages)
            except RequestError:
                # Constants may lie with the other tensors.
                if folder == "data/":
                    raise
                _contents(pickled, _zip_storages(archive, root))
    return archive


def root_of(archive: Archive) -> str:
    """Return the one folder that everything in torch's zips lies in, with its slash.

    Raises:
        RequestError: there are several, so what the file holds depends on who reads it.
    """
    roots = {name.partition("/")[0] for name in archive.entries}
    if len(roots) != 1:
        raise RequestError(
            "The zip holds more than one folder at its top, which torch.save does not write.",
            "Upload the file as torch.save wrote it.",
        )
    return f"{roots.pop()}/"


@dataclass(frozen=True)
class _Storage:
    start: int
    size: int
    big_endian: bool


def _zip_storages(archive: Archive, root: str, folder: str = "data/") -> dict[str, _Storage]:
    order = archive.read(f"{root}byteorder", 16) if f"{root}byteorder" in archive.entries else b""
    beginning = root + folder
    found = {}
    for name, entry in archive.entries.items():
        if name.startswith(beginning):
            if entry.method != STORED:
                raise RequestError(
                    "The weights inside the file are packed, which torch.save does not do.",
                    "Upload the file as torch.save wrote it, not unzipped and zipped again.",
                )
            big = order.strip() == b"big"
            found[name.removeprefix(beginning)] = _Storage(entry.start, entry.size, big)
    return found


def read_legacy(path: Path) -> Contents:
    """Return what torch.save wrote before torch 1.6, or with its older form asked for.

    Raises:
        RequestError: as `read_torch_zip`.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        if read(file).value != LEGACY_MAGIC or read(file).value != LEGACY_PROTOCOL:
            raise _damaged("its beginning is not that of a file of torch.save")
        system = read(file).value
        pickled = read(file)
        keys = read(file).value
        position = file.tell()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise _damaged("its list of tensors cannot be read")
        big = isinstance(system, dict) and system.get("little_endian") is False
        sizes = _item_sizes(pickled)
        storages = {}
        for key in keys:
            file.seek(position)
            numbers = int.from_bytes(file.read(8), "big" if big else "little", signed=True)
            size = numbers * sizes.get(key, 1)
            position += 8 + size
            if numbers < 0 or position > length or key in storages:
                raise _damaged("it was cut off, or its tensors are not where it says")
            storages[key] = _Storage(position - size, size, big)
    return _contents(pickled, storages)


def _item_sizes(pickled: Pickled) -> dict[str, int]:
    """Return the bytes of a number in each storage, which the older form only tells there."""
    sizes: dict[str, int] = {}
    for stored in _everything(pickled.value, Stored):
        kind, key, _ = _reference(stored)
        sizes[key] = np.dtype(KINDS[kind]).itemsize
    return sizes


def _everything(value: Any, kind: type) -> Iterator[Any]:
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
        elif isinstance(item, Made):
            waiting.extend((item.arguments, item.state, item.items, item.appended))
        elif isinstance(item, Stored):
            waiting.append(item.reference)


def _reference(stored: Stored) -> tuple[str, str, int]:
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
        raise _damaged("a tensor in it refers to something that is no tensor's storage")
    kind = STORAGES.get(reference[1].path.rpartition(".")[2])
    if kind is None:
        raise RequestError(
            "The file holds numbers of a kind that is not known here.",
            "Save the model in float32: model.float().",
        )
    return kind, str(reference[2]), reference[4]


def _contents(pickled: Pickled, storages: Mapping[str, _Storage]) -> Contents:
    """Return the pickled value, with every tensor in it checked and in the place of its making."""
    made: dict[int, Tensor] = {}
    for number, promise in enumerate(_everything(pickled.value, Made)):
        tensor = _tensor(promise, storages)
        if tensor is not None:
            made[id(promise)] = tensor
        if number % 1_000 == 0:
            _limit(len(made))
    return Contents(_Replaced(made).within(pickled.value), pickled.globals)


class _Replaced:
    """Nested dicts with tensors in place of their promises; other leaves stay as they are."""

    def __init__(self, made: Mapping[int, Tensor]) -> None:
        self._made = made
        self._done: dict[tuple[int, int], Any] = {}

    def within(self, value: Any, depth: int = 0) -> Any:
        """Return the value with its tensors; what lies deeper than any wrapper is left."""
        if id(value) in self._made:
            return self._made[id(value)]
        items = value.items if isinstance(value, Made) and value.items else value
        if not isinstance(items, dict) or depth == WRAPPED:
            return value
        # A few dicts that hold each other many times over would be copied without end.
        place = (id(items), depth)
        if place not in self._done:
            self._done[place] = {key: self.within(item, depth + 1) for key, item in items.items()}
        return self._done[place]


def _tensor(promise: Made, storages: Mapping[str, _Storage], depth: int = 0) -> Tensor | None:
    """Return the tensor that a pickle would make, checked; None where it makes something else."""
    path, arguments = promise.path, promise.arguments
    if path == QUANTIZED:
        raise RequestError(ALREADY, ALREADY_REMEDY)
    if not isinstance(arguments, tuple):
        return None
    if path in PARAMETERS and arguments and isinstance(arguments[0], Made) and depth < 4:
        return _tensor(arguments[0], storages, depth + 1)
    if path == SUBCLASS and len(arguments) == 4 and isinstance(arguments[0], Global) and depth < 4:
        return _tensor(Made(arguments[0], arguments[2]), storages, depth + 1)
    if path not in REBUILDS:
        return None
    if len(arguments) < REBUILDS[path] or not isinstance(arguments[0], Stored):
        raise _damaged("a tensor in it cannot be read")
    stored, offset, sizes, strides = arguments[:4]
    kind, key, numbers = _reference(stored)
    item = np.dtype(KINDS[kind]).itemsize
    storage = storages.get(key)
    if storage is None or numbers < 0 or numbers * item != storage.size:
        raise _damaged("the numbers of a tensor are missing or cut off")
    if path.endswith("_v3"):
        kind, item = _late_kind(arguments[6])
        numbers = storage.size // item
    shape, steps = _sides("a tensor", sizes), _sides("a tensor's strides", strides)
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
    storage: _Storage,
) -> Tensor:
    """Return the tensor if it lies within its storage and repeats none of its numbers."""
    if len(strides) != len(shape) or type(offset) is not int or offset < 0:
        raise _damaged("a tensor in it is not where it says")
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


def _sides(name: str, shape: Any) -> tuple[int, ...]:
    """Return a shape (or strides) as plain numbers that are not negative."""
    if (
        isinstance(shape, Made)
        and shape.path == "torch.Size"
        and isinstance(shape.arguments, tuple)
    ):
        shape = shape.arguments[0] if len(shape.arguments) == 1 else None
    if (
        not isinstance(shape, (list, tuple))
        or len(shape) > MAX_DIMENSIONS
        or not all(type(side) is int and 0 <= side < MAX_SIDE for side in shape)
    ):
        raise _damaged(f"{shown(name)} has a shape that no tensor has")
    return tuple(shape)


def _named(name: str) -> bool:
    if not 0 < len(name) <= MAX_NAME:
        raise _damaged(f"a tensor has a name of {count(len(name), 'letter')}")
    return True


def _limit(number: int) -> None:
    if number > MAX_TENSORS:
        raise RequestError(
            f"The file holds more than {MAX_TENSORS:,} tensors.",
            "Save the model's state_dict alone.",
        )


def _damaged(how: str) -> RequestError:
    return RequestError(f"The file is damaged: {how}.", AGAIN)
