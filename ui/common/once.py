"""A cache of drawn plots, tables and texts, shared by all visitors of a server."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, TypeVarTuple, cast

# About ten are drawn for each comparison that somebody looks at, of which a large one's take 5 MB.
KEPT = 250

Ts = TypeVarTuple("Ts")
R = TypeVar("R")


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
