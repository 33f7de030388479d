"""What people type for settings on the command line: `static.observer=minmax`, `opset=18`."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from quantcore.errors import RequestError
from quantcore.schema import TARGETS, Setting, canonical, read_setting, split_names
from quantcore.workflows import WORKFLOWS

TargetName = Annotated[
    str | None,
    typer.Option("--target", help=f"Where it will run: {', '.join(TARGETS)}."),
]


def names(text: str, option: str) -> list[str]:
    """Return the names that a comma-separated option holds.

    Raises:
        RequestError: it holds none.
    """
    named = split_names(text)
    if not named:
        raise RequestError(f"{option} names nothing.", "Name one or more, or leave it out.")
    return named


def names_or_none(text: str | None, option: str) -> list[str] | None:
    """Return the names that an option holds; None where it was left out.

    Raises:
        RequestError: it holds none.
    """
    return None if text is None else names(text, option)


def workflow_settings(
    assignments: Sequence[str], options: Mapping[str, Setting] | None = None
) -> dict[str, dict[str, Setting]]:
    """Return settings by workflow, as `WORKFLOW.SETTING=VALUE` gives them.

    Args:
        assignments: such texts.
        options: settings with an option of their own, by `WORKFLOW.SETTING`; None is not given.

    Raises:
        RequestError: a text is none of these, or there is no such workflow.
    """
    chosen: dict[str, dict[str, Setting]] = {}
    for text in assignments:
        target, equals, typed = text.partition("=")
        name, dot, setting = target.partition(".")
        if not (equals and dot and setting):
            raise RequestError(
                f"{text!r} is not a setting.",
                "Write WORKFLOW.SETTING=VALUE: static.observer=minmax.",
            )
        chosen.setdefault(canonical(WORKFLOWS, name, "workflow"), {})[setting] = read_setting(typed)
    for target, given in (options or {}).items():
        if given is not None:
            name, _, setting = target.partition(".")
            if setting in chosen.get(name, {}):
                raise RequestError(f"{target} is given twice.", "Give it once.")
            chosen.setdefault(name, {})[setting] = given
    return chosen


def settings_of_one(assignments: Sequence[str], name: str) -> dict[str, Setting]:
    """Return the settings of one workflow.

    Raises:
        RequestError: as `workflow_settings`, or one is of another workflow.
    """
    chosen = workflow_settings(assignments)
    for other in chosen.keys() - {name}:
        raise RequestError(
            f"{other} is not what is made here, so its settings change nothing.",
            f"Write {name}.SETTING=VALUE, or choose --workflow {other}.",
        )
    return chosen.get(name, {})


def options(assignments: Sequence[str]) -> dict[str, Setting]:
    """Return the options of a format, as `NAME=VALUE` gives them.

    Raises:
        RequestError: a text is none of these.
    """
    chosen: dict[str, Setting] = {}
    for text in assignments:
        name, equals, typed = text.partition("=")
        if not (name and equals):
            raise RequestError(f"{text!r} is not an option.", "Write NAME=VALUE: opset=18.")
        chosen[name.strip()] = read_setting(typed)
    return chosen
