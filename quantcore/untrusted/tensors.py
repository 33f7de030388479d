"""Tensors of an untrusted file, whose claims were checked before a number is read.

A tensor in a file is a claim: so many numbers of such a kind, starting there. A claim of a hundred
bytes can be of terabytes. `safetensors`, `torch_files` and `rebuild` check each claim against the
bytes that are there. Nothing here needs torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcore.errors import RequestError
from quantcore.untrusted.pickles import Call
from quantcore.untrusted.text import shown
from quantcore.wording import count

MAX_TENSORS = 20_000
MAX_NAME_CHARACTERS = 512
MAX_DIMENSIONS = 16
MAX_SIDE = 2**40
AGAIN = "Save or download the file again, and upload it as it is."
ALREADY = "These weights are already in 8 bits, and the comparison starts from 32."
ALREADY_REMEDY = "Upload the float32 model they were made from."

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
        """Return the tensor's numbers from the file: floats as float32, others unchanged.

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
    """The content of a file of weights: nested dicts whose leaves are `Tensor` or anything else.

    Attributes:
        value: the outermost object.
        globals: names of functions and classes that the file mentions.
        metadata: text about the file that its maker put beside the tensors.
    """

    value: Any
    globals: frozenset[str] = frozenset()
    metadata: Mapping[str, str] | None = None


def check_sides(name: str, shape: Any) -> tuple[int, ...]:
    """Return a shape (or strides) as a tuple of integers from 0 up.

    Raises:
        RequestError: it is no such thing.
    """
    if (
        isinstance(shape, Call)
        and shape.path == "torch.Size"
        and isinstance(shape.arguments, tuple)
    ):
        shape = shape.arguments[0] if len(shape.arguments) == 1 else None
    if (
        not isinstance(shape, (list, tuple))
        or len(shape) > MAX_DIMENSIONS
        or not all(type(side) is int and 0 <= side < MAX_SIDE for side in shape)
    ):
        raise damaged(f"{shown(name)} has a shape that no tensor has")
    return tuple(shape)


def check_name(name: str) -> bool:
    """Return True for a tensor's name of acceptable length; raise `RequestError` for another."""
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise damaged(f"a tensor has a name of {count(len(name), 'letter')}")
    return True


def check_number(number: int) -> None:
    """Raise `RequestError` where a file holds more tensors than any model."""
    if number > MAX_TENSORS:
        raise RequestError(
            f"The file holds more than {MAX_TENSORS:,} tensors.",
            "Save the model's state_dict alone.",
        )


def damaged(how: str) -> RequestError:
    """Return the error for a damaged file; `how` completes the sentence."""
    return RequestError(f"The file is damaged: {how}.", AGAIN)
