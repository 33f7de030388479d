"""How numbers become 8-bit. `WORKFLOWS` is the list; `workflow` builds one from its settings."""

import dataclasses
import difflib

from pydantic import TypeAdapter, ValidationError

from quantcore.errors import RequestError
from quantcore.specs import Setting, Variant
from quantcore.workflows.base import Material, Subject, Support, Workflow
from quantcore.workflows.dynamic import Dynamic
from quantcore.workflows.float32 import Float32
from quantcore.workflows.pretrained import Pretrained
from quantcore.workflows.qat import Qat
from quantcore.workflows.static import Static

__all__ = ["WORKFLOWS", "Material", "Subject", "Support", "Workflow", "settings_of", "workflow"]

WORKFLOWS: dict[str, type[Workflow]] = {
    "float32": Float32,
    "pretrained": Pretrained,
    "dynamic": Dynamic,
    "static": Static,
    "qat": Qat,
}


def workflow(name: str, settings: dict[str, Setting]) -> Workflow:
    """Return the workflow of that name with these settings, the others at their defaults.

    Raises:
        RequestError: an unknown workflow or setting, or a value that does not fit.
    """
    kind = _named(name)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise RequestError(f"The workflow {name} has no setting {key!r}.{guess}", has)
    try:
        made: Workflow = TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RequestError(
            f"{name}.{where} cannot be {first['input']!r}.", f"{first['msg']}."
        ) from error
    return made


def settings_of(variant: Variant) -> dict[str, Setting]:
    """Return every setting of the variant's workflow, defaults filled in."""
    made = workflow(variant.workflow, dict(variant.settings))
    return dataclasses.asdict(made)  # type: ignore[call-overload, no-any-return]


def _named(name: str) -> type[Workflow]:
    if name in WORKFLOWS:
        return WORKFLOWS[name]
    near = difflib.get_close_matches(name, WORKFLOWS, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    raise RequestError(
        f"There is no workflow {name!r}.{guess}", f"The workflows are {', '.join(WORKFLOWS)}."
    )
