"""How numbers become 8-bit. `WORKFLOWS` is the list; `workflow` builds one from its settings."""

import dataclasses

from quantcore.backends import entry
from quantcore.errors import RequestError
from quantcore.schema import Setting, Variant, built, picked
from quantcore.workflows.base import Workflow
from quantcore.workflows.dynamic import Dynamic
from quantcore.workflows.float32 import Float32
from quantcore.workflows.half import Half
from quantcore.workflows.pretrained import Pretrained
from quantcore.workflows.qat import Qat
from quantcore.workflows.static import Static

__all__ = ["WORKFLOWS", "Qat", "Workflow", "reported_settings", "settings_of", "workflow"]

WORKFLOWS: dict[str, type[Workflow]] = {
    "float32": Float32,
    "half": Half,
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

    A setting that is left to the backend has the value that the backend resolves it to; of a
    backend that no longer exists, it stays as it is.
    """
    chosen, backend = workflow(variant.workflow, dict(variant.settings)), entry(variant.backend)
    resolved = chosen.resolved(backend) if backend else chosen
    return dataclasses.asdict(resolved)  # type: ignore[call-overload, no-any-return]


def reported_settings(variant: Variant) -> dict[str, Setting]:
    """Return every setting of the variant's workflow.

    Of a workflow or a setting that no longer exists, only the requested settings are returned.
    """
    try:
        return settings_of(variant)
    except RequestError:
        return dict(variant.settings)
