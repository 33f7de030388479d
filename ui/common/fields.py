"""A widget for every setting of a workflow, drawn from the fields of its dataclass.

A new setting appears on the page by itself; `FIELDS` only gives it better words and bounds.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import streamlit as st

from quantcore.schema import Setting
from ui.common.markdown import markdown


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
        values={None: "Backend's", "histogram": "Histogram", "minmax": "Min and max"},
    ),
    "per_channel": Words(
        "Weight scales",
        "One scale for each output channel is finer than one for the whole layer.",
        values={None: "Backend's", True: "Per channel", False: "Per layer"},
    ),
    "equalize": Words(
        "Balanced weights",
        "Scales neighbouring layers against each other before rounding, which leaves the answers "
        "as they are and helps where a layer has one scale.",
        values={None: "Where it helps", True: "Always", False: "Never"},
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
    "bytecode": Words(
        "Bytecode",
        "Version of the instructions in the file. An app with an older PyTorch Mobile needs an "
        "older one: 8 is for 1.11 and newer, 4 for 1.8.",
        low=4,
        high=8,
    ),
    "opset": Words(
        "Opset",
        "Version of ONNX's operators. An older runtime needs an older one.",
        low=13,
        high=20,
    ),
    "dynamic_batch": Words(
        "Images a call",
        "A file for one image a call is a little faster; any number suits a server.",
        values={False: "One", True: "Any number"},
    ),
}


# As many as the workflow with the most settings has, so that all rows line up.
COLUMNS = 6


def of(workflow: type) -> tuple[Field[Any], ...]:
    """Return the settings of a workflow, in the order it declares them."""
    return fields(workflow)


def draw(
    name: str, workflow: type, first: Mapping[str, Setting] | None = None, mark: str = ""
) -> dict[str, Setting]:
    """Draw every setting of a workflow in a row; return those that differ from their defaults.

    Args:
        name: of the workflow, or of what else has settings.
        workflow: the dataclass whose fields they are.
        first: what the widgets show at first, where that is not the default.
        mark: another one makes the widgets anew.
    """
    hints, changed = get_type_hints(workflow), {}
    for each, column in zip(of(workflow), st.columns(COLUMNS), strict=False):
        shown = (first or {}).get(each.name, each.default)
        with column:
            value = _draw(f"{name}.{each.name}{mark}", each, shown, hints[each.name])
        if value != each.default:
            changed[each.name] = value
    return changed


def words_of(setting: str) -> Words:
    """Return how a setting reads; one without words of its own is called by its name."""
    return FIELDS.get(setting, Words(setting.replace("_", " ").capitalize()))


def _draw(key: str, setting: Field[Any], shown: Any, hint: Any) -> Setting:
    words = words_of(setting.name)
    if get_origin(hint) is tuple:
        return _several(words, setting.default, shown, key)
    if hint in {int, float}:
        return _number(words, setting.default, shown, hint, key)
    return _one(words, shown, hint, key) if choices(hint) else _text(words, shown, key)


def choices(hint: Any) -> list[Any]:
    """Return the values a bool or a Literal may take, or either with None; else nothing."""
    if hint is bool:
        return [True, False]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    parts = [part for part in get_args(hint) if part is not type(None)]
    values = [value for part in parts for value in choices(part)]
    return [None, *values] if values and len(parts) < len(get_args(hint)) else []


def _number(words: Words, default: Any, shown: Any, hint: Any, key: str) -> Setting:
    value = st.number_input(
        words.label,
        # A link may ask for more than the page offers.
        hint(min(words.low, shown)),
        hint(max(words.high, shown)),
        shown,
        step=hint(words.step),
        format="%d" if hint is int else "%g",
        key=key,
        help=words.help or None,
    )
    number: int | float = default if value is None else hint(value)
    return number


def _one(words: Words, shown: Any, hint: Any, key: str) -> Setting:
    options = choices(hint)
    value: Setting = st.selectbox(
        words.label,
        options,
        index=options.index(shown),
        format_func=lambda choice: words.values.get(choice, str(choice)),
        key=key,
        help=words.help or None,
    )
    return value


def _several(words: Words, default: Any, shown: Any, key: str) -> Setting:
    options = list(dict.fromkeys((*default, *shown)))
    chosen = st.pills(
        words.label,
        options,
        selection_mode="multi",
        default=list(shown),
        format_func=lambda option: markdown(str(option)),
        key=key,
        help=words.help or None,
    )
    return tuple(option for option in options if option in chosen) or default


def _text(words: Words, shown: Any, key: str) -> Setting:
    return st.text_input(words.label, str(shown), key=key, help=words.help or None)
