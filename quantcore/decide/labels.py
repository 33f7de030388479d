"""Labels of rows, unique within one comparison.

A row is its workflow on its backend. What else tells it apart stands in brackets: its model, image
size, threads and batch where the comparison has several, and the settings that differ between rows
of one name.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from quantcore import wording
from quantcore.schema import RANDOM, Setting, Variant, VariantResult


class Cell(Protocol):
    """The attributes that a row, a failure and a cell still to be measured share."""

    @property
    def model(self) -> str:
        """Return the model's name."""

    @property
    def workflow(self) -> str:
        """Return the workflow's name."""

    @property
    def backend(self) -> str | None:
        """Return the backend's name; None for float32."""

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Return the workflow's settings."""

    @property
    def image_size(self) -> int | None:
        """Return the side of the pictures in px, if known."""

    @property
    def threads(self) -> int | None:
        """Return the threads of a timed call, if known."""

    @property
    def batch(self) -> int | None:
        """Return the pictures of a timed call, if known."""


@dataclass(frozen=True)
class Condition:
    """A condition that may vary beside workflow, backend and settings, and its text.

    Attributes:
        heading: of its column.
        value: of a cell; None where it is unknown.
        text: the value in a label.
    """

    heading: str
    value: Callable[[Cell], int | None]
    text: Callable[[int], str]


def _pictures(cell: Cell) -> int | None:
    # A cell without figures was evaluated on none.
    return getattr(cell, "fidelity_images", None) or None


SIZE = Condition("px", lambda cell: cell.image_size, lambda side: f"{side} px")
CONDITIONS = (
    SIZE,
    Condition("threads", lambda cell: cell.threads, lambda many: wording.count(many, "thread")),
    Condition("batch", lambda cell: cell.batch, lambda many: f"batch {many}"),
    Condition("images", _pictures, lambda many: wording.count(many, "image")),
)


def labels(rows: Sequence[VariantResult]) -> dict[str, str]:
    """Return each row's label by its key: its name, and part of the key where names repeat."""
    plain = names(rows)
    counts = Counter(plain)
    return {
        row.key: f"{name} ({row.key[:8]})" if counts[name] > 1 else name
        for row, name in zip(rows, plain, strict=True)
    }


def names(cells: Sequence[Cell], *, within: bool = False) -> list[str]:
    """Return each cell's name, in order: `static on x86 (bundled/resnet18, 48 px)`.

    Args:
        cells: all of one comparison, or of one part of it.
        within: leave out what stands above the part anyway: model, image size, threads, batch.
    """
    plain = [Variant(cell.workflow, cell.backend).label for cell in cells]
    outer = [() if within else outside for outside in surroundings(cells)]
    groups: dict[object, list[Cell]] = {}
    for key, cell in zip(zip(plain, outer, strict=True), cells, strict=True):
        groups.setdefault(key, []).append(cell)
    differing = {key: differing_settings(group) for key, group in groups.items()}
    return [
        _bracketed(name, (*outside, *_settings_in_words(cell, differing[name, outside])))
        for name, outside, cell in zip(plain, outer, cells, strict=True)
    ]


def surroundings(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """Return each cell's model, size and conditions of timing, as far as they vary.

    An image size that follows from the model tells nothing apart, so it is left out.
    """
    several = len({cell.model for cell in cells}) > 1
    varying = [condition for condition in CONDITIONS if _varies(cells, condition)]
    return [
        (
            *((cell.model,) if several else ()),
            *(
                condition.text(value)
                for condition in varying
                if (value := condition.value(cell)) is not None
            ),
        )
        for cell in cells
    ]


def _varies(cells: Sequence[Cell], condition: Condition) -> bool:
    values_of: dict[str, set[int | None]] = {}
    for cell in cells:
        values_of.setdefault(cell.model, set()).add(condition.value(cell))
    return any(len(values - {None}) > 1 for values in values_of.values())


Columns = dict[str, list[str]]


def columns(cells: Sequence[Cell]) -> tuple[Columns, Columns]:
    """Return the varying properties as columns of a table: by heading, each cell's text, in order.

    Returns:
        Columns before workflow and backend (model, px, threads, batch), and those of settings.
    """
    outer: Columns = {}
    if len({cell.model for cell in cells}) > 1:
        outer["model"] = _shortened([cell.model for cell in cells])
    # Sizes that follow from the models are worth a column, though no row is named by them.
    sizes = len({SIZE.value(cell) for cell in cells} - {None}) > 1
    for condition in CONDITIONS:
        if _varies(cells, condition) or (condition is SIZE and sizes):
            values = (condition.value(cell) for cell in cells)
            outer[condition.heading] = [wording.NONE if v is None else str(v) for v in values]
    return outer, _setting_columns(cells)


def _setting_columns(cells: Sequence[Cell]) -> Columns:
    by_workflow: dict[str, list[Cell]] = {}
    for cell in cells:
        by_workflow.setdefault(cell.workflow, []).append(cell)
    columns: Columns = {}
    for workflow, group in by_workflow.items():
        for name in differing_settings(group):
            heading = setting_name(workflow, name)
            column = columns.setdefault(heading, [wording.NONE] * len(cells))
            for index, cell in enumerate(cells):
                if cell.workflow == workflow and name in cell.settings:
                    column[index] = setting_value(cell.settings[name])
    return columns


def _shortened(models: Sequence[str]) -> list[str]:
    """Return the models' names less the source and the mark that all of them share."""
    heads = {model.partition("/")[0] for model in models}
    marked = all(model.endswith(RANDOM) for model in models)
    short = [model.partition("/")[2] for model in models] if len(heads) == 1 else list(models)
    return [model.removesuffix(RANDOM) for model in short] if marked else short


def differing_settings(cells: Sequence[Cell]) -> list[str]:
    """Return the names of the settings in which the cells differ, sorted."""
    values_of: dict[str, list[str]] = {}
    for cell in cells:
        for name, value in cell.settings.items():
            values_of.setdefault(name, []).append(repr(value))
    return sorted(
        name
        for name, values in values_of.items()
        if len(set(values)) > 1 or len(values) < len(cells)
    )


def _settings_in_words(cell: Cell, settings: Sequence[str]) -> list[str]:
    return [
        f"{setting_name(cell.workflow, name)} {setting_value(cell.settings[name])}"
        for name in settings
        if name in cell.settings
    ]


def setting_name(workflow: str, name: str) -> str:
    """Return a setting's name in words; QAT's batch is not the batch of a timed call."""
    taken = name in {condition.heading for condition in CONDITIONS}
    return f"{workflow} {name}" if taken else name.replace("_", " ")


def _bracketed(name: str, parts: Sequence[str]) -> str:
    return f"{name} ({', '.join(parts)})" if parts else name


def setting(name: str, value: object) -> str:
    """Return a setting in words: `per channel yes`, `observer histogram`."""
    return f"{name.replace('_', ' ')} {setting_value(value)}"


def setting_value(value: object) -> str:
    """Return a setting's value in words: `yes`, `default`, `Linear+LSTM`."""
    named = {None: "default", True: "yes", False: "no"}
    if value is None or isinstance(value, bool):
        return named[value]
    return "+".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
