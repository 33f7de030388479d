"""A widget for every setting of a workflow, drawn from the fields of its dataclass.

A new setting appears on the page by itself; `FIELDS` only gives it better words and bounds.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import streamlit as st

from quantcore.specs import Setting


@dataclass(frozen=True)
class Words:
    """How a setting reads, its bounds where it is a number, and what its values are called."""

    label: str
    help: str = ""
    low: float = 1
    high: float = 1_000_000
    step: float = 1
    values: Mapping[Any, str] = field(default_factory=dict)


FIELDS = {
    "calibration_images": Words(
        "Calibration images",
        "Unlabelled images that show each layer's range of numbers before it is fixed.",
        high=1_024,
        step=64,
    ),
    "observer": Words(
        "Range from",
        "How a layer's range is found. A histogram ignores rare outliers; "
        "minimum and maximum keep them, at the price of coarser steps.",
        values={"histogram": "Histogram", "minmax": "Min and max"},
    ),
    "per_channel": Words(
        "Weight scales",
        "One scale for each output channel is finer than one for the whole layer.",
        values={None: "Backend's", True: "Per channel", False: "Per layer"},
    ),
    "steps": Words("Training steps", "Batches the model is fine-tuned on.", high=2_000, step=20),
    "learning_rate": Words(
        "Learning rate", "How far each step moves the weights.", low=1e-6, high=1.0, step=1e-4
    ),
    "batch": Words("Training batch", "Images per training step.", high=512, step=16),
    "seed": Words("Seed", "The same seed gives the same training.", low=0),
    "dtype": Words(
        "Weights as",
        "float16 halves the file and keeps more precision; onednn and qnnpack lack it.",
        values={"qint8": "8-bit integer", "float16": "16-bit float"},
    ),
    "layers": Words("Layer types", "Which layers are quantized; the others stay float."),
}


# As many as the workflow with the most settings has, so that all rows line up.
COLUMNS = 5


def of(workflow: type) -> tuple[Field[Any], ...]:
    """Return the settings of a workflow, in the order it declares them."""
    return fields(workflow)


def draw(name: str, workflow: type) -> dict[str, Setting]:
    """Draw every setting of a workflow in a row; return those that differ from their defaults."""
    hints, changed = get_type_hints(workflow), {}
    for each, column in zip(of(workflow), st.columns(COLUMNS), strict=False):
        with column:
            value = _draw(name, each, hints[each.name])
        if value != each.default:
            changed[each.name] = value
    return changed


def _draw(workflow: str, setting: Field[Any], hint: Any) -> Setting:
    words = FIELDS.get(setting.name, Words(setting.name.replace("_", " ").capitalize()))
    return _kind(hint)(words, setting.default, hint, f"{workflow}.{setting.name}")


def _kind(hint: Any) -> Callable[[Words, Any, Any, str], Setting]:
    if get_origin(hint) is tuple:
        return _several
    if hint in {int, float}:
        return _number
    return _one if _choices(hint) else _text


def _choices(hint: Any) -> list[Any]:
    """Return the values a Literal or a `bool | None` may take; nothing for free text."""
    if hint is bool:
        return [True, False]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    parts = get_args(hint)
    return [None, True, False] if set(parts) == {bool, type(None)} else []


def _number(words: Words, default: Any, hint: Any, key: str) -> Setting:
    value = st.number_input(
        words.label,
        hint(words.low),
        hint(words.high),
        default,
        step=hint(words.step),
        format="%d" if hint is int else "%g",
        key=key,
        help=words.help or None,
    )
    number: int | float = default if value is None else hint(value)
    return number


def _one(words: Words, default: Any, hint: Any, key: str) -> Setting:
    choices = _choices(hint)
    value: Setting = st.selectbox(
        words.label,
        choices,
        index=choices.index(default),
        format_func=lambda choice: words.values.get(choice, str(choice)),
        key=key,
        help=words.help or None,
    )
    return value


def _several(words: Words, default: Any, hint: Any, key: str) -> Setting:
    chosen = st.pills(
        words.label,
        list(default),
        selection_mode="multi",
        default=list(default),
        key=key,
        help=words.help or None,
    )
    return tuple(chosen) or default


def _text(words: Words, default: Any, hint: Any, key: str) -> Setting:
    return st.text_input(words.label, str(default), key=key, help=words.help or None)
