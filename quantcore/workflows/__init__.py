"""How numbers become 8-bit. `WORKFLOWS` is the list; `workflow` builds one from its settings."""

import dataclasses

from quantcore.backends import entry
from quantcore.errors import RequestError
from quantcore.schema import Setting, Variant, built, picked
from quantcore.workflows.base import Workflow
from quantcore.workflows.dynamic import Dynamic
from quantcore.workflows.float32 import Float32
from quantcore.workflows.pretrained import Pretrained
from quantcore.workflows.qat import Qat
from quantcore.workflows.static import Static

__all__ = ["WORKFLOWS", "Qat", "Workflow", "settings_if_known", "settings_of", "workflow"]

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
    chosen: Workflow = built(picked(WORKFLOWS, name, "workflow"), settings, f"workflow {name}")
    return chosen


def settings_of(variant: Variant) -> dict[str, Setting]:
    """Return every setting of the variant's workflow, defaults filled in.

    What is left to the backend is told as the backend does it, where today's version knows it.
    """
    chosen, backend = workflow(variant.workflow, dict(variant.settings)), entry(variant.backend)
    resolved = chosen.resolved(backend) if backend else chosen
    return dataclasses.asdict(resolved)  # type: ignore[call-overload, no-any-return]


def settings_if_known(variant: Variant) -> dict[str, Setting]:
    """Return the same; as they were asked for where a workflow of today knows them no more."""
    try:
        return settings_of(variant)
    except RequestError:
        return dict(variant.settings)
