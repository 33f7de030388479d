"""Reference groups: the rows that are compared with one float32 row.

A comparison may hold several models, image sizes, threads and batches. A speed-up, a size ratio
and points lost are then against float32 rows of the same reference group and no other. Between
reference groups, latency is compared in milliseconds, and accuracy only on the same pictures with
the same labels.

A group has a float32 row for each runtime. Its reference is the first of them, torch's: sizes and
answers are compared with it. A row's own float32 is the one on its own runtime.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantcore.backends import entry
from quantcore.schema import VariantResult

Floats = NDArray[np.float64]
Matrix = NDArray[np.bool_]


class ReferenceGroup(NamedTuple):
    """The conditions shared by all rows that have one float32 row as their reference."""

    model: str
    image_size: int
    threads: int
    batch: int
    pictures: int


def reference_group(row: VariantResult) -> ReferenceGroup:
    """Return a row's reference group."""
    return ReferenceGroup(row.model, row.image_size, row.threads, row.batch, row.fidelity_images)


def references(rows: Iterable[VariantResult]) -> dict[str, VariantResult]:
    """Return, by key, the reference of each row's group; rows without one are left out.

    It is the group's first float32 row, which is torch's unless that one failed.
    """
    every = list(rows)
    floats = {reference_group(row): row for row in reversed(every) if row.is_float}
    return {
        row.key: floats[reference_group(row)] for row in every if reference_group(row) in floats
    }


def own_float_backend(row: VariantResult) -> str | None:
    """Return the backend of the float32 on a row's own runtime; None is torch's."""
    backend = entry(row.backend)
    return backend.float_backend if backend else None


def own_floats(rows: Iterable[VariantResult]) -> dict[str, VariantResult]:
    """Return, by key, the float32 row on each row's own runtime; rows without one are left out."""
    every = list(rows)
    floats = {(reference_group(row), row.backend): row for row in every if row.is_float}
    own = ((row.key, (reference_group(row), own_float_backend(row))) for row in every)
    return {key: floats[where] for key, where in own if where in floats}


def evaluated_on(row: VariantResult) -> tuple[str, int] | None:
    """Return the evaluation set of a row: its classes and its number of pictures.

    All pictures of one comparison come from one collection, of which the first ones are taken, and
    models of one source know the same classes. So equal answers here mean equal pictures and
    labels.
    """
    source = row.model.partition("/")[0]
    return None if row.accuracy is None else (source, row.accuracy.images)


def evaluated_alike(rows: Sequence[VariantResult]) -> Matrix:
    """Return the pairs of rows whose answers may be compared, `[K, K]`.

    Where accuracy is unknown, only rows of one model that see the same pictures the same way may.
    """
    evaluated = _same([evaluated_on(row) for row in rows])
    seen = _same([(row.model, row.image_size, row.fidelity_images) for row in rows])
    measured = np.array([row.accuracy is not None for row in rows], dtype=bool)
    return np.where(measured[:, None] & measured[None, :], evaluated, seen)


def timed_alike(rows: Sequence[VariantResult]) -> Matrix:
    """Return the pairs of rows timed with equally many pictures a call, `[K, K]`."""
    return _same([row.batch for row in rows])


def same_float(rows: Sequence[VariantResult]) -> Matrix:
    """Return the pairs of rows of one float model at one image size, `[K, K]`."""
    return _same([(row.model, row.image_size) for row in rows])


def same_reference_group(rows: Sequence[VariantResult]) -> Matrix:
    """Return the pairs of rows in the same reference group, `[K, K]`."""
    return _same([reference_group(row) for row in rows])


def _same(values: Sequence[object]) -> Matrix:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    groups = np.array([numbers[value] for value in values], dtype=np.int64)
    return np.asarray(groups[:, None] == groups[None, :])
