"""FlatBuffers by their schema: read to plain data, and written from it.

ExecuTorch's own writer starts a program (`flatc`), which a sandboxed process may not, and its
reader imports its compiler. Of the schema language, what its two schemas use is understood: tables,
enums, unions, vectors and strings. https://flatbuffers.dev/internals/
"""

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Scalars: how `struct` reads them.
SCALARS = {
    **{"bool": "?", "byte": "b", "int8": "b", "ubyte": "B", "uint8": "B"},
    **{"short": "h", "int16": "h", "ushort": "H", "uint16": "H"},
    **{"int": "i", "int32": "i", "uint": "I", "uint32": "I"},
    **{"long": "q", "int64": "q", "ulong": "Q", "uint64": "Q"},
    **{"float": "f", "float32": "f", "double": "d", "float64": "d"},
}
BYTES = ("ubyte", "uint8")
_COMMENT = re.compile(r"//[^\n]*")
_TABLE = re.compile(r"table\s+(\w+)\s*\{(.*?)\}", re.DOTALL)
_ENUM = re.compile(r"enum\s+(\w+)\s*:\s*(\w+)")
_UNION = re.compile(r"union\s+(\w+)\s*\{(.*?)\}", re.DOTALL)
_FIELD = re.compile(r"(\w+)\s*:\s*(\[?\s*\w+\s*\]?)[^;]*;")


@dataclass(frozen=True)
class Field:
    """A field of a table: its name, its type, whether it is a vector, and its place."""

    name: str
    kind: str
    is_vector: bool
    slot: int


@dataclass(frozen=True)
class Schema:
    """What tables hold.

    Attributes:
        tables: fields by table.
        enums: type of the number by enum.
        unions: by union, the names of its members and the table of each, in order.
    """

    tables: Mapping[str, Sequence[Field]]
    enums: Mapping[str, str]
    unions: Mapping[str, Sequence[tuple[str, str]]]

    @classmethod
    def parsed(cls, *paths: Path) -> "Schema":
        """Return the schema that these files make up."""
        text = _COMMENT.sub("", "\n".join(path.read_text() for path in paths))
        unions = {name: _members(body) for name, body in _UNION.findall(text)}
        tables = {name: _fields(body, unions) for name, body in _TABLE.findall(text)}
        return cls(tables, dict(_ENUM.findall(text)), unions)

    def scalar(self, kind: str) -> str | None:
        """Return how `struct` reads a type; None where it is no number."""
        return SCALARS.get(self.enums.get(kind, kind))

    def read(self, table: str, data: bytes, start: int = 0) -> dict[str, Any]:
        """Return the root table of the buffer that starts there: fields that are set, by name.

        A union's field holds its table, and `NAME_type` the member's name. Vectors of bytes are
        bytes.
        """
        return _Reader(self, memoryview(data)[start:]).root(table)

    def write(self, table: str, content: Mapping[str, Any], identifier: bytes) -> bytes:
        """Return the buffer of a table; the content is as `read` returns it, None for unset."""
        import flatbuffers

        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(_written(self, builder, table, content), file_identifier=identifier)
        return bytes(builder.Output())


def _members(body: str) -> list[tuple[str, str]]:
    named = (part.partition(":") for part in body.split(",") if part.strip())
    return [(name.strip(), (table or name).strip()) for name, _, table in named]


def _fields(body: str, unions: Mapping[str, object]) -> list[Field]:
    fields: list[Field] = []
    slot = 0
    for name, kind in _FIELD.findall(body):
        is_vector = "[" in kind
        bare = kind.strip("[] \t")
        # A union takes two: first which member it is.
        slot += bare in unions
        fields.append(Field(name, bare, is_vector, slot))
        slot += 1
    return fields


class _Reader:
    """Reads one buffer."""

    def __init__(self, schema: Schema, data: memoryview) -> None:
        self._schema, self._data = schema, data

    def root(self, table: str) -> dict[str, Any]:
        return self._table(table, self._number("I", 0))

    def _number(self, code: str, at: int) -> Any:
        return struct.unpack_from(f"<{code}", self._data, at)[0]

    def _follow(self, at: int) -> int:
        return at + int(self._number("I", at))

    def _table(self, table: str, at: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        places = at - self._number("i", at)
        count = (self._number("H", places) - 4) // 2
        for field in self._schema.tables[table]:
            offset = self._number("H", places + 4 + 2 * field.slot) if field.slot < count else 0
            if not offset:
                continue
            if field.kind in self._schema.unions:
                before = self._number("H", places + 2 + 2 * field.slot)
                member = self._number("B", at + before) - 1
                name, kind = self._schema.unions[field.kind][member]
                found |= {f"{field.name}_type": name}
                found[field.name] = self._table(kind, self._follow(at + offset))
            else:
                found[field.name] = self._value(field, at + offset)
        return found

    def _value(self, field: Field, at: int) -> Any:
        if field.is_vector:
            return self._vector(field, self._follow(at))
        code = self._schema.scalar(field.kind)
        if code is not None:
            return self._number(code, at)
        if field.kind == "string":
            return self._string(self._follow(at))
        return self._table(field.kind, self._follow(at))

    def _string(self, at: int) -> str:
        return bytes(self._data[at + 4 : at + 4 + self._number("I", at)]).decode()

    def _vector(self, field: Field, at: int) -> Any:
        count, code = self._number("I", at), self._schema.scalar(field.kind)
        if field.kind in BYTES:
            return bytes(self._data[at + 4 : at + 4 + count])
        if code is not None:
            return list(struct.unpack_from(f"<{count}{code}", self._data, at + 4))
        places = [self._follow(at + 4 + 4 * index) for index in range(count)]
        if field.kind == "string":
            return [self._string(place) for place in places]
        return [self._table(field.kind, place) for place in places]


def _written(schema: Schema, builder: Any, table: str, content: Mapping[str, Any]) -> int:
    """Return where the table begins in the builder; what it refers to is written first."""
    fields = [field for field in schema.tables[table] if content.get(field.name) is not None]
    places = {
        field.name: _referred(schema, builder, field, content)
        for field in fields
        if field.is_vector or schema.scalar(field.kind) is None
    }
    builder.StartObject(2 + max((field.slot for field in schema.tables[table]), default=0))
    for field in fields:
        if field.name in places:
            builder.PrependUOffsetTRelativeSlot(field.slot, places[field.name], 0)
        else:
            builder.PrependSlot(
                _flags(schema, field), field.slot, _scalar(schema, field, content), 0
            )
        if field.kind in schema.unions:
            names = [name for name, _ in schema.unions[field.kind]]
            member = 1 + names.index(content[f"{field.name}_type"])
            builder.PrependUint8Slot(field.slot - 1, member, 0)
    return int(builder.EndObject())


def _referred(schema: Schema, builder: Any, field: Field, content: Mapping[str, Any]) -> int:
    value = content[field.name]
    if field.is_vector:
        return _vector(schema, builder, field, value)
    if field.kind == "string":
        return int(builder.CreateString(value))
    kind = field.kind
    if kind in schema.unions:
        kind = dict(schema.unions[kind])[content[f"{field.name}_type"]]
    return _written(schema, builder, kind, value)


def _vector(schema: Schema, builder: Any, field: Field, values: Sequence[Any]) -> int:
    code = schema.scalar(field.kind)
    if code is not None:
        size = struct.calcsize(code)
        builder.StartVector(size, len(values), size)
        for value in reversed(values):
            builder.Prepend(_flags(schema, field), value)
        return int(builder.EndVector())
    places = [
        builder.CreateString(value)
        if field.kind == "string"
        else _written(schema, builder, field.kind, value)
        for value in values
    ]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())


def _flags(schema: Schema, field: Field) -> Any:
    from flatbuffers import number_types

    code = schema.scalar(field.kind)
    assert code is not None
    kind = {
        **{"?": "Bool", "b": "Int8", "B": "Uint8", "h": "Int16", "H": "Uint16"},
        **{"i": "Int32", "I": "Uint32", "q": "Int64", "Q": "Uint64"},
        **{"f": "Float32", "d": "Float64"},
    }[code]
    return getattr(number_types, f"{kind}Flags")


def _scalar(schema: Schema, field: Field, content: Mapping[str, Any]) -> Any:
    """Return a number; JSON has infinite ones as text."""
    value = content[field.name]
    return float(value) if schema.scalar(field.kind) in ("f", "d") else value
