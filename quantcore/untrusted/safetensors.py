"""Tensors of a safetensors file, their claims checked against the bytes that are there."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from quantcore.errors import RequestError
from quantcore.untrusted.tensors import (
    KINDS,
    Contents,
    Tensor,
    check_name,
    check_number,
    check_sides,
    damaged,
)
from quantcore.untrusted.text import shown

MAX_HEADER_BYTES = 16 * 2**20
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


def read_safetensors(path: Path) -> Contents:
    """Return a safetensors file's tensors by name.

    Raises:
        RequestError: its header cannot be read, or claims what the file does not hold.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > length - 8:
            raise damaged("its header is longer than the file, so it was cut off")
        if size > MAX_HEADER_BYTES:
            raise damaged(f"its header says it has {size:,} bytes")
        header = _json(file.read(size))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise damaged("its metadata is not text")
    check_number(len(header))
    begin = 8 + size
    spans = sorted(
        (*_offsets(name, entry), name) for name, entry in header.items() if check_name(name)
    )
    position = 0
    for first, last, name in spans:
        if first != position:
            raise damaged(f"{shown(name)} shares bytes with another tensor, or bytes are unused")
        position = last
    if position != length - begin:
        raise damaged("its tensors do not end where the file does")
    tensors = {
        name: _from_header(name, header[name], begin + first, last - first)
        for first, last, name in spans
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
        raise damaged("its header is not a plain list of tensors") from error
    if not isinstance(header, dict):
        raise damaged("its header is not a plain list of tensors")
    return header


def _offsets(name: str, entry: Any) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(offset) is int for offset in offsets)
        or not 0 <= offsets[0] <= offsets[1]
    ):
        raise damaged(f"{shown(name)} has no place in it")
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
    shape = check_sides(name, entry.get("shape"))
    if math.prod(shape) * np.dtype(KINDS[kind]).itemsize != size:
        raise damaged(f"{shown(name)} says it has other numbers than the file holds for it")
    return Tensor(kind, shape, _contiguous(shape), start)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps = [1]
    for side in reversed(shape[1:]):
        steps.append(steps[-1] * side)
    return tuple(reversed(steps)) if shape else ()
