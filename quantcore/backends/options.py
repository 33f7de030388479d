"""What a step reads of the workflow it serves; the workflows' dataclasses have these fields."""

from typing import Literal, Protocol

# How ranges of activations are found; `auto` tries those that the toolchain has, and keeps the one
# that answers nearest to float on calibration pictures it has not seen.
Observer = Literal["auto", "minmax", "histogram", "percentile", "entropy"]
KeepFloat = int | Literal["auto"]


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
    @property
    def reduce_range(self) -> bool | None: ...  # noqa: D102
    @property
    def bias_correction(self) -> bool | None: ...  # noqa: D102
    @property
    def keep_float(self) -> KeepFloat: ...  # noqa: D102
    @property
    def max_loss_points(self) -> float: ...  # noqa: D102


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
