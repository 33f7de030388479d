"""The model and its pictures, as backends, workflows and formats see them in `supports`."""

from dataclasses import dataclass

from quantcore.models.catalogue import ModelInfo
from quantcore.schema import Environment, ModelSpec


@dataclass(frozen=True)
class Subject:
    """A model, whether its pictures carry labels, and the machine it would run on."""

    spec: ModelSpec
    model: ModelInfo
    labelled: bool
    environment: Environment
