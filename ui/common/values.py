"""Widgets that take several values of one thing: for sweeps, where a page elsewhere takes one."""

from collections.abc import Callable, Sequence
from dataclasses import Field
from typing import Any, get_origin, get_type_hints

import streamlit as st

from quantcore.schema import Setting
from ui.common import fields
from ui.common.markdown import markdown

SCALES = (0.25, 0.5, 1, 2, 4)


def settings(name: str, workflow: type) -> dict[str, tuple[Setting, ...]]:
    """Draw every setting of a workflow in rows; return those that differ from their defaults."""
    hints, changed = get_type_hints(workflow), {}
    for each, column in fields.in_columns(fields.of(workflow)):
        with column:
            values = _setting(name, each, hints[each.name])
        if values != (each.default,):
            changed[each.name] = values
    return changed


def _setting(workflow: str, setting: Field[Any], hint: Any) -> tuple[Setting, ...]:
    words, key = fields.words_of(setting.name), f"sweep.{workflow}.{setting.name}"
    default: Any = setting.default
    if get_origin(hint) is tuple:
        parts = several(words.label, list(default), default, key, help=words.help)
        return (parts,)
    if hint in {int, float}:
        return numbers(
            words.label,
            _around(default, words, hint),
            default,
            key,
            kind=hint,
            help=words.help,
        )
    if names := fields.names_beside_numbers(hint):
        return _numbers_or_names(words, default, names, key)
    named = words.values
    return several(
        words.label,
        fields.choices(hint),
        (default,),
        key,
        title=lambda value: named.get(value, str(value)),
        help=words.help,
    )


def _numbers_or_names(
    words: fields.Words, default: Any, names: list[Any], key: str
) -> tuple[Setting, ...]:
    chosen: list[Any] = st.multiselect(
        words.label,
        [*names, *fields.COUNTS],
        default=[default],
        format_func=lambda value: words.values.get(value, str(value)),
        accept_new_options=True,
        key=key,
        help=words.help or None,
        placeholder="Choose or type",
    )
    read = [value if value in names else fields.read_count(words, value) for value in chosen]
    left_out = [str(v) for v, number in zip(chosen, read, strict=True) if number is None]
    if left_out:
        st.caption(
            markdown(f"Left out, since only whole numbers count here: {', '.join(left_out)}.")
        )
    kept = dict.fromkeys(value for value in read if value is not None)
    return tuple(sorted(kept, key=lambda value: (isinstance(value, str), value))) or (default,)


def _around(default: Any, words: fields.Words, kind: Callable[[float], Any]) -> list[Any]:
    """Return values to offer beside the default: fractions and multiples of it within bounds."""
    scaled = (default * scale for scale in SCALES) if default else range(len(SCALES))
    return sorted({kind(value) for value in scaled if words.low <= value <= words.high})


def several(
    label: str,
    options: Sequence[Any],
    default: tuple[Any, ...],
    key: str,
    *,
    title: Callable[[Any], str] = str,
    help: str = "",
) -> tuple[Any, ...]:
    """Draw options as toggles; return those chosen, the default where none is."""
    chosen = st.pills(
        label,
        range(len(options)),
        selection_mode="multi",
        default=[options.index(value) for value in default],
        format_func=lambda index: markdown(title(options[index])),
        key=key,
        help=help or None,
        wrap=True,
    )
    return tuple(options[index] for index in sorted(chosen)) or default


def numbers(
    label: str,
    offered: Sequence[float | None],
    default: float | None,
    key: str,
    *,
    kind: type[int] | type[float] = int,
    nothing: str = "",
    help: str = "",
) -> tuple[Any, ...]:
    """Draw numbers to choose from, to which others can be typed; return those chosen, in order.

    Args:
        label: over the widget.
        offered: what can be chosen without typing.
        default: what is chosen at first, and stands where nothing is.
        key: of the widget.
        kind: what typed text is read as; what is none is left out, which is said.
        nothing: what None, where it is offered, is called.
        help: what the tooltip says.
    """
    chosen: list[Any] = st.multiselect(
        label,
        list(offered),
        default=[default],
        format_func=lambda value: nothing if value is None else _written(value),
        accept_new_options=True,
        key=key,
        help=help or None,
        placeholder="Choose or type",
    )
    read = {value: _read(value, kind) for value in chosen}
    left_out = [value for value, number in read.items() if number is None and value is not None]
    if left_out:
        wanted = "whole numbers" if kind is int else "numbers"
        st.caption(markdown(f"Left out, since only {wanted} count here: {', '.join(left_out)}."))
    kept = {number for value, number in read.items() if value not in left_out}
    return tuple(sorted(kept, key=lambda number: (number is not None, number))) or (default,)


def _written(value: object) -> str:
    return f"{value:,g}" if isinstance(value, (int, float)) else str(value)


def _read(value: object, kind: type[int] | type[float]) -> float | None:
    if value is None or isinstance(value, (int, float)):
        return value
    try:
        return kind(str(value).replace(",", ""))
    except ValueError:
        return None
