"""How numbers become 8-bit. `WORKFLOWS` is the list; `workflow` builds one from its settings."""

import dataclasses
from collections.abc import Mapping

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

__all__ = [
    "FIRST",
    "FIRST_WITHOUT_STATIC",
    "WORKFLOWS",
    "Qat",
    "Workflow",
    "bits_of",
    "reported_settings",
    "settings_of",
    "workflow",
]

WORKFLOWS: dict[str, type[Workflow]] = {
    "float32": Float32,
    "half": Half,
    "pretrained": Pretrained,
    "dynamic": Dynamic,
    "static": Static,
    "qat": Qat,
}

# What a first comparison for a target is of, and where a model has no layers for static.
FIRST, FIRST_WITHOUT_STATIC = ("half", "static", "qat"), ("half", "dynamic")


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


def bits_of(name: str, settings: Mapping[str, Setting]) -> int:
    """Return of how many bits a variant's numbers are; of what no longer exists, 8."""
    try:
        return workflow(name, dict(settings)).bits
    except RequestError:
        return 8


def reported_settings(variant: Variant) -> dict[str, Setting]:
    """Return every setting of the variant's workflow.

    Of a workflow or a setting that no longer exists, only the requested settings are returned.
    """
    try:
        return settings_of(variant)
    except RequestError:
        return dict(variant.settings)
