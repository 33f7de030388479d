"""How near a model's logits are to those of another."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantcore.errors import QuantcoreError


def agreement(logits_a: ArrayLike, logits_b: ArrayLike) -> float:
    """Return the share of pictures for which both name the same class; both are `[N, classes]`.

    Raises:
        ValueError: the two differ in shape or hold no pictures.
        QuantcoreError: a model answered something that is not a number.
    """
    one, other = _paired(logits_a, logits_b)
    return float((one.argmax(axis=1) == other.argmax(axis=1)).mean())


def sqnr_db(reference: ArrayLike, noisy: ArrayLike) -> float | None:
    """Return the signal to quantization noise ratio in decibels; both are `[N, classes]`.

    None where there is no noise (or no signal), since the ratio then has no value.

    Raises:
        ValueError: the two differ in shape or hold no pictures.
        QuantcoreError: a model answered something that is not a number.
    """
    signal, other = _paired(reference, noisy)
    noise_power, power = np.square(signal - other).sum(), np.square(signal).sum()
    if noise_power == 0 or power == 0:
        return None
    return float(10 * np.log10(power / noise_power))


def _paired(
    logits_a: ArrayLike, logits_b: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = np.asarray(logits_a, dtype=np.float64), np.asarray(logits_b, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 2 or one.size == 0:
        raise ValueError(f"logits are two [N, classes] of one shape: {one.shape}, {other.shape}")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise QuantcoreError(
            "The model's outputs hold values that are not numbers (NaN or infinite).",
            "Calibrate with more or with more typical images, or take another observer.",
        )
    return one, other
