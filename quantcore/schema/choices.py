"""What is picked by name, and built from settings that people typed."""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from quantcore.errors import RequestError
from quantcore.schema.request import TARGETS, Setting, Target

Kind = TypeVar("Kind")
# What people type for a target that is not decided.
UNDECIDED = ("none", "undecided", "not decided")


def picked(kinds: Mapping[str, Kind], name: str, noun: str) -> Kind:
    """Return the entry of a dict under the name or one of its aliases.

    Raises:
        RequestError: as `canonical`.
    """
    return kinds[canonical(kinds, name, noun)]


def canonical(kinds: Mapping[str, Any], name: str, noun: str) -> str:
    """Return the dict's key for a name that somebody typed: `mobile` for `.ptl`.

    Case, a leading dot, and whether words are parted by blanks, hyphens or underscores make no
    difference. An entry may declare more names as its attribute `aliases`.

    Args:
        kinds: a registry.
        name: a key of it or an alias.
        noun: what its entries are called.

    Raises:
        RequestError: there is none; the sentence names the nearest.
    """
    if name in kinds:
        return name
    typed = _plain(name)
    for key, kind in kinds.items():
        if typed in map(_plain, (key, *getattr(kind, "aliases", ()))):
            return key
    raise RequestError(
        f"There is no {noun} {name!r}.{_guess(name, kinds)}",
        f"The {noun}s are {', '.join(kinds)}.",
    )


def built(kind: type[Any], settings: Mapping[str, Any], what: str, noun: str = "setting") -> Any:
    """Return the dataclass with these settings, the others at their defaults.

    Args:
        kind: a dataclass whose fields are its settings.
        settings: by name; text is read as the type the field wants.
        what: the thing they are settings of: `workflow static`.
        noun: what a setting is called.

    Raises:
        RequestError: an unknown setting, or a value that does not fit.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    for key in settings:
        if key not in names:
            has = f"It has {', '.join(names)}." if names else "It has none."
            raise RequestError(f"The {what} has no {noun} {key!r}.{_guess(key, names)}", has)
    try:
        made = _reader(kind).validate_python(dict(settings))  # type: ignore[arg-type]
        _require_finite(made, names, what)
        return made
    except ValidationError as error:
        first = error.errors()[0]
        # Behind a field's name stands which of several types was tried, or an index.
        name, *rest = first["loc"]
        place = [str(name), *(str(part) for part in rest if isinstance(part, int))]
        where = ".".join([what.rpartition(" ")[2], *place])
        wanted = dict.fromkeys(e["msg"] for e in error.errors() if e["loc"][0] == name)
        raise RequestError(
            f"{where} cannot be {first['input']!r}.", f"{'. Or: '.join(wanted)}."
        ) from error


def _require_finite(made: Any, names: Iterable[str], what: str) -> None:
    for name in names:
        value = getattr(made, name)
        if isinstance(value, float) and not math.isfinite(value):
            where = f"{what.rpartition(' ')[2]}.{name}"
            raise RequestError(f"{where} cannot be {value}.", "Take a number that has an end.")


def split_names(text: str) -> list[str]:
    """Return the parts of a comma-separated text."""
    return [name.strip() for name in text.split(",") if name.strip()]


def target_of(text: str | None) -> Target | None:
    """Return the target that somebody typed; None, and a text without any, is not decided.

    Raises:
        RequestError: there is no such target; the sentence names the nearest.
    """
    if text is not None and not isinstance(text, str):
        raise RequestError(f"{text!r} is no target.", f"Take one of {', '.join(TARGETS)}.")
    if not text or _plain(text) in UNDECIDED:
        return None
    name = canonical({str(target): title for target, title in TARGETS.items()}, text, "target")
    return next(target for target in TARGETS if target == name)


def read_setting(text: str) -> Setting:
    """Return a typed value as text, None or names; `built` reads numbers and truth."""
    if text.lower() in ("none", "default"):
        return None
    return tuple(split_names(text)) if "," in text else text


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", str(name).strip().removeprefix(".").lower())


def _guess(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(names), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


@cache
def _reader(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
