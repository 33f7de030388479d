"""A widget for every setting of a workflow, drawn from the fields of its dataclass.

A new setting appears on the page by itself; `FIELDS` only gives it better words and bounds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

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
        "How a layer's range is found. Minimum and maximum keep rare outliers, at the price of "
        "coarser steps; the others cut them off, each by a rule of its own. Best by trial takes "
        "what answers nearest to float32 on calibration images it has not seen.",
        values={
            None: "Backend's",
            "auto": "Best by trial",
            "minmax": "Min and max",
            "histogram": "Histogram",
            "percentile": "Percentile",
            "entropy": "Entropy",
        },
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
    "reduce_range": Words(
        "Bits in use",
        "All 8 are finer, and need a processor with 8-bit dot products (VNNI, or ARM's). With "
        "7, sums are exact on every processor.",
        values={None: "By processor", True: "7, for any", False: "All 8"},
    ),
    "bias_correction": Words(
        "Biases",
        "Corrected biases make up for what rounding the weights shifts.",
        values={None: "Backend's", True: "Corrected", False: "As they are"},
    ),
    "keep_float": Words(
        "Layers kept in float",
        "The layers that hurt most stay in float32: more accurate, somewhat larger and slower. As "
        "few as needed are kept to lose no more than the points beside; or type a number.",
        low=0,
        high=1_000,
        values={0: "None", "auto": "As few as needed"},
    ),
    "max_loss_points": Words(
        "Points lost, at most",
        "Of top-1 that layers are kept in float for; of agreement with float32 where the images "
        "have no labels. It counts only where as few layers as needed are kept.",
        low=0.1,
        high=20,
        step=0.1,
    ),
    "steps": Words("Training steps", "Batches the model is fine-tuned on.", high=2_000, step=20),
    "learning_rate": Words(
        "Learning rate", "How far each step moves the weights.", low=1e-6, high=1.0, step=1e-4
    ),
    "batch": Words("Training batch", "Images per training step.", high=512, step=16),
    "seed": Words("Seed", "The same seed gives the same training.", low=0),
    "dtype": Words(
        "Weights as",
        "float16 halves the file and keeps more precision; not every backend has it.",
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


# All rows line up; a workflow with more settings has a second one.
COLUMNS = 6
# Numbers of layers that are offered beside those that can be typed.
COUNTS = (0, 1, 2, 4, 8)
MAX_DIGITS = 9


def of(workflow: type) -> tuple[Field[Any], ...]:
    """Return the settings of a workflow, in the order it declares them."""
    return fields(workflow)


def draw(
    name: str, workflow: type, first: Mapping[str, Setting] | None = None, mark: str = ""
) -> dict[str, Setting]:
    """Draw every setting of a workflow in rows; return those that differ from their defaults.

    Args:
        name: of the workflow, or of what else has settings.
        workflow: the dataclass whose fields they are.
        first: what the widgets show at first, where that is not the default.
        mark: another one makes the widgets anew.
    """
    hints, changed = get_type_hints(workflow), {}
    for each, column in in_columns(of(workflow)):
        shown = (first or {}).get(each.name, each.default)
        with column:
            value = _draw(f"{name}.{each.name}{mark}", each, shown, hints[each.name])
        if value != each.default:
            changed[each.name] = value
    return changed


def in_columns(settings: Sequence[Field[Any]]) -> Iterator[tuple[Field[Any], DeltaGenerator]]:
    """Yield each setting with its column, in as many rows as it takes."""
    for start in range(0, len(settings), COLUMNS):
        yield from zip(settings[start : start + COLUMNS], st.columns(COLUMNS), strict=False)


def words_of(setting: str) -> Words:
    """Return how a setting reads; one without words of its own is called by its name."""
    return FIELDS.get(setting, Words(setting.replace("_", " ").capitalize()))


def _draw(key: str, setting: Field[Any], shown: Any, hint: Any) -> Setting:
    words = words_of(setting.name)
    if get_origin(hint) is tuple:
        return _several(words, setting.default, shown, key)
    if hint in {int, float}:
        return _number(words, setting.default, shown, hint, key)
    if named := names_beside_numbers(hint):
        return _number_or_name(words, setting.default, shown, named, key)
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


def names_beside_numbers(hint: Any) -> list[Any]:
    """Return the names that a setting may have instead of a whole number; none of other settings.

    As `auto` of `int | Literal["auto"]`.
    """
    parts = get_args(hint)
    if int not in parts:
        return []
    return [name for part in parts if get_origin(part) is Literal for name in get_args(part)]


def read_count(words: Words, value: object) -> int | None:
    """Return a number that was chosen or typed, if it is a whole one within bounds."""
    text = str(value).replace(",", "").strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None
    return number if number is not None and words.low <= number <= words.high else None


def _number_or_name(words: Words, default: Any, shown: Any, named: list[Any], key: str) -> Setting:
    offered = list(dict.fromkeys([0, *named, *COUNTS[1:], shown]))
    value: Any = st.selectbox(
        words.label,
        offered,
        index=offered.index(shown),
        format_func=lambda choice: words.values.get(choice, str(choice)),
        accept_new_options=True,
        key=key,
        help=words.help or None,
    )
    if value in named:
        return str(value)
    number = read_count(words, value)
    if number is None:
        name = words.values.get(named[0], named[0])
        st.caption(
            markdown(
                f"{value} is none of these. Type a number up to {words.high:,g}, or choose "
                f"“{name}”."
            )
        )
    return default if number is None else number


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
