"""A sweep as a TOML file: `models = ["bundled/resnet18"]`, and a table for each workflow."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

from quantcore.backends import BACKENDS
from quantcore.errors import RequestError
from quantcore.jobs.sweep.sweep import Sweep, default
from quantcore.schema import Setting, Target, canonical, target_of
from quantcore.workflows import WORKFLOWS, workflow

# What stands for the model's own image size, and for a setting's default, which may be nothing.
OWN, DEFAULT = "own", "default"
MAX_BYTES = 100_000
EXAMPLE = "examples/sweep.toml shows every key."


@dataclass(frozen=True)
class Key:
    """A key of the file: the field of `Sweep` it fills, what it takes, and how it is written."""

    field: str
    kind: Literal["names", "numbers", "text", "target"]
    example: str


KEYS = {
    "name": Key("name", "text", '"Observers"'),
    "models": Key("models", "names", '["bundled/mobilenet_v2", "bundled/resnet18"]'),
    "target": Key("target", "target", '"phone"'),
    "workflows": Key("workflows", "names", '["dynamic", "static"]'),
    "backends": Key("backends", "names", '["x86", "qnnpack"]'),
    "images": Key("images", "text", '"pictures.zip"'),
    "image_size": Key("image_sizes", "numbers", f'["{OWN}", 96]'),
    "evaluation_images": Key("evaluation_images", "numbers", "2000"),
    "threads": Key("threads", "numbers", "[1, 2]"),
    "batch": Key("batches", "numbers", "[1, 8]"),
}


REGISTRIES: dict[str, Mapping[str, object]] = {"workflows": WORKFLOWS, "backends": BACKENDS}


def read_sweep(text: str, threads: int, folder: Path | None, where: str = "The file") -> Sweep:
    """Return the sweep that a file's text asks for.

    Args:
        text: TOML.
        threads: of a timed call, where the file names none.
        folder: where `images` is looked for; None refuses pictures from this machine's disk.
        where: what the file is called in a sentence.

    Raises:
        RequestError: the text is not TOML, or asks for something unknown; the sentence names the
            key and the nearest right one.
    """
    content = _parsed(text, where)
    values: dict[str, Any] = {"threads": (threads,)}
    settings: dict[str, dict[str, tuple[Setting, ...]]] = {}
    for typed, value in content.items():
        key = _key(typed)
        if key in WORKFLOWS:
            settings[key] = _settings(key, value)
        elif key in KEYS:
            values[KEYS[key].field] = _READERS[KEYS[key].kind](key, value)
        else:
            raise _unknown_key(key)
    if "models" not in values:
        raise RequestError(f"{where} names no model.", f"Write models = {KEYS['models'].example}.")
    if "images" in values:
        values["images"] = _path(values["images"], folder)
    return Sweep(**values, settings=settings)


def _key(typed: str) -> str:
    """Return the workflow whose settings a table holds, by its own name; else the key as it is."""
    with suppress(RequestError):
        return canonical(WORKFLOWS, typed, "workflow")
    return typed


def _parsed(text: str, where: str) -> dict[str, Any]:
    if len(text) > MAX_BYTES:
        raise RequestError(f"{where} is too long for a sweep.", EXAMPLE)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RequestError(
            f"{where} is not TOML: {str(error)[:1].lower()}{str(error)[1:]}.",
            f"Write each key as threads = [1, 2]; {EXAMPLE}",
        ) from error


def _unknown_key(key: str) -> RequestError:
    owners = [name for name in WORKFLOWS if key in _hints(name)]
    if owners:
        return RequestError(
            f"{key!r} is a setting of {' and '.join(owners)}.", f"Write it below [{owners[0]}]."
        )
    keys = [*KEYS, *(name for name in WORKFLOWS if _hints(name))]
    near = difflib.get_close_matches(key.lower().replace("-", "_"), keys, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return RequestError(f"There is no key {key!r}.{guess}", f"The keys are {', '.join(keys)}.")


def _hints(name: str) -> dict[str, Any]:
    """Return the types of a workflow's settings, by name."""
    kind: Any = WORKFLOWS[name]
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind)}


def _settings(name: str, table: object) -> dict[str, tuple[Setting, ...]]:
    if not isinstance(table, dict):
        raise RequestError(
            f"{name!r} cannot be {table!r}.",
            f"Below [{name}] stand its settings; workflows says which are measured.",
        )
    return {key: _setting_values(name, key, value) for key, value in table.items()}


def _setting_values(name: str, key: str, value: object) -> tuple[Setting, ...]:
    hints = _hints(name)
    if key in KEYS and key not in hints:
        raise RequestError(
            f"{key!r} stands below [{name}], but concerns the whole sweep.",
            "Move it above the first [table].",
        )
    one_value = get_origin(hints.get(key)) is tuple and not _holds_lists(value)
    values = [value] if one_value else _listed(f"{name}.{key}", value)
    return tuple(_setting(name, key, each) for each in values)


def _holds_lists(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(each, list) for each in value)


def _setting(name: str, key: str, value: object) -> Setting:
    plain: Any = tuple(value) if isinstance(value, list) else value
    if plain == DEFAULT:
        plain = default(name, key) if key in _hints(name) else None
    setting: Setting = getattr(workflow(name, {key: plain}), key)
    return setting


def _listed(key: str, value: object) -> list[object]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise RequestError(f"{key} is an empty list.", "Give it a value, or leave it out.")
    return values


def _names(key: str, value: object) -> tuple[str, ...]:
    values = _listed(key, value)
    for each in values:
        if not isinstance(each, str):
            raise _wrong(key, each, "a name or a list of names")
    registry = REGISTRIES.get(key)
    return tuple(canonical(registry, n, key[:-1]) if registry else n for n in map(str, values))


def _numbers(key: str, value: object) -> tuple[int | None, ...]:
    return tuple(_number(key, each) for each in _listed(key, value))


def _number(key: str, value: object) -> int | None:
    if value == OWN and key == "image_size":
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(key, value, "a whole number or a list of them")
    return value


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(key, value, "a text")
    return value


def _wrong(key: str, value: object, wanted: str) -> RequestError:
    return RequestError(
        f"{key} cannot be {value!r}.", f"Give it {wanted}: {key} = {KEYS[key].example}."
    )


def _target(key: str, value: object) -> Target | None:
    return target_of(_text(key, value))


_READERS = {"names": _names, "numbers": _numbers, "text": _text, "target": _target}


def _path(text: str, folder: Path | None) -> str:
    if folder is None:
        raise RequestError(
            "images names files of one's own, which a page does not read.",
            "Leave it out, or run the file with `python -m quantcore sweep`.",
        )
    return str((folder / text).resolve())


def write_sweep(sweep: Sweep) -> str:
    """Return the file that `read` makes this sweep of."""
    defaults = {each.name: each.default for each in fields(Sweep)}
    lines = [
        f"{key} = {_toml(getattr(sweep, spec.field), OWN)}"
        for key, spec in KEYS.items()
        if spec.field == "threads" or getattr(sweep, spec.field) != defaults[spec.field]
    ]
    for name, values in sweep.settings.items():
        if values:
            lines += ["", f"[{name}]", *(f"{key} = {_toml(each)}" for key, each in values.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object, nothing: str = DEFAULT) -> str:
    if value is None:
        return json.dumps(nothing)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_toml(each, nothing) for each in value)}]"
    # JSON's texts, numbers and truth values are TOML's as well, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
