"""What a step reads of the workflow it serves; the workflows' dataclasses have these fields."""

from typing import Literal, Protocol

Observer = Literal["histogram", "minmax"]


class DynamicOptions(Protocol):
    """Which layers, and what their weights become."""

    @property
    def layers(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> str: ...  # noqa: D102


class StaticOptions(Protocol):
    """How ranges are found; None leaves a choice to the backend."""

    @property
    def calibration_images(self) -> int: ...  # noqa: D102
    @property
    def observer(self) -> Observer | None: ...  # noqa: D102
    @property
    def per_channel(self) -> bool | None: ...  # noqa: D102
    @property
    def equalize(self) -> bool | None: ...  # noqa: D102


class QatOptions(Protocol):
    """How a model is fine-tuned; None leaves a choice to the backend."""

    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def batch(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def per_channel(self) -> bool | None: ...  # noqa: D102
    @property
    def equalize(self) -> bool | None: ...  # noqa: D102
