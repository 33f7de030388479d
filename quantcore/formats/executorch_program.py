"""What is in an ExecuTorch program: its provenance, and what computes which of its operators.

The file is read as it is: the compiler's own reader takes seconds to import, and starts programs.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from quantcore.formats.flatbuffer import Schema

# What writes and runs programs.
PACKAGES = ("executorch", "torchao")
# A method of the file that answers with its provenance, and the one that answers pictures.
PROVENANCE, FORWARD = "provenance", "forward"
IDENTIFIER, HEADER, HEADER_BYTES = b"ET12", b"eh00", 32
SEGMENT_ALIGNMENT = 128
# Of XNNPACK's types, those of 8 bits: with one scale, with one a channel, and with one a picture.
EIGHT_BITS = frozenset({3, 4, 6, 9, 11})
# Nodes of XNNPACK that move or convert numbers, and compute with none.
MOVES = frozenset(
    {"XNNConvert", "XNNCopy", "XNNStaticReshape", "XNNStaticTranspose", "XNNStaticSlice"}
)
Shape = Sequence[int]


@dataclass(frozen=True)
class Work:
    """Multiply-adds for one picture, by what computes them, and the operators.

    Attributes:
        int8: by XNNPACK, in 8 bits.
        float32: by XNNPACK, in float.
        portable: by ExecuTorch's own kernels, which are plain loops.
        int8_operators: how many operators read and give 8-bit numbers.
        operators: how many there are.
        left: names of those that XNNPACK does not run.
    """

    int8: int
    float32: int
    portable: int
    int8_operators: int
    operators: int
    left: tuple[str, ...]

    @property
    def delegated(self) -> float:
        """Return the share of the multiply-adds that XNNPACK runs."""
        total = self.int8 + self.float32 + self.portable
        return 1 - self.portable / total if total else 1.0


@cache
def schema() -> Schema:
    """Return the schema of programs."""
    folder = _package() / "exir" / "_serialize"
    return Schema.parsed(folder / "scalar_type.fbs", folder / "program.fbs")


@cache
def xnnpack_schema() -> Schema:
    """Return the schema of the graphs that XNNPACK runs."""
    return Schema.parsed(_package() / "backends" / "xnnpack" / "serialization" / "schema.fbs")


def _package() -> Path:
    found = find_spec("executorch")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


@dataclass(frozen=True)
class Program:
    """A file's content."""

    content: bytes

    @cached_property
    def tables(self) -> dict[str, Any]:
        """Return all but the segments, as the schema names it."""
        return schema().read("Program", self.content)

    @property
    def segments(self) -> bytes:
        """Return the weights and what else lies behind the tables."""
        return self.content[self._base :]

    @property
    def _base(self) -> int:
        header = self.content[8 : 8 + HEADER_BYTES]
        return int.from_bytes(header[16:24], "little") if header[:4] == HEADER else 0

    @property
    def provenance(self) -> dict[str, object]:
        """Return what the file carries of where it comes from; empty where it carries nothing."""
        value = self._provenance_value()
        found: dict[str, object] = json.loads(value["string_val"]) if value else {}
        return found

    def with_provenance(self, provenance: Mapping[str, object]) -> bytes:
        """Return the file with another provenance, alike for alike content."""
        value = self._provenance_value()
        assert value is not None, "programs are lowered with an empty provenance"
        value["string_val"] = json.dumps(dict(provenance), sort_keys=True)
        tables = schema().write("Program", self.tables, IDENTIFIER)
        return _assembled(tables, self.segments)

    def _provenance_value(self) -> dict[str, Any] | None:
        for plan in self.tables["execution_plan"]:
            if plan["name"] == PROVENANCE:
                value: dict[str, Any] = plan["values"][plan["outputs"][0]]["val"]
                return value
        return None

    def work(self) -> Work:
        """Return what computes the answer to one picture."""
        plans = self.tables["execution_plan"]
        plan = next(plan for plan in plans if plan["name"] == FORWARD)
        called = [each for chain in plan["chains"] for each in chain["instructions"]]
        kernels = [each["instr_args"] for each in called if each["instr_args_type"] == "KernelCall"]
        nodes = [node for index in _delegates(called) for node in self._nodes(plan, index)]
        left = [_name(plan["operators"][each.get("op_index", 0)]) for each in kernels]
        counts = [_portable(name, plan, each) for name, each in zip(left, kernels, strict=True)]
        computing = [node for node in nodes if node.kind not in MOVES]
        return Work(
            int8=sum(node.multiply_adds for node in nodes if node.is_int8),
            float32=sum(node.multiply_adds for node in nodes if not node.is_int8),
            portable=sum(counts),
            int8_operators=sum(node.is_int8 for node in computing),
            operators=len(computing) + len(kernels),
            left=tuple(sorted(set(left))),
        )

    def _nodes(self, plan: Mapping[str, Any], index: int) -> list["_Node"]:
        """Return the nodes of the graph that one delegate runs."""
        place = plan["delegates"][index]["processed"]
        number = place.get("index", 0)
        if place.get("location", 0):
            segment = self.tables["segments"][number]
            start = self._base + segment.get("offset", 0)
            payload = self.content[start : start + segment["size"]]
        else:
            payload = self.tables["backend_delegate_data"][number]["data"]
        graph = xnnpack_schema().read("XNNGraph", payload, int.from_bytes(payload[10:14], "little"))
        values = dict(map(_value, graph["xvalues"]))
        return [
            _Node(each["xnode_union_type"], each["xnode_union"], values) for each in graph["xnodes"]
        ]


def _assembled(tables: bytes, segments: bytes) -> bytes:
    """Return a file: the tables with the header that says where the segments begin, and those."""
    size = len(tables) + HEADER_BYTES
    base = -(-size // SEGMENT_ALIGNMENT) * SEGMENT_ALIGNMENT
    numbers = (size, base, len(segments))
    header = HEADER + HEADER_BYTES.to_bytes(4, "little")
    header += b"".join(number.to_bytes(8, "little") for number in numbers)
    root = int.from_bytes(tables[:4], "little") + HEADER_BYTES
    start = root.to_bytes(4, "little") + tables[4:8] + header + tables[8:]
    return start + bytes(base - size) + segments


def _delegates(instructions: Sequence[Mapping[str, Any]]) -> list[int]:
    calls = (each for each in instructions if each["instr_args_type"] == "DelegateCall")
    return [each["instr_args"].get("delegate_index", 0) for each in calls]


def _name(operator: Mapping[str, str]) -> str:
    return operator["name"].rpartition("::")[2]


def _value(value: Mapping[str, Any]) -> tuple[int, tuple[int, Shape]]:
    """Return a value's number in XNNPACK's graph, its type, and its shape."""
    tensor = value["xvalue_union"]
    tensor = tensor.get("tensor_value", tensor)
    return tensor.get("id_out", 0), (tensor.get("datatype", 0), tensor.get("dims", []))


@dataclass(frozen=True)
class _Node:
    """An operator of XNNPACK's.

    Attributes:
        kind: its name in the schema.
        fields: its fields, unset where they are 0.
        values: type and shape of each value by number.
    """

    kind: str
    fields: Mapping[str, Any]
    values: Mapping[int, tuple[int, Shape]]

    def _schema_fields(self) -> list[str]:
        table = dict(xnnpack_schema().unions["XNodeUnion"])[self.kind]
        return [field.name for field in xnnpack_schema().tables[table]]

    def _shape(self, name: str) -> Shape:
        return self.values[self.fields.get(name, 0)][1]

    @property
    def is_int8(self) -> bool:
        """Return whether it reads 8-bit numbers, and multiplies them with such."""
        reads = self._reads()
        return bool(reads) and EIGHT_BITS.issuperset(reads)

    def _reads(self) -> list[int]:
        names = [
            name
            for name in self._schema_fields()
            if name in ("filter_id", "query_id", "key_id", "value_id")
            or (name.startswith("input") and name.endswith("_id"))
        ]
        numbers = [self.fields.get(name, 0) for name in names]
        return [self.values[number][0] for number in numbers if number in self.values]

    @property
    def multiply_adds(self) -> int:
        """Return its products for one picture; of sums and comparisons none."""
        count = _COUNTS.get(self.kind)
        return count(self) if count else 0

    def convolution(self) -> int:
        """Return those of a convolution, depthwise or not: each output reads one filter."""
        channels = int(self.fields["groups"] * self.fields["group_output_channels"])
        return math.prod(self._shape("output_id")) * math.prod(self._shape("filter_id")) // channels

    def transposed(self) -> int:
        """Return those of a transposed convolution: each input meets one filter."""
        channels = int(self.fields["groups"] * self.fields["group_input_channels"])
        return math.prod(self._shape("input1_id")) * math.prod(self._shape("filter_id")) // channels

    def linear(self) -> int:
        """Return those of a fully connected layer."""
        output = self._shape("output_id")
        return math.prod(output[:-1]) * math.prod(self._shape("filter_id"))

    def product(self) -> int:
        """Return those of a product of matrices."""
        return math.prod(self._shape("output_id")) * self._shape("input1_id")[-1]

    def attention(self) -> int:
        """Return those of scores and of the weighted sum of values."""
        return 2 * math.prod(self._shape("query_id")) * self._shape("key_id")[-2]


_COUNTS: Mapping[str, Callable[[_Node], int]] = {
    "XNNConv2d": _Node.convolution,
    "XNNDepthwiseConv2d": _Node.convolution,
    "XNNConvTranspose2d": _Node.transposed,
    "XNNFullyConnected": _Node.linear,
    "XNNBatchMatrixMultiply": _Node.product,
    "XNNScaledDotProductAttention": _Node.attention,
}


def _portable(name: str, plan: Mapping[str, Any], call: Mapping[str, Any]) -> int:
    """Return the multiply-adds of an operator that ExecuTorch's own kernels run."""
    if name not in _PORTABLE:
        return 0
    values = [plan["values"][index].get("val", {}) for index in call["args"]]
    shapes = [value.get("sizes", []) for value in values]
    return _PORTABLE[name](shapes[-1], shapes)


# From the shape of the result, and those of all arguments.
_PORTABLE: Mapping[str, Callable[[Shape, Sequence[Shape]], int]] = {
    "convolution": lambda out, reads: math.prod(out) * math.prod(reads[1][1:]),
    "linear": lambda out, reads: math.prod(out) * reads[0][-1],
    "mm": lambda out, reads: math.prod(out) * reads[0][-1],
    "bmm": lambda out, reads: math.prod(out) * reads[0][-1],
    "addmm": lambda out, reads: math.prod(out) * reads[1][-1],
}
