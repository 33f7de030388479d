"""The state dict in a file of weights, with the labels and notes that stand beside it.

Training programs wrap a state dict: under `state_dict` or `model`, beside the optimizer's numbers,
the epoch, an averaged copy. Where there is the model and an averaged copy of it (`ema`), the model
is taken and the copy named: which of the two is wanted, the file does not say.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantcore.errors import RequestError
from quantcore.untrusted.tensors import (
    ALREADY,
    ALREADY_REMEDY,
    MAX_NAME_CHARACTERS,
    MAX_TENSORS,
    Contents,
    Tensor,
)
from quantcore.untrusted.text import listed, shown

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "classifier",
)
MAX_DEPTH = 3
MAX_STATE_DICTS = 6
AVERAGED = re.compile(r"(^|[._])(ema|averaged|swa|teacher)([._]|$)", re.IGNORECASE)
TRAINING = re.compile(r"optim|sched|scaler|rng|loss|callback|history", re.IGNORECASE)
LABEL_KEYS = re.compile(
    r"(class|label|category)[_ ]?names?|classes|labels|categories|names|"
    r"(idx|id|index)(_to_|2)(class|label|name)|(class|label|name)(_to_|2)(idx|id|index)",
    re.IGNORECASE,
)
MAX_LABEL = 100
MAX_LABELS = 100_000
OBSERVERS = ("fake_quant", "activation_post_process")
EIGHT_BITS = frozenset({"int8", "uint8", "quantized", "float8"})


@dataclass(frozen=True)
class Unwrapped:
    """The state dict of a file.

    Attributes:
        tensors: by the names they have in the file.
        label_lists: lists of class names that the file holds; at most one fits the model.
        notes: sentences about what was left out.
    """

    tensors: Mapping[str, Tensor]
    label_lists: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def labels(self, classes: int) -> tuple[str, ...]:
        """Return the class names, if the file holds as many as the model has classes."""
        fitting = [names for names in self.label_lists if len(names) == classes]
        return fitting[0] if fitting else ()


def unwrap(contents: Contents) -> tuple[Unwrapped, ...]:
    """Return the state dicts in a file's contents, the likeliest to be the model first.

    Raises:
        RequestError: there is none.
    """
    state_dicts = sorted(_state_dicts(contents.value), key=_preference)
    if not state_dicts:
        raise RequestError(
            "The file holds no weights by name.",
            'Save the model\'s state_dict: torch.save(model.state_dict(), "model.pt").',
        )
    labels = tuple(_label_lists(contents))
    return tuple(
        Unwrapped(
            _named_tensors(state_dict),
            labels,
            tuple(_notes(path, state_dict, state_dicts, contents.value)),
        )
        for path, state_dict in state_dicts[:MAX_STATE_DICTS]
    )


def _named_tensors(state_dict: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict.

    Raises:
        RequestError: there are too many names: a file can name one tensor many times.
    """
    tensors = {
        name: item
        for name, item in state_dict.items()
        if isinstance(name, str) and isinstance(item, Tensor)
    }
    if len(tensors) > MAX_TENSORS or any(len(name) > MAX_NAME_CHARACTERS for name in tensors):
        raise RequestError(
            f"The file names more than {MAX_TENSORS:,} tensors, or one by more than "
            f"{MAX_NAME_CHARACTERS} letters.",
            "Save the model's state_dict alone.",
        )
    return tensors


_Path = tuple[str, ...]
_Located = tuple[_Path, Mapping[Any, Any]]


def _state_dicts(value: Any) -> Iterator[_Located]:
    """Yield every dict that holds tensors by name, with its path of keys, each dict once."""
    for path, state_dict in _dicts(value):
        if any(
            isinstance(name, str) and isinstance(item, Tensor) for name, item in state_dict.items()
        ):
            yield path, state_dict


def _dicts(value: Any) -> Iterator[_Located]:
    """Yield the dicts within a value that may be a model, the outer before the inner."""
    seen: set[int] = set()
    waiting: deque[tuple[_Path, Any]] = deque([((), value)])
    while waiting:
        path, item = waiting.popleft()
        if not isinstance(item, dict) or id(item) in seen:
            continue
        seen.add(id(item))
        yield path, item
        if len(path) < MAX_DEPTH:
            waiting.extend(
                ((*path, name), inner)
                for name, inner in item.items()
                if isinstance(name, str) and isinstance(inner, dict) and not TRAINING.search(name)
            )


def _preference(located: _Located) -> tuple[bool, int, int]:
    """Return the sort key: no averaged copy, then the best ranked name, then the most tensors."""
    path, state_dict = located
    number = sum(isinstance(item, Tensor) for item in state_dict.values())
    ranks = [WRAPPERS.index(name) for name in path if name in WRAPPERS]
    averaged = any(AVERAGED.search(name) for name in path)
    return averaged, min(ranks, default=len(WRAPPERS)), -number


def _notes(
    path: _Path, state_dict: Mapping[Any, Any], state_dicts: list[_Located], whole: Any
) -> Iterator[str]:
    ignored = [
        str(name)[:MAX_LABEL] for name, item in state_dict.items() if not isinstance(item, Tensor)
    ]
    reached = {".".join(other) for other, _ in state_dicts if other != path}
    if path:
        yield f"The weights were taken from {shown('.'.join(path))}."
        ignored = [name for name in whole if name != path[0]]
    copies = [name for name in reached if AVERAGED.search(name)]
    if copies and not any(AVERAGED.search(name) for name in path):
        yield (
            f"The file also holds an averaged copy of the weights ({listed(sorted(copies))}), "
            "which was not taken. To compare that one, save it alone."
        )
    left = [name for name in ignored if isinstance(name, str) and name not in copies]
    if left:
        yield f"Not weights, and ignored: {listed(left)}."


def refuse_eight_bits(tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are integers with a scale.

    Raises:
        RequestError: they are quantized already.
    """
    names = [name for name in tensors if not any(word in name for word in OBSERVERS)]
    scaled = {name.removesuffix(".scale") for name in names if name.endswith(".scale")}
    pointed = {name.removesuffix(".zero_point") for name in names if name.endswith(".zero_point")}
    if (
        scaled & pointed
        or any("_packed_params" in name for name in names)
        or any(tensors[name].kind in EIGHT_BITS and len(tensors[name].shape) >= 2 for name in names)
    ):
        raise RequestError(ALREADY, ALREADY_REMEDY)


def _label_lists(contents: Contents) -> Iterator[tuple[str, ...]]:
    for key, value in (contents.metadata or {}).items():
        if LABEL_KEYS.fullmatch(key):
            yield from as_labels(_parsed(value))
    for _, state_dict in _dicts(contents.value):
        for key, item in state_dict.items():
            if isinstance(key, str) and LABEL_KEYS.fullmatch(key):
                yield from as_labels(item)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return [line.strip() for line in text.splitlines() if line.strip()]


def as_labels(value: Any) -> Iterator[tuple[str, ...]]:
    """Yield the names in their order, where a value lists or numbers them."""
    if isinstance(value, dict):
        value = _numbered(value)
    if (
        isinstance(value, (list, tuple))
        and 2 <= len(value) <= MAX_LABELS
        and all(isinstance(name, str) and name.strip() for name in value)
    ):
        yield tuple(_plain(name) for name in value)


def _numbered(value: dict[Any, Any]) -> list[Any] | None:
    """Return names by number, from `{0: "cat"}`, `{"0": "cat"}` or `{"cat": 0}`."""
    pairs = {_number(key): name for key, name in value.items()}
    if not all(type(key) is int for key in pairs):
        pairs = {number: name for name, number in value.items() if type(number) is int}
    if sorted(key for key in pairs if type(key) is int) != list(range(len(value))):
        return None
    return [pairs[number] for number in range(len(value))]


def _number(key: Any) -> Any:
    written = isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 9
    return int(key) if written else key


def _plain(name: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in name).strip()[:MAX_LABEL]
