"""A cache of drawn plots, tables and texts, shared by all visitors of a server."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, TypeVarTuple, cast

from quantcore.schema import VariantResult

# About ten are drawn for each comparison that somebody looks at, of which a large one's take 5 MB.
KEPT = 250

Ts = TypeVarTuple("Ts")
R = TypeVar("R")


class Rows(tuple[VariantResult, ...]):
    """Results that are equal to no others but the very same, so that comparing them costs nothing.

    What the job queue read once stays the same object until its row is another one.
    """

    __slots__ = ()

    def __hash__(self) -> int:
        """Return a number that tells these objects from others."""
        return hash(tuple(map(id, self)))

    def __eq__(self, other: object) -> bool:
        """Return whether both hold the very same results in the same order."""
        return (
            isinstance(other, Rows)
            and len(self) == len(other)
            and all(mine is its for mine, its in zip(self, other, strict=True))
        )

    def __ne__(self, other: object) -> bool:
        """Return whether they differ: `tuple.__ne__` would compare the contents."""
        return not self == other


def once(make: Callable[[*Ts], R], *args: *Ts) -> R:
    """Return `make(*args)`, computed once for all visitors while it is cached.

    Args:
        make: a function that depends on its arguments alone; nobody may change its result.
        args: hashable; results as `Rows`.
    """
    return cast(R, _cached(make, *args))


@lru_cache(maxsize=KEPT)
def _cached(make: Callable[..., Any], *args: Any) -> Any:
    return make(*args)
