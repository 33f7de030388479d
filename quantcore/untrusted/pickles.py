"""Read a pickle without obeying it.

A pickle is a program: opening it the ordinary way runs whatever its maker wrote. Here its
instructions are only followed as far as they put plain values together. Where it would call
something, a `Call` stands for the result: the name and the arguments. Nothing is imported and
nothing is run.
"""

import pickletools
import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from quantcore.errors import RequestError

MAX_BYTES = 64 * 2**20
MAX_STEPS = 1_000_000
KEYS = (str, int, float, bytes, bool, type(None))
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
    | {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BYTEARRAY8"}
)
PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
MAPPINGS = frozenset(
    {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
)


@dataclass(frozen=True)
class Global:
    """A function or class that a pickle names: `torch._utils._rebuild_tensor_v2`."""

    path: str


@dataclass(eq=False)
class Call:
    """A call that a pickle asks for, not made, in place of its result.

    Attributes:
        function: to call, or class to make an instance of.
        arguments: of the call.
        state: to set on the result.
        items: to put into the result, were it a mapping.
        appended: values to append to the result, were it a list.
    """

    function: Any
    arguments: Any
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    appended: list[Any] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Return the function's name, empty where it is no plain name."""
        return self.function.path if isinstance(self.function, Global) else ""


@dataclass(eq=False)
class StorageReference:
    """A reference to bytes kept beside the pickle: a tensor's storage."""

    reference: Any


@dataclass(frozen=True)
class Pickled:
    """The content of a pickle, and every name of a program that it mentions."""

    value: Any
    globals: frozenset[str]


class _Mark:
    """Where a group of values starts on the stack."""


class LimitedReader:
    """The next bytes of a file, up to a limit, for a reader that may ask for any number."""

    def __init__(self, file: BinaryIO, limit: int = MAX_BYTES) -> None:
        self._file = file
        self._left = limit

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer where the file or the limit ends."""
        return self._count_read(self._file.read(max(0, min(size, self._left))))

    def readline(self) -> bytes:
        """Return the next bytes up to the end of a line, the file or the limit."""
        return self._count_read(self._file.readline(self._left))

    def _count_read(self, content: bytes) -> bytes:
        self._left -= len(content)
        return content


def read_bytes(content: bytes) -> Pickled:
    """Return the content of a pickle, as `read` does."""
    return read(BytesIO(content))


def read(file: BinaryIO) -> Pickled:
    """Return the content of the next pickle in a file, and leave the file behind its end.

    Raises:
        RequestError: it is damaged, too long, or uses what torch.save does not write.
    """
    reader = _Reader()
    try:
        for steps, (instruction, argument, _) in enumerate(pickletools.genops(LimitedReader(file))):  # type: ignore[arg-type]
            if steps > MAX_STEPS:
                raise RequestError(
                    "The file holds far more values than a model's weights are.",
                    "Save the model's state_dict alone.",
                )
            reader.follow(instruction.name, argument)
        return Pickled(reader.result(), frozenset(reader.globals))
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        struct.error,
    ) as error:
        raise RequestError(
            "The file is damaged: what lists its tensors cannot be read.",
            "Save or download it again, and upload it as torch.save wrote it.",
        ) from error


class _Reader:
    def __init__(self) -> None:
        self.globals: set[str] = set()
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        (value,) = self._stack
        return value

    def follow(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        if name in VALUES:
            self._stack.append(argument)
        elif name in PUTS:
            self._memo[int(argument)] = self._stack[-1]
        elif name in GETS:
            self._stack.append(self._memo[int(argument)])
        elif name in CONSTANTS:
            self._stack.append(CONSTANTS[name])
        else:
            act = getattr(self, f"_{name.lower()}", None)
            if act is None:
                raise ValueError(f"unsupported instruction {name}")
            act(argument)

    def _group(self) -> list[Any]:
        """Take the values since the last mark off the stack."""
        index = len(self._stack) - 1
        while self._stack[index] is not _Mark:
            index -= 1
            if index < 0:
                raise ValueError("no mark")
        group = self._stack[index + 1 :]
        del self._stack[index:]
        return group

    def _proto(self, argument: int) -> None:
        if argument > 5:
            raise ValueError("unknown protocol")

    def _frame(self, argument: int) -> None:
        """Frames only say how much to read at once."""

    def _stop(self, argument: None) -> None:
        """The end, which the caller sees by itself."""

    def _mark(self, argument: None) -> None:
        self._stack.append(_Mark)

    def _pop(self, argument: None) -> None:
        self._stack.pop()

    def _pop_mark(self, argument: None) -> None:
        self._group()

    def _dup(self, argument: None) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self, argument: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _empty_dict(self, argument: None) -> None:
        self._stack.append({})

    def _empty_list(self, argument: None) -> None:
        self._stack.append([])

    def _empty_tuple(self, argument: None) -> None:
        self._stack.append(())

    def _empty_set(self, argument: None) -> None:
        # A list, since what stands for a value need not be fit for a set.
        self._stack.append([])

    def _dict(self, argument: None) -> None:
        mapping: dict[Any, Any] = {}
        _put(mapping, self._group())
        self._stack.append(mapping)

    def _list(self, argument: None) -> None:
        self._stack.append(self._group())

    def _tuple(self, argument: None) -> None:
        self._stack.append(tuple(self._group()))

    def _frozenset(self, argument: None) -> None:
        self._tuple(argument)

    def _tuple1(self, argument: None) -> None:
        self._stack[-1:] = [(self._stack[-1],)]

    def _tuple2(self, argument: None) -> None:
        self._stack[-2:] = [(self._stack[-2], self._stack[-1])]

    def _tuple3(self, argument: None) -> None:
        self._stack[-3:] = [(self._stack[-3], self._stack[-2], self._stack[-1])]

    def _append(self, argument: None) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, argument: None) -> None:
        self._extend(self._group())

    def _additems(self, argument: None) -> None:
        self._extend(self._group())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        (target.appended if isinstance(target, Call) else target).extend(values)

    def _setitem(self, argument: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._put_all([key, value])

    def _setitems(self, argument: None) -> None:
        self._put_all(self._group())

    def _put_all(self, values: list[Any]) -> None:
        target = self._stack[-1]
        _put(target.items if isinstance(target, Call) else target, values)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._name(module, name)

    def _stack_global(self, argument: None) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        # Python 2's name of the module, which pickles of protocol 2 are written with.
        module = "builtins" if module == "__builtin__" else module
        path = f"{module}.{name}"
        self.globals.add(path)
        self._stack.append(Global(path))

    def _reduce(self, argument: None) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._call(function, arguments)

    def _newobj(self, argument: None) -> None:
        self._reduce(argument)

    def _newobj_ex(self, argument: None) -> None:
        keywords, arguments, function = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._call(function, (arguments, keywords))

    def _call(self, function: Any, arguments: Any) -> None:
        if isinstance(function, Global) and function.path in MAPPINGS:
            mapping: dict[Any, Any] = {}
            # Older OrderedDicts were called with a list of their pairs.
            for pair in _pairs(arguments):
                _put(mapping, pair)
            self._stack.append(mapping)
        else:
            self._stack.append(Call(function, arguments))

    def _build(self, argument: None) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], Call):
            self._stack[-1].state = state

    def _binpersid(self, argument: None) -> None:
        self._stack.append(StorageReference(self._stack.pop()))


def _pairs(arguments: Any) -> list[list[Any]]:
    if not isinstance(arguments, tuple) or len(arguments) != 1:
        return []
    pairs = arguments[0]
    if isinstance(pairs, dict):
        return [[key, value] for key, value in pairs.items()]
    if not isinstance(pairs, list):
        return []
    return [list(pair) for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2]


def _put(target: dict[Any, Any], values: list[Any]) -> None:
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Keys of other kinds name no tensor; nested ones could not even be hashed safely.
        if isinstance(key, KEYS):
            target[key] = value
