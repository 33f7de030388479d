"""What people type for settings on the command line: `static.observer=minmax`, `opset=18`."""

from collections.abc import Mapping, Sequence

from quantcore.errors import RequestError
from quantcore.schema import Setting, canonical, read_setting
from quantcore.workflows import WORKFLOWS


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
            chosen.setdefault(name, {})[setting] = given
    return chosen


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
